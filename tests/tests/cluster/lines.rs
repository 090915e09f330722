//! The log store beside a cluster: jobs do not miss it, and it misses nothing.

use std::time::{Duration, Instant};

use tests::client::{id, job};
use tests::ports::Ports;
use tests::{Cluster, LogStore, Plan, eventually};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_log_store_that_is_killed_for_10_seconds_delays_no_job_and_misses_no_line() {
    let (ports, folder) = (Ports::take(), tempfile::tempdir().expect("a temporary folder"));
    let store = LogStore::start(&ports, folder.path());
    let mut plan = Plan::of(3);
    plan.flags.push(format!("--logger={}", LogStore::logger(&ports)));
    let cluster = Cluster::start(plan).await;
    let client = cluster.client(1);
    let mut jobs = vec![id(&client.run(&job("echo", "before")).await).to_string()];
    drop(store);
    let away = Instant::now();
    while away.elapsed() < AWAY {
        let begun = Instant::now();
        let done = client.run(&job("echo", "meanwhile")).await;
        assert_eq!(done["state"], "succeeded", "{done}");
        assert!(begun.elapsed() < Duration::from_secs(5), "a job waited {:?}", begun.elapsed());
        jobs.push(id(&done).to_string());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let store = LogStore::start(&ports, folder.path());
    let text = eventually("the store has every job's result", async || {
        let text = store.lines().await?;
        jobs.iter().all(|job| text.contains(&format!("Received result: {job}"))).then_some(text)
    })
    .await;
    for job in &jobs {
        for said in ["Created payload: ", "Received result: "] {
            assert_eq!(text.matches(&format!("{said}{job}>")).count(), 1, "{said}{job}\n{text}");
        }
    }
    for (at, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("<Log {}, Container ", at + 1)), "line {at}: {line}");
    }
}
