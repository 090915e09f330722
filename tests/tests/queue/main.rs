//! A queue of a real RabbitMQ that feeds a real cluster through `understudy bridge amqp`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tests::rabbit::{self, Rabbit};
use tests::{Bridge, Cluster, Plan, until};

mod room;
mod sample;

/// Jobs that a busy machine runs one after the other.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long no message may have its effect while some are missing.
const STANDSTILL: Duration = Duration::from_secs(90);

/// A cluster whose class `myaction` writes a line of its input into a file; lines that begin with `poison` fail.
async fn cluster(folder: &Path, nodes: usize) -> Cluster {
    let effects = folder.join("effects");
    fs::write(&effects, "").expect("a file");
    let lines = format!(
        "read -r line\ncase \"$line\" in poison*) exit 3;; esac\nprintf '%s\\n' \"$line\" >> {}",
        effects.display()
    );
    let script = rabbit::script(folder, "myaction", &lines);
    Cluster::start(Plan::of(nodes).flag(format!("--script={}", script.display())).flag("--class=myaction"))
        .await
}

fn effects(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("effects")).expect("a file").lines().map(ToString::to_string).collect()
}

fn bridge(cluster: &Cluster, rabbit: &Rabbit, name: &str, words: &[&str]) -> Bridge {
    let servers: Vec<String> = cluster.all().map(|k| cluster.node(k).url()).collect();
    let (servers, url) = (servers.join(","), rabbit.url());
    let least = ["amqp", "--url", &url, "--queue", "work", "--server", &servers];
    Bridge::start(cluster.folder(), name, &[&least[..], words].concat())
}

const MYACTION: [&str; 4] = ["--class", "myaction", "--dead", "dead"];

async fn has_effects(folder: &Path, count: usize) {
    until(&format!("{count} messages had their effect"), PATIENCE, async || {
        (effects(folder).len() >= count).then_some(())
    })
    .await;
}

/// Every one of these lines had its effect. As long as more of them have it, there is patience.
async fn all_happened(cluster: &Cluster, folder: &Path, wanted: &BTreeSet<String>) {
    let missing = || {
        let happened: BTreeSet<String> = effects(folder).into_iter().collect();
        wanted.difference(&happened).cloned().collect::<Vec<_>>()
    };
    let (mut least, mut since) = (wanted.len(), Instant::now());
    loop {
        let now = missing();
        if now.is_empty() {
            return;
        }
        if now.len() < least {
            (least, since) = (now.len(), Instant::now());
        }
        if since.elapsed() >= STANDSTILL {
            let of = format!("/api/v1/jobs?q={}", now[0]);
            let jobs = cluster.get(1, &of).await;
            panic!("{} messages had no effect: {} …; its jobs: {jobs:?}", now.len(), now[0]);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many jobs there are for each `message` label, and that each of them has ended.
async fn jobs_by_message(cluster: &Cluster) -> BTreeMap<String, usize> {
    let (mut found, mut after) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?class=myaction&limit=200{after}");
        let (_, page) = cluster.get(1, &path).await.expect("a node answers");
        for job in page["items"].as_array().expect("items") {
            let state = job["state"].as_str().unwrap_or_default();
            assert!(["succeeded", "failed"].contains(&state), "{job}");
            if let Some(message) = job["labels"]["message"].as_str() {
                *found.entry(message.to_string()).or_default() += 1;
            }
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

fn text(headers: &FieldTable, name: &str) -> String {
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        other => panic!("header {name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_though_bridge_worker_and_master_are_killed_in_turn() {
    const EACH: usize = 1_000;
    let folder = tempfile::tempdir().expect("a folder");
    let rabbit = Rabbit::start().await;
    let mut cluster = cluster(folder.path(), 4).await;
    let first = bridge(&cluster, &rabbit, "first", &MYACTION);
    first.says("takes messages from work").await;
    let plain: Vec<String> = (0..EACH).map(|n| format!("plain-{n}")).collect();
    rabbit.publish_lines("work", &plain);
    let (_connection, channel) = rabbit.channel().await;
    let mut named = Vec::new();
    for n in 0..EACH {
        let id = format!("named-{n}");
        rabbit::publish(
            &channel,
            "work",
            id.as_bytes(),
            BasicProperties::default().with_message_id(id.as_str().into()),
        )
        .await;
        named.push(id);
    }
    for n in 0..3 {
        let id = format!("poison-{n}");
        rabbit::publish(
            &channel,
            "work",
            id.as_bytes(),
            BasicProperties::default().with_message_id(id.as_str().into()),
        )
        .await;
    }
    has_effects(folder.path(), 200).await;
    drop(first); // kill -9
    let second = bridge(&cluster, &rabbit, "second", &MYACTION);
    has_effects(folder.path(), 600).await;
    let leader = cluster.leader().await;
    let other = cluster.all().find(|k| *k != leader).expect("there are four");
    cluster.node_mut(other).kill();
    has_effects(folder.path(), 900).await;
    // Two of three voters are a majority; with the next one gone, too, there would be none.
    cluster.node_mut(other).start();
    cluster.whole().await;
    let leader = cluster.leader().await;
    cluster.node_mut(leader).kill();
    has_effects(folder.path(), 1_200).await;
    cluster.node_mut(leader).start();

    let wanted: BTreeSet<String> = plain.iter().chain(&named).cloned().collect();
    all_happened(&cluster, folder.path(), &wanted).await;
    until("the poison is among the dead letters", PATIENCE, async || {
        (rabbit.waiting("dead").await == 3).then_some(())
    })
    .await;
    assert!(second.end().status.success(), "a bridge that is told to end does");
    assert_eq!(rabbit.waiting("work").await, 0, "the queue is empty, nothing went back to it");
    for (body, headers) in rabbit.taken("dead").await {
        assert!(body.starts_with("poison-"), "{body}");
        assert_eq!(
            (text(&headers, "x-understudy-reason"), text(&headers, "x-understudy-state")),
            ("exit".into(), "failed".into())
        );
        assert_eq!(headers.inner().get("x-understudy-exit-code"), Some(&AMQPValue::LongLongInt(3)));
    }
    let jobs = jobs_by_message(&cluster).await;
    let twice: Vec<_> = jobs.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "one job a message-id: {twice:?}");
    assert_eq!(jobs.len(), EACH + 3);
    let runs = effects(folder.path()).len();
    println!("{} messages, {} effects: {} of them repeated", 2 * EACH, runs, runs - 2 * EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_goes_on_with_its_messages_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rabbit = Rabbit::start().await;
    let cluster = cluster(folder.path(), 1).await;
    let bridge = bridge(&cluster, &rabbit, "bridge", &MYACTION);
    bridge.says("takes messages from work").await;
    let lines: Vec<String> = (0..400).map(|n| format!("m-{n}")).collect();
    let (_connection, channel) = rabbit.channel().await;
    for line in &lines {
        // Confirmed: what the server has not promised to keep may be gone.
        rabbit::publish(&channel, "work", line.as_bytes(), BasicProperties::default()).await;
    }
    has_effects(folder.path(), 50).await;
    rabbit.kill();
    bridge.says("goes on trying").await;
    rabbit.start_again().await;
    let lines = lines.into_iter().collect();
    all_happened(&cluster, folder.path(), &lines).await;
    assert!(bridge.end().status.success());
    // What was delivered twice because its acknowledgement was lost may have gone back; nothing else is there.
    assert!(rabbit.taken("work").await.iter().all(|(body, _)| lines.contains(body)));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_do_not_read_or_are_killed_or_are_missing_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let rabbit = Rabbit::start().await;
    let deaf = rabbit::script(folder.path(), "deaf", "exit 0");
    let shot = rabbit::script(folder.path(), "shot", "kill -SEGV $$");
    let class = |name: &str, command: &Path| format!("[class.{name}]\ncommand = ['{}']\n", command.display());
    let missing = folder.path().join("nothing-here");
    let settings = class("deaf", &deaf) + &class("shot", &shot) + &class("missing", &missing);
    let cluster = Cluster::start(Plan::of(1).settings(&settings)).await;
    let (_connection, channel) = rabbit.channel().await;
    for (name, reason, words) in
        [("deaf", None, ""), ("shot", Some("signal"), "signal"), ("missing", Some("exit"), "nothing-here")]
    {
        let bridge = bridge(&cluster, &rabbit, name, &["--class", name, "--dead", "dead"]);
        bridge.says("takes messages from work").await;
        if name == "shot" {
            // Gone while the bridge works: its message is not gone with it.
            let gone = channel.queue_delete("dead".into(), QueueDeleteOptions::default()).await;
            gone.expect("a queue is deleted");
        }
        rabbit::publish(&channel, "work", &vec![b'x'; 600 << 10], BasicProperties::default()).await;
        if name == "shot" {
            let again = async || (bridge.said().matches("takes messages").count() == 2).then_some(());
            until("the bridge declares its dead letters anew", PATIENCE, again).await;
        }
        match reason {
            None => ended(&cluster, name).await,
            Some(reason) => {
                until("a dead letter", PATIENCE, async || (rabbit.waiting("dead").await == 1).then_some(()))
                    .await;
                let (body, headers) = rabbit.taken("dead").await.remove(0);
                assert_eq!((body.len(), text(&headers, "x-understudy-reason").as_str()), (600 << 10, reason));
                let error = text(&headers, "x-understudy-error");
                assert!(error.contains(words), "{name}: {error}");
            }
        }
        assert!(bridge.end().status.success());
        assert_eq!(rabbit.waiting("work").await, 0, "{name}");
    }
}

/// Waits until the one job of this class has succeeded.
async fn ended(cluster: &Cluster, class: &str) {
    until("the job succeeds", PATIENCE, async || {
        let (_, jobs) = cluster.get(1, &format!("/api/v1/jobs?class={class}")).await?;
        (jobs["items"][0]["state"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_reply_gets_the_output_and_two_bridges_share_a_queue() {
    let rabbit = Rabbit::start().await;
    let cluster = Cluster::start(Plan::of(1)).await;
    let words = ["--class", "hash", "--reply", "--prefetch", "2"];
    let bridges = ["one", "two"].map(|name| bridge(&cluster, &rabbit, name, &words));
    for bridge in &bridges {
        bridge.says("takes messages from work").await;
    }
    let (_connection, channel) = rabbit.channel().await;
    let declared =
        channel.queue_declare("mine".into(), QueueDeclareOptions::default(), FieldTable::default()).await;
    declared.expect("a queue");
    for n in 0..20 {
        let properties = BasicProperties::default()
            .with_reply_to("mine".into())
            .with_correlation_id(format!("c{n}").into());
        rabbit::publish(&channel, "work", b"abc", properties).await;
    }
    let mut replies = BTreeSet::new();
    until("20 replies", PATIENCE, async || {
        while let Some(reply) =
            channel.basic_get("mine".into(), BasicGetOptions { no_ack: true }).await.expect("a get")
        {
            assert!(reply.data.starts_with(b"ba7816bf8f01cfea"), "SHA-256 of abc");
            replies.insert(reply.properties.correlation_id().as_ref().expect("a correlation id").to_string());
        }
        (replies.len() == 20).then_some(())
    })
    .await;
    for bridge in bridges {
        assert!(bridge.end().status.success());
    }
}
