//! One node as a child process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{ChildStdin, Command};

use super::plan::NodePlan;
use crate::exit::Failure;

/// Bytes of a dead node's console that are shown.
const LAST_WORDS_BYTES: usize = 2_000;

/// A node's process. Dropped, it is killed.
pub(super) struct Child {
    name: String,
    program: PathBuf,
    again: Vec<String>,
    console: PathBuf,
    process: tokio::process::Child,
    /// Held, never written to: its end is how the node learns that we are gone.
    _leash: Option<ChildStdin>,
    reported: bool,
}

impl Child {
    /// Starts the node's process.
    pub(super) fn start(program: &Path, node: &NodePlan) -> Result<Self, Failure> {
        let starting = |cause: std::io::Error| Failure::error(format!("starting {}: {cause}", node.name));
        fs::create_dir_all(&node.folder).map_err(starting)?;
        let console = File::options().create(true).append(true).open(node.console()).map_err(starting)?;
        let mut command = Command::new(program);
        command.args(&node.words).arg("--leash");
        // What this shell's environment says is meant for its own nodes, not for these.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UNDERSTUDY_"))
        {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::piped())
            .stdout(console.try_clone().map_err(starting)?)
            .stderr(console)
            // Ctrl-C is for us; we end the nodes in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(starting)?;
        Ok(Self {
            name: node.name.clone(),
            program: program.to_path_buf(),
            again: node.again.clone(),
            console: node.console(),
            _leash: process.stdin.take(),
            process,
            reported: false,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How it ended; told once.
    pub(super) fn died(&mut self) -> Result<Option<String>, Failure> {
        if self.reported {
            return Ok(None);
        }
        let status = self.process.try_wait();
        let status = status.map_err(|cause| Failure::error(format!("looking at {}: {cause}", self.name)))?;
        self.reported = status.is_some();
        Ok(status.map(|status| status.to_string()))
    }

    /// The command that starts it again, for a shell.
    pub(super) fn command_line(&self) -> String {
        let words =
            std::iter::once(self.program.to_string_lossy().into_owned()).chain(self.again.iter().cloned());
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }

    /// The end of what it wrote.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LAST_WORDS_BYTES)..];
        format!("{}\n(from {})", String::from_utf8_lossy(tail).trim_end(), self.console.display())
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // It may have ended just now; then there is nothing to say to it.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Ends them all: TERM to everybody, which lets jobs end; KILL to whoever is still there after `patience`, or when `at_once`
/// comes. All are reaped.
pub(super) async fn end(mut children: Vec<Child>, patience: Duration, at_once: impl Future<Output = ()>) {
    for child in &children {
        child.signal(Signal::SIGTERM);
        // A paused process could not hear it.
        child.signal(Signal::SIGCONT);
    }
    let all = futures_util::future::join_all(children.iter_mut().map(|child| child.process.wait()));
    let in_order = tokio::select! {
        ended = tokio::time::timeout(patience, all) => ended.is_ok(),
        () = at_once => false,
    };
    if !in_order {
        for child in &mut children {
            // An error means that it is gone.
            let _ = child.process.kill().await;
        }
    }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_is_read_back_as_it_was() {
        for word in ["plain/path-1:2", "with space", "it's", "$HOME;ls", ""] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output();
            assert_eq!(String::from_utf8(echoed.unwrap().stdout).unwrap(), word);
        }
    }
}
