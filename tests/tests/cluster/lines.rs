//! The log store beside a cluster: jobs do not miss it, and it misses nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::client::{answer, http, id, job, problem};
use tests::ports::Ports;
use tests::{Client, Cluster, Node, Plan, eventually};

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

/// The lines of a job as client-web or a node tells them, oldest first: time, node, sentence.
async fn told(base: &str, path: &str) -> Option<Vec<(String, String, String)>> {
    let (status, page) = answer(http().get(format!("{base}{path}"))).await.ok()?;
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_string();
    let line = |line: &Value| (text(line, "time"), text(line, "node"), text(line, "message"));
    status.is_success().then(|| page["items"].as_array().expect("lines").iter().rev().map(line).collect())
}

#[tokio::test]
async fn one_jobs_lines_are_asked_of_any_door_in_order_and_a_log_store_that_is_away_is_named() {
    let (ports, folder) = (Ports::take(), tempfile::tempdir().expect("a temporary folder"));
    let mut store = store(&ports, folder.path());
    let mut plan = Plan::of(3);
    plan.flags.extend([format!("--logger={}", logger(&ports)), format!("--logdb={}", store.url())]);
    let cluster = Cluster::start(plan).await;
    // client-web is told by a file what the nodes are told by flags.
    let file = folder.path().join("client-web.toml");
    let text = format!("[logs]\nlogger = '{}'\nstore = '{}'\n", logger(&ports), store.url());
    std::fs::write(&file, text).expect("a settings file");
    let mut door = cluster.client_web(&[&format!("--config={}", file.display())]);
    door.start();
    let client = Client::new(vec![door.url()]);
    let done = client.run(&job("echo", "whose walk is told")).await;
    let (j, leader) = (id(&done), cluster.node(cluster.leader().await).name.clone());
    let worker = done["attempts"][0]["node"].as_str().expect("a worker").to_string();
    let walk = [
        ("client-web", "Created payload: "),
        ("client-web", "Sent payload: "),
        (leader.as_str(), "Received payload: "),
        (leader.as_str(), "Sent payload: "),
        (worker.as_str(), "Received payload: "),
        (worker.as_str(), "Sent result: "),
        (leader.as_str(), "Received result: "),
    ];
    let (all, of_job) = (format!("/api/v1/logs?job={j}"), format!("/api/v1/jobs/{j}/logs"));
    for (base, path) in [(door.url(), &all), (cluster.node(2).url(), &all), (cluster.node(3).url(), &of_job)]
    {
        let lines = eventually(&format!("{base}{path} tells the whole walk"), async || {
            let lines = told(&base, path).await?;
            let has = |(node, said): &(&str, &str)| {
                lines.iter().any(|(_, by, text)| by == node && text.starts_with(&format!("{said}{j}")))
            };
            walk.iter().all(has).then_some(lines)
        })
        .await;
        let at = |(node, said): &(&str, &str)| {
            // The last one: the node that client-web asks says the first two once more, and may be the master.
            let found = lines.iter().rfind(|(_, by, text)| by == node && text.starts_with(said));
            found.map(|(time, _, _)| time.clone())
        };
        let times: Vec<_> = walk.iter().map(at).collect();
        assert!(times.is_sorted(), "{times:?} of {lines:?}");
        assert!(lines.iter().map(|line| &line.0).is_sorted(), "oldest first: {lines:?}");
    }

    store.kill();
    for base in [door.url(), cluster.node(2).url()] {
        let (status, body) = answer(http().get(format!("{base}{all}"))).await.expect("an answer");
        assert_eq!((status.as_u16(), problem(&body)), (503, "log-store-away"), "{base}: {body}");
    }
    let lines = told(&cluster.node(3).url(), &of_job).await.expect("the nodes tell what they know");
    assert!(lines.iter().any(|(_, _, text)| text.contains(j)), "{lines:?}");
    let done = client.run(&job("echo", "without the log store")).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    store.start();
    eventually("the store answers again", async || told(&door.url(), &all).await).await;
}
