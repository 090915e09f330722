//! Sealed links: what somebody on the wire sees, who is refused, and what a repetition of captured bytes does.

use std::path::PathBuf;

use tests::client::{id, job};
use tests::{Cluster, Plan, Tap, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a greeting of ZeroMQ.
const GREETING_BYTES: usize = 64;
const MARK: &str = "the payload that nobody on the wire may read";

/// A key file in this folder.
fn key_file(folder: &tempfile::TempDir, name: &str, digit: char) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, digit.to_string().repeat(64)).expect("a key file");
    file
}

fn flag(file: &std::path::Path) -> String {
    format!("--cluster-key-file={}", file.display())
}

/// Three nodes with somebody on the wire between them, as a plan wants them.
async fn tapped(plan: Plan) -> (Cluster, Tap) {
    let mut cluster = Cluster::laid_out(plan.behind("127.0.0.2", "127.0.0.1"));
    let names = ["http", "broker", "link", "pub"];
    let ports: Vec<u16> = cluster.all().flat_map(|k| names.map(|name| cluster.port(k, name))).collect();
    let tap = Tap::between("127.0.0.1", "127.0.0.2", ports).await;
    for k in cluster.all() {
        cluster.restart(k);
    }
    cluster.whole().await;
    (cluster, tap)
}

/// Runs a marked job through every node; how many bytes were seen on the broker links and on the consensus links, and in how
/// many streams of each the mark stood.
async fn look(plan: Plan) -> [(usize, usize); 2] {
    let (cluster, tap) = tapped(plan).await;
    for k in cluster.all() {
        let ended = cluster.client_of([k]).run(&job("echo", &MARK.repeat(20))).await;
        assert_eq!(ended["result"]["output"], MARK.repeat(20), "{ended}");
    }
    ["broker", "link"].map(|name| {
        let ports: Vec<u16> = cluster.all().map(|k| cluster.port(k, name)).collect();
        tap.look(&ports, MARK.as_bytes())
    })
}

#[tokio::test]
async fn a_capture_of_peer_traffic_shows_no_payload() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = key_file(&folder, "key", '7');
    let [broker, link] = look(Plan::of(3).flag(flag(&key))).await;
    println!(
        "sealed: {broker:?} on the broker links, {link:?} on the consensus links (bytes, streams with the mark)"
    );
    assert!(broker.0 > 3 * MARK.len() && link.0 > 20 * MARK.len(), "traffic was seen");
    assert_eq!((broker.1, link.1), (0, 0), "the mark stands nowhere");
    // Without a key the same look finds it: it can.
    let [broker, link] = look(Plan::of(3).flag("--insecure")).await;
    println!("in clear: {broker:?} on the broker links, {link:?} on the consensus links");
    assert!(broker.1 > 0 && link.1 > 0, "in clear the mark is seen: {broker:?} {link:?}");
}

async fn log_of(cluster: &Cluster, k: usize) -> Option<String> {
    let (_, log) = cluster.get(k, "/logging").await?;
    log.as_str().map(String::from)
}

#[tokio::test]
async fn a_node_with_a_wrong_key_is_refused_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (right, wrong) = (key_file(&folder, "right", '7'), key_file(&folder, "wrong", '8'));
    let mut cluster = Cluster::start(Plan::of(3).flag(flag(&right))).await;
    // A member comes back with another key.
    let name = cluster.node(3).name.clone();
    cluster.kill(3);
    let swap = |cluster: &mut Cluster, from: &PathBuf, to: &PathBuf| {
        for word in &mut cluster.node_mut(3).words {
            if *word == flag(from) {
                *word = flag(to);
            }
        }
    };
    swap(&mut cluster, &right, &wrong);
    cluster.restart(3);
    for (k, whom) in [(1, name.as_str()), (2, name.as_str()), (3, "master"), (3, "worker1")] {
        let node = cluster.node(k).name.clone();
        eventually(&format!("{node} says that {whom} has another key"), async || {
            let log = log_of(&cluster, k).await?;
            let is_named =
                |line: &str| line.contains(whom) && line.contains("its cluster key is another one");
            log.lines().find(|line| is_named(line)).map(|line| println!("{node}: {line}"))
        })
        .await;
    }
    let ended = cluster.client_of([2]).run(&job("echo", "without it")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    eventually("the others count it as silent", async || {
        let status = cluster.status(1).await?;
        let card = status["nodes"].as_array()?.iter().find(|node| node["name"] == name.as_str())?.clone();
        (card["alive"] == false).then_some(())
    })
    .await;
    // A stranger with that key never becomes a member.
    let stranger = cluster.add();
    cluster.node_mut(stranger).words.push(flag(&wrong));
    cluster.node_mut(stranger).words.retain(|word| *word != flag(&right));
    cluster.restart(stranger);
    eventually("the stranger says that it is refused", async || {
        let log = log_of(&cluster, stranger).await?;
        log.contains("was refused").then_some(())
    })
    .await;
    let status = cluster.status(1).await.expect("it serves");
    let stranger = cluster.node(stranger).name.as_str();
    assert!(
        status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["name"] != stranger)),
        "{status}"
    );
    // With the right key it is one of them again.
    cluster.kill(4);
    cluster.kill(3);
    swap(&mut cluster, &wrong, &right);
    cluster.restart(3);
    cluster.whole().await;
}

/// Messages of the broker link that node `k` let go for this reason.
async fn dropped(cluster: &Cluster, k: usize, reason: &str) -> Option<u64> {
    let (_, metrics) = cluster.get(k, "/metrics").await?;
    let line = format!("understudy_broker_dropped_total{{reason=\"{reason}\"}} ");
    metrics.as_str()?.lines().find_map(|found| found.strip_prefix(&line))?.parse().ok()
}

/// Says again to a ZeroMQ port of 127.0.0.2 what was captured; the connection, still open.
async fn replay(port: u16, captured: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.2", port)).await.expect("it listens");
    // The greeting, and READY: a flag, a length, so many bytes. ZeroMQ wants to have said its own before more comes.
    let ready_bytes = 2 + usize::from(captured[GREETING_BYTES + 1]);
    let (introduction, messages) = captured.split_at(GREETING_BYTES + ready_bytes);
    stream.write_all(introduction).await.expect("it takes the introduction");
    let mut theirs = [0; GREETING_BYTES + 2];
    stream.read_exact(&mut theirs).await.expect("it introduces itself");
    let mut rest = vec![0; usize::from(theirs[GREETING_BYTES + 1])];
    stream.read_exact(&mut rest).await.expect("to the end");
    stream.write_all(messages).await.expect("it takes the messages");
    stream
}

#[tokio::test]
async fn a_replayed_frame_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = key_file(&folder, "key", '7');
    let (cluster, tap) = tapped(Plan::of(3).flag(flag(&key))).await;
    let leader = cluster.leader().await;
    let gateway = if leader == 1 { 2 } else { 1 };
    let ended = cluster.client_of([gateway]).run(&job("echo", MARK)).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let before = dropped(&cluster, leader, "repeated").await.expect("a figure");
    // Word for word what the others said to the leader, over a connection of our own.
    let port = cluster.port(leader, "broker");
    let captured: Vec<Vec<u8>> =
        tap.seen(port).into_iter().filter(|seen| seen.inward).map(|seen| seen.bytes).collect();
    assert!(captured.iter().any(|bytes| bytes.len() > MARK.len()), "something was captured");
    let mut replays = Vec::new();
    for bytes in captured {
        replays.push(replay(port, &bytes).await);
    }
    let after = eventually("repeated messages are dropped and counted", async || {
        dropped(&cluster, leader, "repeated").await.filter(|after| *after > before)
    })
    .await;
    println!("{} repeated messages were dropped", after - before);
    // The link goes on, and no job came of it.
    let ended = cluster.client_of([gateway]).run(&job("echo", "after")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let (_, jobs) = cluster.get(gateway, "/api/v1/jobs").await.expect("jobs");
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(2), "{jobs}");
    assert_eq!(jobs["items"][0]["id"], id(&ended), "{jobs}");
    // On the consensus link a repetition does not even get through the greeting.
    let port = cluster.port(leader, "link");
    let greeting = tap.seen(port).into_iter().find(|seen| seen.inward).expect("somebody dialled").bytes;
    let mut replay = TcpStream::connect(("127.0.0.2", port)).await.expect("the leader listens");
    replay.write_all(&greeting).await.expect("it takes them");
    let mut answer = Vec::new();
    let _ = replay.read_to_end(&mut answer).await;
    assert!(answer.len() < 400, "it was closed after its greeting: {} bytes came", answer.len());
}
