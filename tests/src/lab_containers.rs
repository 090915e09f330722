//! The lab's service as containers, from `examples/lab/docker-compose.yml`; gone when dropped.

use std::process::Command;

use crate::containers::{compose_words, docker, image, missing, succeeds};
use crate::ports::Ports;
use crate::source::root;
use crate::wait::until;

/// Containers may take long on a machine that does other things: a client's ten requests take ten seconds on a calm one.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);

/// The images of clients and workers; `scripts/container-tests` builds them.
const IMAGES: [(&str, &str); 2] =
    [("LAB_CLIENT_IMAGE", "understudy-lab-client:test"), ("LAB_WORKER_IMAGE", "understudy-lab-worker:test")];

/// A service of its own: own names, own network, own volumes, own port on this machine.
#[derive(Debug)]
pub struct LabContainers {
    name: String,
    ports: Ports,
    /// Further environment of the compose file.
    pub environment: Vec<(String, String)>,
    classes: Vec<String>,
}

impl LabContainers {
    /// The service, with nothing started; none, and a line that says why, where containers cannot run.
    #[must_use]
    pub fn laid_out() -> Option<Self> {
        let lacks = missing().or_else(|| {
            let there = |(_, image): &(&str, &str)| succeeds("docker", &["image", "inspect", image]);
            (!IMAGES.iter().all(there))
                .then_some("no images of the lab (scripts/container-tests builds them)")
        });
        if let Some(what) = lacks {
            println!("not run: {what}");
            return None;
        }
        let ports = Ports::take();
        let name = format!("understudylab{}", ports.base());
        Some(Self { name, ports, environment: Vec::new(), classes: Vec::new() })
    }

    /// With this in the environment that the compose file reads.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// `docker-compose up -d`, with these words after it.
    pub fn up(&self, words: &[&str]) {
        self.compose(&[&["up", "-d", "--no-build"], words].concat());
    }

    /// `docker-compose` on the service.
    ///
    /// # Panics
    /// When it fails.
    pub fn compose(&self, words: &[&str]) -> String {
        run(self.composer(&self.name, "docker-compose.yml").args(words))
    }

    /// Clients and workers of one more class, which no file names: a project of its own.
    pub fn up_class(&mut self, class: &str, clients: usize, workers: usize) {
        let project = format!("{}class{}", self.name, self.classes.len());
        self.classes.push(project.clone());
        let scale = [format!("cli={clients}"), format!("wor={workers}")];
        let words = ["up", "-d", "--no-build", "--scale", &scale[0], "--scale", &scale[1]];
        run(self.composer(&project, "class.yml").env("CLASSID", class).args(words));
    }

    fn composer(&self, project: &str, file: &str) -> Command {
        let words = compose_words().expect("looked at before anything was started");
        let mut command = Command::new(words[0]);
        let folder = root().join("examples/lab");
        command.args(&words[1..]).args(["--project-name", project, "--file"]).arg(folder.join(file));
        command.current_dir(folder).env("UNDERSTUDY_IMAGE", image()).envs(IMAGES);
        command.env("LAB_NETWORK", &self.name).env("PUBLISH_9998", self.ports.base().to_string());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where clients on this machine reach the broker.
    #[must_use]
    pub fn clients_url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.ports.base())
    }

    /// The network all of it is on.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.name
    }

    /// Containers of a service, of all projects, running or not.
    #[must_use]
    pub fn ids(&self, service: &str) -> Vec<String> {
        let mut ids = Vec::new();
        for project in std::iter::once(&self.name).chain(&self.classes) {
            let project = format!("label=com.docker.compose.project={project}");
            let service = format!("label=com.docker.compose.service={service}");
            let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &project, "--filter", &service]);
            ids.extend(listed.split_whitespace().map(ToString::to_string));
        }
        ids
    }

    /// Waits until all clients have ended; what each printed, after it ended with exit code 0.
    ///
    /// # Panics
    /// When one ended otherwise.
    pub async fn clients_succeed(&self) -> Vec<String> {
        let ids = self.ids("cli");
        let ended = async || {
            let state = |id: &String| docker(&["inspect", "--format", "{{.State.Status}}", id]);
            ids.iter().all(|id| state(id).trim() == "exited").then_some(())
        };
        until("all clients have ended", PATIENCE, ended).await;
        let mut printed = Vec::new();
        for id in &ids {
            let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", id]);
            let told = docker(&["logs", id]);
            assert_eq!(code.trim(), "0", "client {id}: {told}");
            printed.push(told);
        }
        printed
    }

    /// The lines of the logger's file.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        let text = self.compose(&["exec", "-T", "log", "cat", "/var/lib/understudy/logs"]);
        text.lines().map(ToString::to_string).collect()
    }
}

impl Drop for LabContainers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told =
                self.composer(&self.name, "docker-compose.yml").args(["logs", "--tail", "40"]).output();
            let text =
                told.map_or_else(|e| e.to_string(), |t| String::from_utf8_lossy(&t.stdout).into_owned());
            eprintln!("{text}");
        }
        // Those that borrow the network first.
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
        let mut commands: Vec<Command> = Vec::new();
        for project in &self.classes {
            let mut command = self.composer(project, "class.yml");
            command.env("CLASSID", "any");
            commands.push(command);
        }
        let mut whole = self.composer(&self.name, "docker-compose.yml");
        whole.args(["--profile", "chain"]);
        commands.push(whole);
        for mut command in commands {
            match command.args(down).output() {
                Ok(told) if told.status.success() => {}
                Ok(told) => eprintln!("taking {} down: {}", self.name, String::from_utf8_lossy(&told.stderr)),
                Err(error) => eprintln!("taking {} down: {error}", self.name),
            }
        }
    }
}

fn run(command: &mut Command) -> String {
    let told = command.output().expect("docker-compose runs");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{command:?}: {}\n{said}", told.status);
    String::from_utf8_lossy(&told.stdout).into_owned()
}
