//! Clusters as the lab's programs see them: ZeroMQ clients, workers and brokers that know nothing of what is underneath.

mod bench;
mod bridges;
mod brokers;
mod chain;
mod clients;
mod crowd;
mod examples;
mod hostile;
mod lines;
mod patterns;
mod promotion;
mod workers;

use tests::{Cluster, eventually};

/// Waits until node `k` has said a line with these words in it.
async fn node_says(cluster: &Cluster, k: usize, words: &str) {
    let ask = async || cluster.node(k).printed().contains(words).then_some(());
    eventually(&format!("node {k} says {words:?}"), ask).await;
}

/// Waits until node `k` has taken this worker in.
async fn registered(cluster: &Cluster, k: usize, identity: &str, class: &str) {
    node_says(cluster, k, &format!("REGISTERING Worker {identity} (class \"{class}\")")).await;
}

/// The replies a client of the lab printed.
fn replies(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("resp: ")).collect()
}

/// What a client of `Lab::client` has to be told by echoing workers.
fn echoes(identity: &str, requests: usize) -> Vec<String> {
    (1..=requests).map(|number| format!("{identity}-{number}")).collect()
}
