//! A log store as a process, gone when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::client::http;
use crate::ports::Ports;
use crate::process::understudy;

/// `understudy logdb` in a folder that outlives it.
#[derive(Debug)]
pub struct LogStore {
    child: Child,
    url: String,
    file: PathBuf,
}

impl LogStore {
    /// Starts one on two ports of the block: HTTP of node 1, lines at HTTP of node 2.
    #[must_use]
    pub fn start(ports: &Ports, folder: &Path) -> Self {
        let (listen, pull) = (format!("127.0.0.1:{}", ports.http(1)), Self::logger(ports));
        let (database, file) =
            (format!("sqlite:{}", folder.join("logs.sqlite").display()), folder.join("logs"));
        let log = std::fs::File::options().create(true).append(true).open(folder.join("logdb.log"));
        let child = understudy()
            .args(["logdb", "--name=logdb", "--leash", "--listen", &listen, "--pull", &pull])
            .args(["--database", &database, "--file"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(log.expect("a log file"))
            .spawn();
        Self { child: child.expect("the program starts"), url: format!("http://{listen}"), file }
    }

    /// Where lines are sent to, also before it is started.
    #[must_use]
    pub fn logger(ports: &Ports) -> String {
        format!("tcp://127.0.0.1:{}", ports.http(2))
    }

    /// The lines it shows; none when it does not answer.
    pub async fn lines(&self) -> Option<String> {
        let asked = http().get(format!("{}/logging?limit=10000", self.url)).send().await;
        asked.ok()?.text().await.ok()
    }

    /// The lines of its file.
    #[must_use]
    pub fn file(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().map(ToString::to_string).collect()
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
