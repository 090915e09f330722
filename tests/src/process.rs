//! One node as an operating system sees it: a process, its folder, its log.
//!
//! Processes and not threads, because the faults that matter are a process's: killed, paused, started again on its disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::source::root;

/// The program under test: `$UNDERSTUDY_BIN`, else built (once a process) into the folder this test was built into.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("UNDERSTUDY_BIN") {
            return PathBuf::from(given);
        }
        let me = std::env::current_exe().expect("a test knows its own file");
        let profile = me.parent().and_then(Path::parent).expect("TARGET/PROFILE/deps/test");
        let target = profile.parent().expect("TARGET/PROFILE");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "-p", "understudy"])
            .env("CARGO_TARGET_DIR", target)
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "building the program under test: {built}");
        target.join("debug/understudy")
    })
}

/// The program under test with nothing of our own settings in its environment.
#[must_use]
pub fn understudy() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UNDERSTUDY_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a program ended that was expected to end.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// One node, or one that stands beside the nodes: what it is started with, and its process while it has one. Dropped: killed
/// and reaped.
#[derive(Debug)]
pub struct Node {
    /// The name it was given.
    pub name: String,
    /// `HOST:PORT` of its HTTP.
    pub address: String,
    /// Its data folder, which only nodes are told of.
    pub data: PathBuf,
    /// Where its output goes, over all its starts.
    pub log: PathBuf,
    /// The words and flags it is started with.
    pub words: Vec<String>,
    /// What its environment has beside the test's.
    pub environment: Vec<(String, String)>,
    is_beside: bool,
    child: Option<Child>,
}

impl Node {
    /// A node that has not been started yet.
    #[must_use]
    pub fn new(name: &str, address: &str, folder: &Path, words: Vec<String>) -> Self {
        Self {
            name: name.to_string(),
            address: address.to_string(),
            data: folder.join(name),
            log: folder.join(format!("{name}.log")),
            words,
            environment: Vec::new(),
            is_beside: false,
            child: None,
        }
    }

    /// One that stands beside the nodes (client-web, logdb) and keeps nothing or is told where; not started yet.
    #[must_use]
    pub fn beside(name: &str, address: &str, folder: &Path, words: Vec<String>) -> Self {
        let own = [name.to_string(), format!("--name={name}"), format!("--listen={address}")];
        let words = own.into_iter().chain(words).collect();
        let mut one = Self::new(name, address, folder, words);
        one.is_beside = true;
        one
    }

    /// Its HTTP address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts its process.
    ///
    /// # Panics
    /// When it has one already.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let child = self
            .command()
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    fn command(&self) -> Command {
        let mut command = understudy();
        // On a leash: however this test ends, its nodes end with it.
        command.args(&self.words).arg("--leash").stdin(Stdio::piped());
        if !self.is_beside {
            command.arg("--data").arg(&self.data);
        }
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts it where it has to refuse: waits for its end and says how it was.
    ///
    /// # Panics
    /// When it is still running after a while.
    #[must_use]
    pub fn start_and_end(&self) -> Ended {
        let child = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        ended(child.expect("the program starts"), Duration::from_secs(30), &self.name)
    }

    /// Whether its process runs (a paused one does).
    #[must_use]
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().expect("a child can be asked").is_none())
    }

    /// Its process.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("{} has no process", self.name)).id()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal to its process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process number"));
        kill(pid, signal).expect("one may signal a child");
    }

    /// Waits until its process has ended by itself.
    ///
    /// # Panics
    /// When it still runs after `patience`.
    pub fn wait_end(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} has no process", self.name));
        loop {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                return status;
            }
            if Instant::now() > deadline {
                self.child = Some(child);
                panic!("{} still runs after {patience:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All it has printed, over all its starts.
    #[must_use]
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.printed();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a program to end by itself and collects what it wrote.
///
/// # Panics
/// When it still runs after `patience`; it is killed then.
#[must_use]
pub fn ended(mut child: Child, patience: Duration, what: &str) -> Ended {
    let deadline = Instant::now() + patience;
    while child.try_wait().expect("a child can be asked").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let told = child.wait_with_output().expect("its output");
            let err = String::from_utf8_lossy(&told.stderr).into_owned();
            panic!("{what} did not end within {patience:?}; it said: {err}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = child.wait_with_output().expect("its output");
    Ended {
        status: told.status,
        out: String::from_utf8_lossy(&told.stdout).into_owned(),
        err: String::from_utf8_lossy(&told.stderr).into_owned(),
    }
}
