//! The two components of `examples/queue`, built and run by their own control scripts; containers, network and images are gone
//! when dropped.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::containers::{docker, image, missing, succeeds};
use crate::ports::Ports;
use crate::process::ended;
use crate::source::root;
use crate::wait::{eventually, until};

/// RabbitMQ takes some ten seconds to start on a calm machine.
const START: Duration = Duration::from_secs(240);

/// The queue's image; `scripts/container-tests` builds it.
pub const QUEUE_IMAGE: &str = "understudy-queue:test";

/// What is missing for these tests; none when they can run.
#[must_use]
pub fn lacking() -> Option<&'static str> {
    missing().or_else(|| {
        if !succeeds("docker", &["image", "inspect", QUEUE_IMAGE]) {
            return Some("no image of the queue (scripts/container-tests builds it)");
        }
        (!succeeds("amqp-publish", &["--help"])).then_some("no amqp-publish (package amqp-tools)")
    })
}

/// A copy of the components, a network and a port of this machine.
#[derive(Debug)]
pub struct Components {
    folder: TempDir,
    ports: Ports,
    network: String,
    started: Vec<Started>,
}

/// A `run_local.sh` that runs.
#[derive(Debug)]
struct Started {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

/// Runs a control script of `examples/queue/components` to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn control(folder: &Path, script: &str, words: &[&str]) -> Output {
    let told = Command::new(folder.join(script)).args(words).env("BASE", image()).output();
    told.unwrap_or_else(|error| panic!("{script}: {error}"))
}

/// Where the components lie.
#[must_use]
pub fn components() -> PathBuf {
    root().join("examples/queue/components")
}

impl Components {
    /// The components, with nothing started; none, and a line that says why, where containers cannot run.
    ///
    /// # Panics
    /// When they cannot be copied.
    #[must_use]
    pub fn laid_out() -> Option<Self> {
        if let Some(what) = lacking() {
            println!("not run: {what}");
            return None;
        }
        let folder = TempDir::with_prefix("understudy-queue-").expect("a temporary folder");
        let copied = Command::new("cp").arg("-R").arg(components()).arg(folder.path()).status();
        assert!(copied.expect("cp runs").success(), "copying the components");
        let ports = Ports::take();
        let network = format!("understudyqueue{}", ports.base());
        Some(Self { folder, ports, network, started: Vec::new() })
    }

    /// The copy.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("components")
    }

    /// The network all of it is on.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The tag of the worker's image.
    #[must_use]
    pub fn worker_tag(&self) -> String {
        format!("{}-worker:v1", self.network)
    }

    /// Lays a program into the worker's folder scripts/.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.folder().join("worker/scripts").join(name);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// `worker/build.sh -t`.
    ///
    /// # Panics
    /// When that fails.
    pub fn build_worker(&self) {
        let told = control(&self.folder(), "worker/build.sh", &["-t", &self.worker_tag()]);
        assert!(told.status.success(), "build.sh: {}", String::from_utf8_lossy(&told.stderr));
    }

    /// Starts `run_local.sh` of the queue and waits until it takes messages.
    pub async fn run_queue(&mut self) {
        let port = self.ports.base().to_string();
        self.run("queue", "queue/run_local.sh", &["-t", QUEUE_IMAGE, "-p", &port]);
        until("the queue is up", START, async || {
            self.said("queue").contains("Server startup complete").then_some(())
        })
        .await;
    }

    /// Starts `run_local.sh` of the worker with these words more, and waits until it takes messages of that queue.
    pub async fn run_worker(&mut self, name: &str, queue: &str, words: &[&str]) {
        let tag = self.worker_tag();
        self.run(name, "worker/run_local.sh", &[&["-t", &tag, "-q", queue], words].concat());
        self.says(name, &format!("takes messages from {queue}")).await;
    }

    /// Starts a program of the components in the background; `name` names what it says.
    ///
    /// # Panics
    /// When it cannot be started.
    fn run(&mut self, name: &str, script: &str, words: &[&str]) {
        let log = self.folder.path().join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file");
        let mut command = Command::new(self.folder().join(script));
        command.args(words).env("QUEUE_NETWORK", &self.network).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a log file")).stderr(file);
        let child = Some(command.spawn().expect("a control script starts"));
        self.started.push(Started { name: name.to_string(), child, log });
    }

    /// What one of them said so far.
    ///
    /// # Panics
    /// When none is called so.
    #[must_use]
    pub fn said(&self, name: &str) -> String {
        let one = self.started.iter().find(|one| one.name == name).expect("it was started");
        fs::read_to_string(&one.log).unwrap_or_default()
    }

    /// Waits until one of them has said this.
    pub async fn says(&self, name: &str, words: &str) {
        let ask = async || self.said(name).contains(words).then_some(());
        eventually(&format!("{name} says {words:?}"), ask).await;
    }

    /// SIGTERM to the control script of this name; how it ended then.
    ///
    /// # Panics
    /// When it does not end, or with an error.
    pub fn end(&mut self, name: &str) {
        let one = self.started.iter_mut().find(|one| one.name == name).expect("it was started");
        let child = one.child.take().expect("it is ended once");
        let pid = i32::try_from(child.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("one may signal a child");
        let status = ended(child, Duration::from_secs(60), name).status;
        assert!(status.success(), "{name} ended with {status}: {}", self.said(name));
    }

    /// Where this machine reaches the queue.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.ports.base())
    }

    /// Publishes a message with the standard tool.
    pub fn publish(&self, queue: &str, body: &str) {
        publish(&self.url(), queue, body);
    }

    /// What this command line of the shell prints in any container on the network that can run it.
    #[must_use]
    pub fn everywhere(&self, line: &str) -> String {
        let filter = format!("network={}", self.network);
        let ids = docker(&["ps", "-q", "--filter", &filter]);
        let told = |id: &str| Command::new("docker").args(["exec", id, "sh", "-c", line]).output();
        let printed = |id: &str| told(id).map_or_else(|_| Vec::new(), |told| told.stdout);
        ids.split_whitespace().map(|id| String::from_utf8_lossy(&printed(id)).into_owned()).collect()
    }
}

/// `amqp-publish`, one message that the server keeps.
///
/// # Panics
/// When that fails.
pub fn publish(url: &str, queue: &str, body: &str) {
    let told = Command::new("amqp-publish").args(["-u", url, "-r", queue, "-p", "-b", body]).output();
    let told = told.expect("amqp-publish runs");
    assert!(told.status.success(), "amqp-publish: {}", String::from_utf8_lossy(&told.stderr));
}

impl Drop for Components {
    fn drop(&mut self) {
        for one in &self.started {
            if std::thread::panicking() {
                eprintln!("--- {} said\n{}", one.name, self.said(&one.name));
            }
        }
        let network = format!("network={}", self.network);
        let ids = docker(&["ps", "-aq", "--filter", &network]);
        let _ = Command::new("docker").args(["rm", "-f", "-v"]).args(ids.split_whitespace()).output();
        for mut child in self.started.drain(..).filter_map(|one| one.child) {
            // Gone with its container, or it has none.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("docker").args(["network", "rm", &self.network]).output();
        let _ = Command::new("docker").args(["rmi", &self.worker_tag()]).output();
    }
}
