//! `understudy bridge` as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{Ended, ended, program, understudy};
use crate::wait::eventually;

/// A running one. Dropped: killed and reaped.
#[derive(Debug)]
pub struct Bridge {
    child: Option<Child>,
    log: PathBuf,
}

impl Bridge {
    /// Starts `understudy bridge WORDS`; what it says goes into a file of this folder, which `name` names.
    #[must_use]
    pub fn start(folder: &Path, name: &str, words: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        // However this test ends, its bridge ends with it. It becomes the program: same process number.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program()).arg("bridge").args(words);
        for (name, value) in understudy().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let err = File::create(&log).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err).spawn();
        Self { child: Some(child.expect("setpriv of util-linux runs")), log }
    }

    /// What it said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said this.
    pub async fn says(&self, words: &str) {
        let ask = async || self.said().contains(words).then_some(());
        eventually(&format!("a bridge says {words:?}"), ask).await;
    }

    /// Where it listens that was to listen anywhere.
    pub async fn endpoint(&self) -> String {
        let at = eventually("a bridge listens", async || {
            let said = self.said();
            Some(said.split("listens on ").nth(1)?.split_whitespace().next()?.to_string())
        })
        .await;
        at.replace("0.0.0.0", "127.0.0.1")
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// When it cannot be signalled.
    pub fn tell(&self) {
        let child = self.child.as_ref().expect("it runs until it is ended");
        let pid = i32::try_from(child.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("one may signal a child");
    }

    /// SIGTERM, and how it ended then.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn end(mut self) -> Ended {
        self.tell();
        let child = self.child.take().expect("it runs until it is ended");
        ended(child, Duration::from_secs(60), "the bridge")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} said\n{}", self.log.display(), self.said());
        }
    }
}
