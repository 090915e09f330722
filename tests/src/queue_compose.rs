//! The sample of `examples/queue` as its compose file starts it; gone when dropped.

use std::process::Command;

use crate::containers::{compose_words, docker, image, succeeds};
use crate::ports::Ports;
use crate::queue_components::{QUEUE_IMAGE, lacking};
use crate::source::root;

/// The worker's image; `scripts/container-tests` builds it.
const WORKER_IMAGE: &str = "understudy-queue-worker:test";

/// A project of its own: own name, network, volumes and ports of this machine.
#[derive(Debug)]
pub struct QueueCompose {
    name: String,
    ports: Ports,
}

impl QueueCompose {
    /// The project, with nothing started; none, and a line that says why, where containers cannot run.
    #[must_use]
    pub fn laid_out() -> Option<Self> {
        let lacks = lacking().or_else(|| {
            (!succeeds("docker", &["image", "inspect", WORKER_IMAGE]))
                .then_some("no image of the queue's workers (scripts/container-tests builds it)")
        });
        if let Some(what) = lacks {
            println!("not run: {what}");
            return None;
        }
        let ports = Ports::take();
        Some(Self { name: format!("understudyqueuecompose{}", ports.base()), ports })
    }

    /// `docker-compose` on the project.
    ///
    /// # Panics
    /// When it fails.
    pub fn compose(&self, words: &[&str]) -> String {
        let told = self.composer().args(words).output().expect("docker-compose runs");
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "docker-compose {}: {}\n{said}", words.join(" "), told.status);
        String::from_utf8_lossy(&told.stdout).into_owned()
    }

    fn composer(&self) -> Command {
        let words = compose_words().expect("looked at before anything was started");
        let mut command = Command::new(words[0]);
        let folder = root().join("examples/queue");
        command.args(&words[1..]).args(["--project-name", &self.name]).current_dir(folder);
        command.env("UNDERSTUDY_IMAGE", image());
        command.env("QUEUE_IMAGE", QUEUE_IMAGE).env("QUEUE_WORKER_IMAGE", WORKER_IMAGE);
        command.env("PUBLISH_5672", self.ports.base().to_string());
        command.env("PUBLISH_3002", (self.ports.base() + 1).to_string());
        command
    }

    /// Where this machine reaches the queue.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.ports.base())
    }

    /// Where this machine reaches the first node.
    #[must_use]
    pub fn node_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.base() + 1)
    }

    /// Containers of a service, running or not.
    #[must_use]
    pub fn ids(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &project, "--filter", &service]);
        listed.split_whitespace().map(ToString::to_string).collect()
    }
}

impl Drop for QueueCompose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.composer().args(["logs", "--no-color", "--tail", "40"]).output();
            eprintln!(
                "{}",
                told.map_or_else(|e| e.to_string(), |t| String::from_utf8_lossy(&t.stdout).into_owned())
            );
        }
        match self.composer().args(["down", "--volumes", "--remove-orphans", "--timeout", "1"]).output() {
            Ok(told) if told.status.success() => {}
            Ok(told) => eprintln!("taking {} down: {}", self.name, String::from_utf8_lossy(&told.stderr)),
            Err(error) => eprintln!("taking {} down: {error}", self.name),
        }
    }
}
