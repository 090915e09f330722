//! The load generator works; what it measures is nobody's pass or failure.

use std::time::Duration;

use serde_json::Value;
use tests::process::ended;
use tests::{Cluster, Plan, understudy};

/// Runs it and gives its JSON lines by work.
fn bench(words: &[&str]) -> Vec<Value> {
    let mut command = understudy();
    command.args(["bench", "http"]).args(words);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let ended = ended(child.expect("the program starts"), Duration::from_secs(240), "bench http");
    assert!(ended.status.success(), "{}{}", ended.out, ended.err);
    println!("{}", ended.out);
    let lines = ended.out.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn of_work<'a>(rows: &'a [Value], work: &str) -> &'a Value {
    let row = rows.iter().find(|row| row["work"] == work);
    row.unwrap_or_else(|| panic!("{work} was measured"))
}

#[tokio::test]
async fn every_work_is_measured_on_a_cluster_of_its_own_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = format!("--scratch={}", scratch.path().display());
    let little = [
        "--run=300ms",
        "--runs=1",
        "--outstanding=1,8",
        "--bytes=100,10240",
        "--drained=2000",
        "--queued=3000",
    ];
    let rows = bench(&[&little[..], &[&folder]].concat());
    for work in ["idle", "submit", "batch", "round-trip", "drain", "failover", "memory", "submit-queued"] {
        let row = of_work(&rows, work);
        assert_eq!((&row["nodes"], row["runs"].as_array().map(Vec::len)), (&3.into(), Some(1)), "{row}");
        assert!(row["durability"].as_str().is_some_and(|text| text.contains("majority")), "{row}");
    }
    let counted = ["submit", "batch", "round-trip", "drain", "failover"];
    assert!(counted.iter().all(|work| of_work(&rows, work)["median"].as_u64() > Some(0)));
    assert_eq!(
        rows.iter().filter(|row| row["work"] == "submit").count(),
        8,
        "two sizes, two loads, two versions"
    );
    assert!(!scratch.path().join("cluster").exists(), "its nodes' folders are gone");
}

#[tokio::test]
async fn a_cluster_that_is_there_is_measured_from_outside() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let at: Vec<String> = (1..=3).map(|node| cluster.node(node).url().replace("http://", "")).collect();
    let at = format!("--at={}", at.join(","));
    let rows = bench(&[&at, "--run=300ms", "--runs=1", "--outstanding=4", "--bytes=100"]);
    let works: Vec<&str> = rows.iter().filter_map(|row| row["work"].as_str()).collect();
    assert_eq!(works, ["submit", "submit", "batch", "round-trip", "round-trip"], "1.1 and 2");
}
