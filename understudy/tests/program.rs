//! The program as a shell sees it: words in, data, talk and exit codes out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

fn understudy(words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UNDERSTUDY_")) {
        command.env_remove(name);
    }
    command.args(words).envs(environment.iter().copied()).output().unwrap()
}

fn setting(words: &[&str], environment: &[(&str, &str)], pointer: &str) -> serde_json::Value {
    let output = understudy(&[&["--json", "config", "show"], words].concat(), environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    table.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("understudy.toml");
    std::fs::write(&file, "[node]\nname = \"file\"\n").unwrap();
    let file = file.to_str().unwrap();
    let variable = [("UNDERSTUDY_NAME", "variable"), ("UNDERSTUDY_CHAOS", "yes")];
    assert_eq!(setting(&["-c", file, "--name", "flag"], &variable, "/node/name"), "flag");
    assert_eq!(setting(&["-c", file], &variable, "/node/name"), "variable");
    assert_eq!(setting(&["-c", file], &[], "/node/name"), "file");
    assert_eq!(setting(&[], &[("UNDERSTUDY_CONFIG", file)], "/node/name"), "file");
    assert_eq!(setting(&[], &[], "/node/name"), serde_json::Value::Null, "the host name is filled in later");
    assert_eq!(setting(&[], &variable, "/chaos/enabled"), true);
    assert_eq!(setting(&["worker"], &[], "/node/listen"), "127.0.0.1:3004");
}

#[test]
fn usage_is_2_and_an_error_is_1_with_words_on_standard_error_only() {
    for (words, code, part) in [
        (&["frobnicate"][..], 2, "frobnicate"),
        (&["config", "check", "--voters", "2"], 2, "cluster.voters"),
        (&["config", "check", "-c", "/nowhere/x.toml"], 2, "/nowhere/x.toml"),
        (&["keeper-like"], 2, "keeper-like"),
        (&["--server", "http://127.0.0.1:9", "status"], 1, "no node answered"),
        (&["--server", "http://127.0.0.1:9", "health"], 1, "not ready"),
        (&["--server", "nonsense://x", "status"], 2, "--server"),
    ] {
        let output = understudy(words, &[]);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {talk}");
        assert!(talk.contains(part) && output.stdout.is_empty(), "{words:?}: {talk}");
    }
    let slip = understudy(&["config", "check"], &[("UNDERSTUDY_NAEM", "x")]);
    assert!(String::from_utf8_lossy(&slip.stderr).contains("did you mean UNDERSTUDY_NAME?"));
}

#[test]
fn completions_and_manual_are_made_from_the_words() {
    for words in [&["completions", "bash"][..], &["man"]] {
        let output = understudy(words, &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("understudy"), "{words:?}");
        assert!(!text.contains("keeper") || words[0] == "completions", "keeper is not for people");
    }
}
