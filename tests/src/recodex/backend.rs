//! A cluster where ReCodEx's broker would be, with a monitor and a notifier beside it.

use super::{Config, FrontEnd, Monitor, Notifier, Stats};
use crate::cluster::{Cluster, Plan};
use crate::ports::Ports;
use crate::wait::eventually;

/// The original's defaults, which its programs expect.
const MAX_LIVENESS: u32 = 4;
const PING_INTERVAL_MS: u64 = 1_000;
const MAX_REQUEST_FAILURES: u32 = 3;

/// All of it; gone when dropped.
#[derive(Debug)]
pub struct Backend {
    /// The nodes.
    pub cluster: Cluster,
    /// What its nodes connect to.
    pub monitor: Monitor,
    /// What its leader calls.
    pub notifier: Notifier,
    _ports: Ports,
}

impl Backend {
    /// That many nodes.
    pub async fn start(nodes: usize) -> Self {
        Self::with(Plan::of(nodes), |_| {}).await
    }

    /// Nodes after this plan, each with a file that `shape` may change.
    ///
    /// # Panics
    /// When the cluster does not start.
    pub async fn with(plan: Plan, shape: impl Fn(&mut Config)) -> Self {
        let ports = Ports::take();
        let (monitor, notifier) = (Monitor::start(ports.http(1)), Notifier::start(ports.http(2)));
        let mut cluster = Cluster::laid_out(plan);
        for k in cluster.all() {
            let folder = cluster.folder().to_path_buf();
            let mut config = Config {
                clients: cluster.port(k, "recodex-clients"),
                workers: cluster.port(k, "recodex-workers"),
                monitor: ports.http(1),
                notifier: ports.http(2),
                max_liveness: MAX_LIVENESS,
                ping_interval: PING_INTERVAL_MS,
                max_request_failures: MAX_REQUEST_FAILURES,
                queue_manager: "single",
                log: folder.join(format!("broker-{k}")).display().to_string(),
            };
            shape(&mut config);
            let file = folder.join(format!("config-{k}.yml"));
            std::fs::write(&file, config.yaml()).expect("a file for node {k}");
            let node = cluster.node_mut(k);
            node.words.push(format!("--recodex-config={}", file.display()));
            node.start();
        }
        cluster.whole().await;
        Self { cluster, monitor, notifier, _ports: ports }
    }

    /// Where front ends reach node `k`.
    #[must_use]
    pub fn clients(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.cluster.port(k, "recodex-clients"))
    }

    /// Where workers reach node `k`.
    #[must_use]
    pub fn workers(&self, k: usize) -> String {
        format!("tcp://127.0.0.1:{}", self.cluster.port(k, "recodex-workers"))
    }

    /// What node `k` counts.
    #[must_use]
    pub fn stats(&self, k: usize) -> Stats {
        FrontEnd::stats(&self.clients(k))
    }

    /// Waits until node `k` counts so many of something.
    pub async fn counts(&self, k: usize, what: &str, many: u64) {
        let named = format!("node {k} counts {many} as {what}");
        eventually(&named, async || (self.stats(k).get(what) == Some(&many)).then_some(())).await;
    }

    /// The nodes that do not lead, and the one that does.
    pub async fn leader_and_others(&self) -> (usize, Vec<usize>) {
        let leader = self.cluster.leader().await;
        (leader, self.cluster.all().filter(|k| *k != leader).collect())
    }

    /// The jobs of this id, as node `k` lists them.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn jobs(&self, k: usize, id: &str) -> Vec<serde_json::Value> {
        let path = format!("/api/v1/jobs?label=recodex={id}&limit=500");
        let (status, list) = self.cluster.get(k, &path).await.expect("the node answers");
        assert!(status.is_success(), "{path}: {list}");
        list["items"].as_array().unwrap_or_else(|| panic!("no items: {list}")).clone()
    }

    /// Waits until node `k` shows the one job of this id as ended; the job.
    ///
    /// # Panics
    /// When there are more of them.
    pub async fn ended(&self, k: usize, id: &str) -> serde_json::Value {
        let what = format!("node {k} shows {id} as ended");
        let listed = eventually(&what, async || {
            let jobs = self.jobs(k, id).await;
            assert!(jobs.len() <= 1, "{id} is one job: {jobs:?}");
            jobs.into_iter().find(crate::client::has_ended)
        })
        .await;
        let path = format!("/api/v1/jobs/{}", crate::client::id(&listed));
        self.cluster.get(k, &path).await.expect("the node answers").1
    }
}
