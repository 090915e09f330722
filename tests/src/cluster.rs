//! A whole cluster of real processes on loopback, in a temporary folder, gone when dropped.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, answer, http};
use crate::ports::{self, Ports};
use crate::process::Node;
use crate::wait::{PATIENCE, eventually};

/// What a cluster shall be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes; the first is the founder.
    pub nodes: usize,
    /// Jobs each runs at once.
    pub slots: u32,
    /// Further flags for all.
    pub flags: Vec<String>,
    /// Further environment of single nodes: (node, name, value).
    pub environment: Vec<(usize, String, String)>,
    /// What stands in the settings file of all; none: there is no file.
    pub settings: Option<String>,
    /// The address of loopback all listen on.
    pub host: String,
}

impl Plan {
    /// That many nodes with four slots each, `sh` and `python` allowed, `/stop` on.
    #[must_use]
    pub fn of(nodes: usize) -> Self {
        let flags = vec!["--allow=sh,python".to_string(), "--chaos".to_string()];
        Self {
            nodes,
            slots: 4,
            flags,
            environment: Vec::new(),
            settings: None,
            host: "127.0.0.1".to_string(),
        }
    }

    /// As many jobs at once on each node.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Without `/stop`.
    #[must_use]
    pub fn without_chaos(mut self) -> Self {
        self.flags.retain(|f| f != "--chaos");
        self
    }

    /// With this flag on every node.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// With these settings (TOML) for every node.
    #[must_use]
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings = Some(toml.to_string());
        self
    }

    /// Listening on another address of loopback than the one the others are told: something may stand in between.
    #[must_use]
    pub fn behind(mut self, listen: &str, advertise: &str) -> Self {
        self.host = listen.to_string();
        self.flag(format!("--advertise={advertise}"))
    }

    /// With this in the environment of node `k`.
    #[must_use]
    pub fn environment_of(mut self, k: usize, name: &str, value: &str) -> Self {
        self.environment.push((k, name.to_string(), value.to_string()));
        self
    }

    /// Voters there will be: 1 or 3.
    #[must_use]
    pub fn voters(&self) -> usize {
        if self.nodes < 3 { 1 } else { 3 }
    }
}

/// Nodes are numbered from 1; node 1 founds.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    ports: Ports,
    plan: Plan,
    http: reqwest::Client,
    folder: TempDir,
}

impl Cluster {
    /// Starts all nodes and waits until every one serves, is known to the others and the voters are complete.
    pub async fn start(plan: Plan) -> Self {
        let mut cluster = Self::laid_out(plan);
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.whole().await;
        cluster
    }

    /// The nodes with their ports and folders, none of them started.
    #[must_use]
    pub fn laid_out(plan: Plan) -> Self {
        let folder = TempDir::with_prefix("understudy-test-").expect("a temporary folder");
        let ports = Ports::take();
        let mut cluster = Self { nodes: Vec::new(), ports, http: http(), folder, plan };
        for k in 1..=cluster.plan.nodes {
            let node = cluster.node_of(k);
            cluster.nodes.push(node);
        }
        cluster
    }

    fn node_of(&self, k: usize) -> Node {
        let name = if k == 1 { "master".to_string() } else { format!("worker{}", k - 1) };
        let address = |k: usize| format!("{}:{}", self.plan.host, self.ports.http(k));
        let word = if k == 1 { "master" } else { "worker" };
        let mut words = vec![word.to_string(), format!("--name={name}"), format!("--listen={}", address(k))];
        words.extend(self.ports.flags(k));
        words.push(format!("--slots={}", self.plan.slots));
        words.push(format!("--expect={}", self.plan.voters()));
        if k > 1 {
            let others: Vec<String> = (1..=self.plan.nodes.max(k)).filter(|o| *o != k).map(address).collect();
            words.push(format!("--join={}", others.join(",")));
        }
        words.extend(self.plan.flags.iter().cloned());
        if let Some(toml) = &self.plan.settings {
            let file = self.folder.path().join("understudy.toml");
            std::fs::write(&file, toml).expect("a settings file");
            words.push(format!("--config={}", file.display()));
        }
        let mut node = Node::new(&name, &address(k), self.folder.path(), words);
        let environment = self.plan.environment.iter().filter(|(of, _, _)| *of == k);
        node.environment = environment.map(|(_, name, value)| (name.clone(), value.clone())).collect();
        node
    }

    /// One node more, not started yet; its number.
    pub fn add(&mut self) -> usize {
        let k = self.nodes.len() + 1;
        let node = self.node_of(k);
        self.nodes.push(node);
        k
    }

    /// client-web before all nodes there are, not started yet.
    #[must_use]
    pub fn client_web(&self, words: &[&str]) -> Node {
        let servers: Vec<String> = self.nodes.iter().map(Node::url).collect();
        let mut all = vec![format!("--servers={}", servers.join(","))];
        all.extend(words.iter().map(ToString::to_string));
        let address = format!("127.0.0.1:{}", self.ports.http(usize::from(ports::NODES)));
        Node::beside("client-web", &address, self.folder.path(), all)
    }

    /// Node `k`.
    #[must_use]
    pub fn node(&self, k: usize) -> &Node {
        &self.nodes[k - 1]
    }

    /// Node `k`, to kill or change it.
    pub fn node_mut(&mut self, k: usize) -> &mut Node {
        &mut self.nodes[k - 1]
    }

    /// A port of node `k` by its name: `http`, or one of [`Ports::zeromq`].
    #[must_use]
    pub fn port(&self, k: usize, name: &str) -> u16 {
        if name == "http" { self.ports.http(k) } else { self.ports.zeromq(k, name) }
    }

    /// Where node `k` tells its news.
    #[must_use]
    pub fn news(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.ports.zeromq(k, "pub"))
    }

    /// Where the lab's clients reach node `k`.
    #[must_use]
    pub fn clients_url(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.ports.zeromq(k, "clients"))
    }

    /// Where the lab's workers reach node `k`.
    #[must_use]
    pub fn workers_url(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.ports.zeromq(k, "workers"))
    }

    /// Where node `k` publishes.
    #[must_use]
    pub fn news_url(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.ports.zeromq(k, "pub"))
    }

    /// All numbers.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        1..=self.nodes.len()
    }

    /// The number of the node with this name.
    #[must_use]
    pub fn numbered(&self, name: &str) -> usize {
        let found = self.nodes.iter().position(|n| n.name == name);
        found.unwrap_or_else(|| panic!("no node is called {name}")) + 1
    }

    /// The folder everything lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of all nodes that starts with node `k`.
    #[must_use]
    pub fn client(&self, k: usize) -> Client {
        let count = self.nodes.len();
        self.client_of((0..count).map(|step| (k - 1 + step) % count + 1))
    }

    /// A client of these nodes.
    #[must_use]
    pub fn client_of(&self, nodes: impl IntoIterator<Item = usize>) -> Client {
        Client::new(nodes.into_iter().map(|k| self.node(k).url()).collect())
    }

    /// Asks node `k`; none when it does not answer.
    pub async fn get(&self, k: usize, path: &str) -> Option<(StatusCode, Value)> {
        answer(self.http.get(format!("{}{path}", self.node(k).url()))).await.ok()
    }

    /// Posts JSON to node `k`; none when it does not answer.
    pub async fn post(&self, k: usize, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        answer(self.http.post(format!("{}{path}", self.node(k).url())).json(body)).await.ok()
    }

    /// A request to node `k` as a test likes it.
    pub fn request(&self, method: reqwest::Method, k: usize, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.node(k).url()))
    }

    /// What node `k` says of the cluster; none when it does not answer or is stopped.
    pub async fn status(&self, k: usize) -> Option<Value> {
        let (status, body) = self.get(k, "/api/v1/status").await?;
        status.is_success().then_some(body)
    }

    /// The leader that leads now: some node says of itself that it is, in the highest term any node names.
    pub async fn leader(&self) -> usize {
        eventually("a node leads", async || self.leader_now().await).await
    }

    async fn leader_now(&self) -> Option<usize> {
        let mut found: Option<(u64, Option<usize>)> = None;
        for k in self.all() {
            let Some(status) = self.status(k).await else { continue };
            let term = status["term"].as_u64().unwrap_or(0);
            let leads = (status["role"] == "leader").then_some(k);
            if found.is_none_or(|(best, by)| term > best || (term == best && by.is_none())) {
                found = Some((term, leads));
            }
        }
        found.and_then(|(_, by)| by)
    }

    /// Waits until all nodes that run know all others that run as alive, and the voters are complete.
    pub async fn whole(&mut self) {
        let running: Vec<usize> = self.all().filter(|k| self.node_mut(*k).runs()).collect();
        let deadline = Instant::now() + PATIENCE;
        while let Some(missing) = self.missing(&running).await {
            assert!(Instant::now() < deadline, "the cluster is not whole after {PATIENCE:?}: {missing}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What these nodes lack for a whole cluster.
    async fn missing(&self, running: &[usize]) -> Option<String> {
        let voters = self.plan.voters().min(running.len());
        for k in running {
            let of = |what: &str| Some(format!("{}: {what}", self.node(*k).name));
            let Some(status) = self.status(*k).await else { return of("no status") };
            if status["leader"].is_null() {
                return of("no leader");
            }
            let Some((ready, why)) = self.get(*k, "/readyz?verbose").await else { return of("no /readyz") };
            if !ready.is_success() {
                return of(&format!("not ready: {why}"));
            }
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let alive =
                |k: &usize| nodes.iter().any(|n| n["name"] == self.node(*k).name && n["alive"] == true);
            if let Some(other) = running.iter().find(|k| !alive(k)) {
                return of(&format!("{} is not alive in {}", self.node(*other).name, status["nodes"]));
            }
            if nodes.iter().filter(|n| n["voter"] == true && n["alive"] == true).count() < voters {
                return of(&format!("fewer than {voters} voters in {}", status["nodes"]));
            }
        }
        None
    }

    /// The soft crash by `/stop`, as curl does it.
    pub async fn stop(&self, k: usize) {
        self.toggle(k, "True").await;
    }

    /// Ends the soft crash.
    pub async fn resume(&self, k: usize) {
        self.toggle(k, "False").await;
    }

    async fn toggle(&self, k: usize, expected: &str) {
        let response = self.request(reqwest::Method::GET, k, "/stop").send().await.expect("/stop answers");
        let body = response.text().await.expect("a body");
        assert_eq!(body.trim_end(), expected, "/stop on {}", self.node(k).name);
    }

    /// `kill -9`.
    pub fn kill(&mut self, k: usize) {
        self.node_mut(k).kill();
    }

    /// Starts its process (again) on its disk.
    pub fn restart(&mut self, k: usize) {
        self.node_mut(k).start();
    }

    /// `kill -STOP`: the process stands still and all its connections stay open.
    pub fn pause(&self, k: usize) {
        self.node(k).signal(Signal::SIGSTOP);
    }

    /// `kill -CONT`.
    pub fn unpause(&self, k: usize) {
        self.node(k).signal(Signal::SIGCONT);
    }

    /// The node whose attempt of this job runs now, as the first reachable of `nodes` sees it, with the attempt's number.
    pub async fn runner(&self, client: &Client, id: &str, at_least: u64) -> (usize, u64) {
        let what = format!("attempt {at_least} of job {id} runs");
        eventually(&what, async || {
            let job = client.look(id).await;
            let last = job["attempts"].as_array()?.last()?.clone();
            let number = last["number"].as_u64()?;
            let runs = number >= at_least && last["state"] == "running";
            runs.then(|| (self.numbered(last["node"].as_str().unwrap_or_default()), number))
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- the end of {}'s log\n{}", node.name, node.last_lines(40));
            }
        }
    }
}
