//! Nodes that are told to end, one after another, while everybody works on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::client::{attempts, id, job};
use tests::{Client, Cluster, Plan, Told, eventually};

/// What a node may take to end: running attempts have ten seconds.
const FAREWELL: Duration = Duration::from_secs(30);
/// What is aimed at is a second; ten times that is no busy machine but a fault.
const LATEST_MS: u64 = 10_000;
/// What a job of the load takes by itself.
const JOB_MS: u64 = 50;

/// Milliseconds of an RFC 3339 time, since 1970.
fn time_ms(time: &Value) -> u64 {
    let text = time.as_str().unwrap_or_else(|| panic!("a time is a text, this is {time}"));
    let time = humantime::parse_rfc3339(text).expect("RFC 3339");
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a time of our days")
}

/// Runs one job of the load after another until `over`; the jobs as they ended.
async fn load(client: &Client, over: &AtomicBool) -> Vec<Value> {
    let mut ended = Vec::new();
    while !over.load(Ordering::Relaxed) {
        ended.push(client.run(&job("sleep", &format!("{JOB_MS}ms"))).await);
    }
    ended
}

/// How much longer than its own time each job took, from its acknowledgement to its end.
fn print_delays(ended: &[Value]) -> u64 {
    let delay_ms = |job: &Value| {
        let took_ms = time_ms(&job["finished_at"]).saturating_sub(time_ms(&job["submitted_at"]));
        took_ms.saturating_sub(JOB_MS)
    };
    let mut delays: Vec<u64> = ended.iter().map(delay_ms).collect();
    delays.sort_unstable();
    println!("{} jobs of {JOB_MS} ms while four nodes were started again; delayed by", delays.len());
    let mut from_ms = 0;
    for to_ms in [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, u64::MAX] {
        let count = delays.iter().filter(|ms| (from_ms..to_ms).contains(*ms)).count();
        if count > 0 {
            println!("  {from_ms:>5} ms or more: {count:>6}");
        }
        from_ms = to_ms;
    }
    let longest = delays.last().copied().unwrap_or(0);
    println!("  longest {longest} ms, median {} ms", delays[delays.len() / 2]);
    longest
}

/// Tells each node to end and starts it again, the leader among them; errors that came from a node that was not being
/// started again meanwhile.
async fn restart_all(cluster: &mut Cluster, clients: &[Client]) -> Vec<Told> {
    let mut wrong = Vec::new();
    for k in cluster.all() {
        let before: Vec<usize> = clients.iter().map(|client| client.told().len()).collect();
        let url = cluster.node(k).url();
        cluster.node(k).signal(Signal::SIGTERM);
        let status = ends(cluster, k).await;
        assert!(status.success(), "node {k}: {status}");
        cluster.restart(k);
        cluster.whole().await;
        let since = clients.iter().zip(before).flat_map(|(client, before)| client.told().split_off(before));
        wrong.extend(since.filter(|told| told.url != url));
    }
    wrong
}

async fn ends(cluster: &mut Cluster, k: usize) -> std::process::ExitStatus {
    tests::until("it has ended", FAREWELL, async || (!cluster.node_mut(k).runs()).then_some(())).await;
    cluster.node_mut(k).wait_end(FAREWELL)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_no_error_and_hardly_a_delay() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let clients: Vec<Client> = cluster.all().map(|k| cluster.client(k)).collect();
    let over = AtomicBool::new(false);
    let (wrong, a, b, c, d) = tokio::join!(
        async {
            let wrong = restart_all(&mut cluster, &clients).await;
            over.store(true, Ordering::Relaxed);
            wrong
        },
        load(&clients[0], &over),
        load(&clients[1], &over),
        load(&clients[2], &over),
        load(&clients[3], &over),
    );
    assert!(wrong.is_empty(), "a live node answered with an error: {wrong:?}");
    let ended = [a, b, c, d].concat();
    for job in &ended {
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(attempts(job, "succeeded"), 1, "{job}");
    }
    let longest_ms = print_delays(&ended);
    assert!(longest_ms < LATEST_MS, "a job was delayed by {longest_ms} ms");
}

#[tokio::test]
async fn a_node_told_to_end_lets_its_job_end_and_takes_no_other() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(1);
    let running = id(&client.submit(&job("sleep", "3")).await).to_string();
    let (at, _) = cluster.runner(&client, &running, 1).await;
    let name = cluster.node(at).name.clone();
    let client = cluster.client_of(cluster.all().filter(|k| *k != at));
    cluster.node(at).signal(Signal::SIGTERM);
    eventually("it says that it takes no more", async || {
        let other = cluster.all().find(|k| *k != at)?;
        let status = cluster.status(other).await?;
        let card = status["nodes"].as_array()?.iter().find(|node| node["name"] == *name)?.clone();
        (card["draining"] == true).then_some(())
    })
    .await;
    for n in 0..4 {
        let ended = client.run(&job("echo", &format!("elsewhere {n}"))).await;
        assert_ne!(ended["attempts"][0]["node"], *name, "{ended}");
    }
    assert!(ends(&mut cluster, at).await.success());
    let ended = client.ended(&running).await;
    assert_eq!((&ended["state"], ended["attempts"].as_array().map(Vec::len)), (&"succeeded".into(), Some(1)));
    assert!(client.told().is_empty(), "a live node answered with an error: {:?}", client.told());
}

#[tokio::test]
async fn a_node_told_twice_to_end_ends_at_once() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let running = id(&client.submit(&job("sleep", "60")).await).to_string();
    cluster.runner(&client, &running, 1).await;
    cluster.node(1).signal(Signal::SIGTERM);
    eventually("it is about to leave", async || {
        let (status, body) = cluster.get(1, "/readyz?verbose").await?;
        (status == 503 && body.as_str()?.contains("[-] staying")).then_some(())
    })
    .await;
    let told = std::time::Instant::now();
    cluster.node(1).signal(Signal::SIGTERM);
    assert!(ends(&mut cluster, 1).await.success());
    assert!(told.elapsed() < Duration::from_secs(8), "it did not wait for its job: {:?}", told.elapsed());
}
