//! The log store beside a cluster: jobs do not miss it, and it misses nothing.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::client::{http, id, job};
use tests::ports::Ports;
use tests::{Cluster, Plan, eventually, understudy};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(10);

/// A log store's process, killed when dropped.
struct Store {
    child: Child,
    url: String,
}

impl Store {
    fn start(ports: &Ports, folder: &Path) -> Self {
        let (listen, pull) = (format!("127.0.0.1:{}", ports.http(1)), logger(ports));
        let database = format!("sqlite:{}", folder.join("logs.sqlite").display());
        let log = std::fs::File::options().create(true).append(true).open(folder.join("logdb.log"));
        let child = understudy()
            .args(["logdb", "--name=logdb", "--leash", "--listen", &listen, "--pull", &pull])
            .args(["--database", &database])
            .stdin(Stdio::piped())
            .stdout(log.expect("a log file"))
            .spawn();
        Self { child: child.expect("the program starts"), url: format!("http://{listen}") }
    }

    async fn lines(&self) -> Option<String> {
        let asked = http().get(format!("{}/logging?limit=10000", self.url)).send().await;
        asked.ok()?.text().await.ok()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn logger(ports: &Ports) -> String {
    format!("tcp://127.0.0.1:{}", ports.http(2))
}

#[tokio::test]
async fn a_log_store_that_is_killed_for_10_seconds_delays_no_job_and_misses_no_line() {
    let (ports, folder) = (Ports::take(), tempfile::tempdir().expect("a temporary folder"));
    let store = Store::start(&ports, folder.path());
    let mut plan = Plan::of(3);
    plan.flags.push(format!("--logger={}", logger(&ports)));
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
    let store = Store::start(&ports, folder.path());
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
