//! A whole cluster of containers, started from the project's own compose file and gone when dropped.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, answer, http};
use crate::ports::Ports;
use crate::source::root;
use crate::wait::eventually;

/// The nodes of the compose file and their ports inside.
pub const NODES: [(&str, u16); 4] =
    [("server", 3002), ("worker1", 3004), ("worker2", 3005), ("worker3", 3006)];

/// The names of all nodes.
pub const ALL: [&str; 4] = [NODES[0].0, NODES[1].0, NODES[2].0, NODES[3].0];

/// Every port the compose file publishes, as it is called there.
const PUBLISHED: [u16; 14] =
    [3001, 3002, 3003, 3004, 3005, 3006, 9998, 9999, 10098, 10099, 10198, 10199, 10298, 10299];

/// Containers may take long to come up on a machine that does other things.
const START: Duration = Duration::from_secs(120);

/// The image under test, unless `UNDERSTUDY_TEST_IMAGE` names another.
const IMAGE: &str = "understudy:test";

/// A compose project of its own: own name, own network, own volumes, own ports on this machine.
#[derive(Debug)]
pub struct Containers {
    project: String,
    ports: Ports,
    folder: TempDir,
    http: reqwest::Client,
    cuts: RefCell<Vec<Vec<String>>>,
}

/// What is missing for these tests; none when they can run.
#[must_use]
pub fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<&'static str>> = OnceLock::new();
    *MISSING.get_or_init(|| {
        if !succeeds("docker", &["info"]) {
            return Some("no Docker");
        }
        if compose_words().is_none() {
            return Some("no docker-compose");
        }
        (!succeeds("docker", &["image", "inspect", &image()]))
            .then_some("no image (scripts/container-tests builds it)")
    })
}

pub(crate) fn image() -> String {
    std::env::var("UNDERSTUDY_TEST_IMAGE").unwrap_or_else(|_| IMAGE.to_string())
}

pub(crate) fn succeeds(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|told| told.status.success())
}

pub(crate) fn compose_words() -> Option<Vec<&'static str>> {
    static WORDS: OnceLock<Option<Vec<&'static str>>> = OnceLock::new();
    let found = || match () {
        () if succeeds("docker-compose", &["version"]) => Some(vec!["docker-compose"]),
        () if succeeds("docker", &["compose", "version"]) => Some(vec!["docker", "compose"]),
        () => None,
    };
    WORDS.get_or_init(found).clone()
}

impl Containers {
    /// Starts the four nodes and waits until they are whole; none, and a line that says why, where containers cannot run.
    pub async fn nodes() -> Option<Self> {
        Self::nodes_with("").await
    }

    /// Starts all that runs by default and waits until the nodes are whole, the page relays and the log store keeps.
    pub async fn everything() -> Option<Self> {
        let containers = Self::laid_out("")?;
        containers.up(&[]);
        containers.whole(&ALL).await;
        for port in [3001, 3003] {
            eventually(&format!("what is published as {port} is ready"), async || {
                containers.get_port(port, "/readyz").await.filter(|(status, _)| status.is_success())
            })
            .await;
        }
        Some(containers)
    }

    /// As [`Containers::nodes`], with a second compose file laid over the first.
    pub async fn nodes_with(changes: &str) -> Option<Self> {
        let containers = Self::laid_out(changes)?;
        containers.up(&ALL);
        containers.whole(&ALL).await;
        Some(containers)
    }

    /// The project, with nothing started.
    #[must_use]
    pub fn laid_out(changes: &str) -> Option<Self> {
        if let Some(what) = missing() {
            println!("not run: {what}");
            return None;
        }
        let folder = TempDir::with_prefix("understudy-test-").expect("a temporary folder");
        let changes = if changes.is_empty() { "version: \"3.8\"\n" } else { changes };
        fs::write(folder.path().join("changes.yml"), changes).expect("a compose file");
        let ports = Ports::take();
        let project = format!("understudytest{}", ports.base());
        Some(Self { project, ports, folder, http: http(), cuts: RefCell::default() })
    }

    /// Starts these services, or all that run by default when none is named.
    pub fn up(&self, services: &[&str]) {
        self.compose(&[&["up", "-d", "--no-build"], services].concat());
    }

    /// Runs docker-compose on this project; what it printed.
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
        command.args(&words[1..]).args(["--project-name", &self.project]);
        command.arg("--file").arg(root().join("docker-compose.yml"));
        command.arg("--file").arg(self.changes()).current_dir(root());
        command.env("UNDERSTUDY_IMAGE", image());
        for port in PUBLISHED {
            command.env(format!("PUBLISH_{port}"), self.port(port).to_string());
        }
        command
    }

    fn changes(&self) -> PathBuf {
        self.folder.path().join("changes.yml")
    }

    /// Where a port of the compose file is on this machine.
    #[must_use]
    pub fn port(&self, published: u16) -> u16 {
        let place = PUBLISHED.iter().position(|p| *p == published);
        let place = place.unwrap_or_else(|| panic!("{published} is not published"));
        self.ports.base() + u16::try_from(place).expect("a small number")
    }

    /// The address by which this machine reaches a published port.
    #[must_use]
    pub fn url(&self, published: u16) -> String {
        format!("http://127.0.0.1:{}", self.port(published))
    }

    /// The address of a node.
    #[must_use]
    pub fn node_url(&self, node: &str) -> String {
        let found = NODES.iter().find(|(name, _)| *name == node);
        self.url(found.unwrap_or_else(|| panic!("no node is called {node}")).1)
    }

    /// A client of these nodes, asked in this order.
    #[must_use]
    pub fn client_of<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Client {
        Client::new(nodes.into_iter().map(|node| self.node_url(node)).collect())
    }

    /// A client of all nodes but one.
    #[must_use]
    pub fn client_without(&self, absent: &str) -> Client {
        self.client_of(self.others(absent))
    }

    /// All nodes but one.
    #[must_use]
    pub fn others(&self, absent: &str) -> Vec<&'static str> {
        ALL.into_iter().filter(|name| *name != absent).collect()
    }

    /// The containers of a service, running or not.
    #[must_use]
    pub fn ids(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service = format!("label=com.docker.compose.service={service}");
        let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &project, "--filter", &service]);
        listed.split_whitespace().map(ToString::to_string).collect()
    }

    /// The one container of a service.
    #[must_use]
    pub fn id(&self, service: &str) -> String {
        let ids = self.ids(service);
        assert_eq!(ids.len(), 1, "containers of {service}");
        ids.into_iter().next().unwrap_or_default()
    }

    /// What Docker says of the service's container, as a Go template picks it.
    #[must_use]
    pub fn inspect(&self, service: &str, template: &str) -> String {
        docker(&["inspect", "--format", template, &self.id(service)]).trim().to_string()
    }

    /// The container's address on the project's network; empty while it does not run.
    #[must_use]
    pub fn address(&self, service: &str) -> String {
        self.inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// `docker kill`: the process is gone at once, the disk stays.
    pub fn kill(&self, service: &str) {
        docker(&["kill", &self.id(service)]);
    }

    /// `docker start`: the same container again, on its disk.
    pub fn start(&self, service: &str) {
        docker(&["start", &self.id(service)]);
    }

    /// `docker pause`: all its processes stand still and its connections stay open.
    pub fn pause(&self, service: &str) {
        docker(&["pause", &self.id(service)]);
    }

    /// `docker unpause`.
    pub fn unpause(&self, service: &str) {
        docker(&["unpause", &self.id(service)]);
    }

    /// Drops every packet between `service` and each of `others`, both ways. This machine still reaches all of them.
    pub fn cut(&self, service: &str, others: &[&str]) {
        let one = self.address(service);
        for other in others {
            let other = self.address(other);
            for (from, to) in [(&one, &other), (&other, &one)] {
                let rule = ["DOCKER-USER", "-s", from, "-d", to, "-j", "DROP"].map(String::from).to_vec();
                run("iptables", &[&["-w".to_string(), "-I".to_string()], rule.as_slice()].concat());
                self.cuts.borrow_mut().push(rule);
            }
        }
    }

    /// Takes all cuts back.
    pub fn heal(&self) {
        for rule in self.cuts.borrow_mut().drain(..) {
            let words = [&["-w".to_string(), "-D".to_string()], rule.as_slice()].concat();
            let _ = Command::new("iptables").args(&words).output();
        }
    }

    /// Asks a node; none when it does not answer.
    pub async fn get(&self, node: &str, path: &str) -> Option<(StatusCode, Value)> {
        answer(self.http.get(format!("{}{path}", self.node_url(node)))).await.ok()
    }

    /// Asks whatever stands behind a published port; none when it does not answer.
    pub async fn get_port(&self, published: u16, path: &str) -> Option<(StatusCode, Value)> {
        answer(self.http.get(format!("{}{path}", self.url(published)))).await.ok()
    }

    /// What a node says of the cluster; none when it does not answer within a second or is stopped.
    pub async fn status(&self, node: &str) -> Option<Value> {
        let request = self.http.get(format!("{}/api/v1/status", self.node_url(node)));
        let (status, body) = answer(request.timeout(Duration::from_secs(1))).await.ok()?;
        status.is_success().then_some(body)
    }

    /// The node that says of itself that it leads, in the highest term that any of `nodes` names.
    pub async fn leader_of(&self, nodes: &[&str]) -> String {
        let ask = async || {
            let mut found: Option<(u64, Option<String>)> = None;
            for node in nodes {
                let Some(status) = self.status(node).await else { continue };
                let term = status["term"].as_u64().unwrap_or(0);
                let leads = (status["role"] == "leader").then(|| (*node).to_string());
                if found.as_ref().is_none_or(|(best, by)| term > *best || (term == *best && by.is_none())) {
                    found = Some((term, leads));
                }
            }
            found.and_then(|(_, by)| by)
        };
        eventually(&format!("one of {nodes:?} leads"), ask).await
    }

    /// The node that leads.
    pub async fn leader(&self) -> String {
        self.leader_of(&ALL).await
    }

    /// Waits until these nodes are ready, know each other as alive and three of them vote.
    ///
    /// # Panics
    /// When that does not come; it says what was missing last.
    pub async fn whole(&self, nodes: &[&str]) {
        let deadline = Instant::now() + START;
        while let Err(lack) = self.wholeness(nodes).await {
            assert!(Instant::now() < deadline, "after {START:?} still: {lack}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn wholeness(&self, nodes: &[&str]) -> Result<(), String> {
        for node in nodes {
            let status = self.status(node).await.ok_or(format!("{node} does not answer"))?;
            let ready = self.get(node, "/readyz?verbose").await;
            let ready = ready.ok_or(format!("{node} does not say whether it is ready"))?;
            let listed = status["nodes"].as_array().cloned().unwrap_or_default();
            let alive = |name: &&str| listed.iter().any(|n| n["name"] == **name && n["alive"] == true);
            let voting = listed.iter().filter(|n| n["voter"] == true && n["alive"] == true).count();
            if !ready.0.is_success() || !nodes.iter().all(alive) || voting != 3 {
                return Err(format!("{node} says {} and {status}", ready.1));
            }
        }
        Ok(())
    }

    /// The node whose attempt of this job runs now, with the attempt's number.
    pub async fn runner(&self, client: &Client, id: &str, at_least: u64) -> (String, u64) {
        eventually(&format!("attempt {at_least} of job {id} runs"), async || {
            let job = client.look(id).await;
            let last = job["attempts"].as_array()?.last()?.clone();
            let number = last["number"].as_u64()?;
            let runs = number >= at_least && last["state"] == "running";
            runs.then(|| (last["node"].as_str().unwrap_or_default().to_string(), number))
        })
        .await
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.heal();
        if std::thread::panicking() {
            let told = self.composer().args(["logs", "--no-color", "--tail", "40"]).output();
            eprintln!(
                "{}",
                told.map_or_else(|e| e.to_string(), |t| String::from_utf8_lossy(&t.stdout).into_owned())
            );
        }
        let told = self.composer().args(["down", "--volumes", "--remove-orphans", "--timeout", "1"]).output();
        match told {
            Ok(told) if told.status.success() => {}
            Ok(told) => eprintln!("taking {} down: {}", self.project, String::from_utf8_lossy(&told.stderr)),
            Err(error) => eprintln!("taking {} down: {error}", self.project),
        }
    }
}

/// Runs docker; what it printed.
///
/// # Panics
/// When it fails.
pub fn docker(words: &[&str]) -> String {
    run("docker", &words.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn run(program: &str, words: &[String]) -> String {
    let told = Command::new(program).args(words).output();
    let told = told.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{program} {}: {}\n{said}", words.join(" "), told.status);
    String::from_utf8_lossy(&told.stdout).into_owned()
}
