//! The benchmark works; what it measures is nobody's pass or failure.

use std::time::Duration;

use tests::process::ended;
use tests::{Cluster, Plan, understudy};

#[tokio::test]
async fn the_benchmark_counts_every_answer_of_both_brokers_and_prints_their_ratio() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let words = ["bench", "lab", "--requests=300", "--outstanding=64", "--workers=4", "--rounds=2"];
    let mut command = understudy();
    command.args(words).arg(format!("--clients={}", cluster.clients_url(2)));
    command.arg(format!("--workers-at={}", cluster.workers_url(3)));
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let ended = ended(child.expect("the program starts"), Duration::from_secs(120), "bench lab");
    let text = ended.out;
    assert!(ended.status.success(), "{text}{}", ended.err);
    for broker in ["bare", "understudy"] {
        let line = text.lines().find(|line| line.contains(&format!("\"broker\":\"{broker}\"")));
        assert!(line.is_some_and(|line| line.contains("\"requests\":300")), "{text}");
    }
    assert!(text.contains("ratio: "), "{text}");
    println!("{text}");
}
