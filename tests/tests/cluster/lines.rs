//! The log store beside a cluster: jobs do not miss it, and it misses nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::client::{http, id, job};
use tests::ports::Ports;
use tests::{Cluster, Node, Plan, eventually};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(10);

/// A log store that keeps what it has in `folder`, started.
fn store(ports: &Ports, folder: &Path) -> Node {
    let database = format!("--database=sqlite:{}", folder.join("logs.sqlite").display());
    let words = vec![format!("--pull={}", logger(ports)), database];
    let mut store = Node::beside("logdb", &format!("127.0.0.1:{}", ports.http(1)), folder, words);
    store.start();
    store
}

async fn lines(store: &Node) -> Option<String> {
    let asked = http().get(format!("{}/logging?limit=10000", store.url())).send().await;
    asked.ok()?.text().await.ok()
}

fn logger(ports: &Ports) -> String {
    format!("tcp://127.0.0.1:{}", ports.http(2))
}

#[tokio::test]
async fn a_log_store_that_is_killed_for_10_seconds_delays_no_job_and_misses_no_line() {
    let (ports, folder) = (Ports::take(), tempfile::tempdir().expect("a temporary folder"));
    let mut store = store(&ports, folder.path());
    let mut plan = Plan::of(3);
    plan.flags.push(format!("--logger={}", logger(&ports)));
    let cluster = Cluster::start(plan).await;
    let client = cluster.client(1);
    let mut jobs = vec![id(&client.run(&job("echo", "before")).await).to_string()];
    store.kill();
    let away = Instant::now();
    while away.elapsed() < AWAY {
        let begun = Instant::now();
        let done = client.run(&job("echo", "meanwhile")).await;
        assert_eq!(done["state"], "succeeded", "{done}");
        assert!(begun.elapsed() < Duration::from_secs(5), "a job waited {:?}", begun.elapsed());
        jobs.push(id(&done).to_string());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.start();
    let text = eventually("the store has every job's result", async || {
        let text = lines(&store).await?;
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
