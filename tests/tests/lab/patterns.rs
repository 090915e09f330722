//! Push and pull, and the exclusive pair, with a cluster at the other end: the examples as they are, through a bridge.

use std::fs::File;
use std::process::{Child, Stdio};

use tests::ports::Ports;
use tests::{Cluster, Lab, Plan, understudy};

/// `understudy bridge zmq`; dropped: killed.
struct Bridge(Child);

impl Bridge {
    fn start(cluster: &Cluster, lab: &Lab, words: &[&str]) -> Self {
        let servers: Vec<String> = cluster.all().map(|k| cluster.node(k).url()).collect();
        let child = understudy()
            .args(["bridge", "zmq", "--server", &servers.join(",")])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(lab.folder().join("bridge.err")).expect("a file"))
            .spawn();
        Self(child.expect("the program starts"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ms(text: &str) -> u64 {
    text.trim_end_matches(" msec").parse().unwrap_or_else(|_| panic!("no milliseconds: {text}"))
}

#[tokio::test]
async fn a_ventilator_and_a_sink_have_a_cluster_for_their_workers() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let mut sink = lab.example("sink.py", &["tcp://127.0.0.1:*"]);
    let results = sink.says("listening on ").await;
    let words = ["tcp://127.0.0.1:*", &results, "--wait", "0", "--seed", "3"];
    let mut ventilator = lab.example("ventilator.py", &words);
    let tasks = ventilator.says("listening on ").await;
    let words = ["--pull", &tasks, "--push", &results, "--class", "sleep", "--template", "{}ms"];
    let _bridge = Bridge::start(&cluster, &lab, &words);
    let lines = sink.succeeds().await;
    ventilator.succeeds().await;
    assert!(lines.contains(&":.........".repeat(10)), "{lines:?}");
    let elapsed = lines.iter().find_map(|line| line.strip_prefix("Total elapsed time: "));
    let elapsed_ms = ms(elapsed.expect("the time it took"));
    let cost_ms = ms(&ventilator.says("Total expected cost: ").await);
    println!("100 tasks of 1 to 100 ms, 8 slots: expected {cost_ms} ms, elapsed {elapsed_ms} ms");
    assert!(elapsed_ms < cost_ms, "one after another they would have taken {cost_ms} ms, not {elapsed_ms}");
    let (_, list) = cluster.get(1, "/api/v1/jobs?class=sleep&limit=500").await.expect("a list");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(100), "each task was one job");
}

#[tokio::test]
async fn a_pairs_messages_are_jobs_and_answered_in_order() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let ports = Ports::take();
    let url = format!("tcp://127.0.0.1:{}", ports.http(9));
    let mut pair = lab.example("pair.py", &[&url, "0.3", "0.2", "0.1", "0", "--bind"]);
    let _bridge = Bridge::start(&cluster, &lab, &["--pair", &url, "--class", "sleep"]);
    assert_eq!(pair.succeeds().await, ["0.3", "0.2", "0.1", "0"], "although the last one was done first");
}
