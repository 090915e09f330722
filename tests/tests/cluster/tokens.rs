//! A token: a cluster that asks for one forms, runs jobs and is used by whoever names it, and by nobody else.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::client::{http, problem};
use tests::{Cluster, Plan, eventually, understudy};

const TOKEN: &str = "a-token-of-the-tests-that-is-long-enough";

async fn get(url: &str, token: Option<&str>) -> Option<(u16, Value)> {
    let mut request = http().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let text = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

fn run(server: &str, words: &[&str], token_file: Option<&Path>) -> (Option<i32>, String) {
    let mut command = understudy();
    command.args(["--server", server]).args(words);
    if let Some(file) = token_file {
        command.arg("--token-file").arg(file);
    }
    let told = command.output().expect("the program runs");
    (told.status.code(), String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_a_token_serves_whoever_names_it_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a token file");
    let flag = format!("--token-file={}", file.display());
    let mut cluster = Cluster::laid_out(Plan::of(3).flag(&flag));
    for k in cluster.all() {
        cluster.restart(k);
    }
    // The nodes name the token to each other, or they would never be three.
    eventually("three voters are found", async || {
        let (_, status) = get(&format!("{}/api/v1/status", cluster.node(2).url()), Some(TOKEN)).await?;
        let voters = status["nodes"].as_array()?.iter().filter(|n| n["voter"] == true && n["alive"] == true);
        (voters.count() == 3).then_some(())
    })
    .await;
    let node = cluster.node(3).url();
    for path in ["/api/v1/status", "/logging", "/metrics", "/internal/v1/cluster", "/"] {
        let (status, body) = get(&format!("{node}{path}"), None).await.expect("an answer");
        assert_eq!((status, problem(&body)), (401, "unauthorized"), "{path}");
        let (status, _) = get(&format!("{node}{path}"), Some(TOKEN)).await.expect("an answer");
        assert_eq!(status, 200, "{path}");
    }
    for path in ["/livez", "/readyz", "/login"] {
        assert_eq!(get(&format!("{node}{path}"), None).await.expect("an answer").0, 200, "{path}");
    }
    let wrong = TOKEN.to_uppercase();
    let mut told = Vec::new();
    for _ in 0..11 {
        told.push(get(&format!("{node}/api/v1/status"), Some(&wrong)).await.expect("an answer").0);
    }
    assert!(told[..10].iter().all(|status| *status == 401) && told[10] == 429, "{told:?}");
    let (code, said) = run(&node, &["run", "echo", "named"], Some(&file));
    assert_eq!((code, said.contains("named")), (Some(0), true), "{said}");
    let (code, said) = run(&node, &["run", "echo", "unnamed"], None);
    assert!(code == Some(1) && said.contains("unauthorized"), "{code:?} {said}");
    // One node stops another: it passes the call on, with the token.
    let (code, said) = run(&node, &["stop", &cluster.node(2).name], Some(&file));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&node, &["resume", &cluster.node(2).name], Some(&file));
    assert_eq!(code, Some(0), "{said}");
    let mut door = cluster.client_web(&[&flag]);
    door.start();
    let at = door.url();
    eventually("client-web is ready", async || {
        get(&format!("{at}/readyz"), None).await.filter(|t| t.0 == 200)
    })
    .await;
    assert_eq!(get(&format!("{at}/api/v1/status"), None).await.expect("an answer").0, 401);
    let (status, body) = get(&format!("{at}/api/v1/status"), Some(TOKEN)).await.expect("an answer");
    assert!(status == 200 && body["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{body}");
    door.signal(Signal::SIGTERM);
}

#[tokio::test]
async fn a_node_beyond_loopback_without_key_and_token_says_what_is_missing() {
    let mut cluster = Cluster::laid_out(Plan::of(1));
    let port = cluster.port(1, "http");
    for word in &mut cluster.node_mut(1).words {
        if word.starts_with("--listen=") {
            *word = format!("--listen=0.0.0.0:{port}");
        }
    }
    let ended = cluster.node(1).start_and_end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.err);
    assert!(ended.err.contains("--cluster-key-file") && ended.err.contains("--token-file"), "{}", ended.err);
    // Waived, it says so on its console and in its log.
    cluster.node_mut(1).words.push("--insecure".to_string());
    cluster.restart(1);
    let url = format!("http://127.0.0.1:{port}/logging");
    let log = eventually("it serves its log", async || {
        let (_, log) = get(&url, None).await?;
        log.as_str().filter(|log| log.contains("--insecure: its HTTP asks nobody")).map(String::from)
    })
    .await;
    assert!(log.contains("--insecure: links between nodes are not sealed"), "{log}");
    assert!(
        cluster.node(1).printed().contains("understudy: --insecure: its HTTP"),
        "{}",
        cluster.node(1).printed()
    );
}
