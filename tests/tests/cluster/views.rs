//! What nodes tell of themselves and of jobs, and the views that others have of it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::client::{answer, http, id, job};
use tests::ports::Ports;
use tests::process::ended;
use tests::{Cluster, Plan, eventually, understudy};
use zmq::{Context, SUB, Socket};

const KINDS: [&str; 4] = ["common", "static", "dynamic", "state"];
/// What must be seen within two seconds on a calm machine.
const SOON: Duration = Duration::from_secs(20);
/// Only a fault makes a subscriber wait so long.
const PATIENCE_MS: i32 = 60_000;

/// An `understudy listen`, killed when dropped.
struct Listener {
    child: Child,
    url: String,
}

impl Listener {
    /// Listens to `urls`; serves HTTP on the block's port `k` and tells again on the one for news of `k`.
    fn start(ports: &Ports, k: usize, urls: &[String], folder: &Path) -> Self {
        let listen = format!("127.0.0.1:{}", ports.http(k));
        let log = std::fs::File::create(folder.join(format!("listen{k}.log"))).expect("a log file");
        let child = understudy()
            .arg("listen")
            .args(urls)
            .args([
                "--leash",
                "--listen",
                &listen,
                "--publish",
                &format!("tcp://127.0.0.1:{}", ports.zeromq(k, "pub")),
            ])
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn();
        Self { child: child.expect("the program starts"), url: format!("http://{listen}") }
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let (status, body) = answer(http().get(format!("{}{path}", self.url))).await.ok()?;
        Some((status.as_u16(), body))
    }

    async fn views(&self) -> Option<Value> {
        self.get("/api/v1/views").await.map(|(_, views)| views)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subscriber as any program with ZeroMQ has it.
struct Subscriber {
    socket: Socket,
    _context: Context,
}

impl Subscriber {
    /// Subscribes to the prefixes, in this order.
    fn new(url: &str, prefixes: &[&str]) -> Self {
        let context = Context::new();
        let socket = context.socket(SUB).expect("a socket");
        socket.set_rcvtimeo(PATIENCE_MS).expect("a patience");
        for prefix in prefixes {
            socket.set_subscribe(prefix.as_bytes()).expect("a subscription");
        }
        socket.connect(url).expect("an address");
        Self { socket, _context: context }
    }

    /// The next message; none when it does not come within `patience_ms`.
    fn within(&self, patience_ms: i64) -> Option<(String, Value)> {
        let waits = self.socket.poll(zmq::PollEvents::POLLIN, patience_ms).expect("a socket to ask") > 0;
        waits.then(|| self.next())
    }

    fn next(&self) -> (String, Value) {
        let frames = self.socket.recv_multipart(0).expect("a message in time");
        assert_eq!(frames.len(), 2, "topic and JSON");
        let topic = String::from_utf8(frames[0].clone()).expect("a topic is text");
        (topic, serde_json::from_slice(&frames[1]).expect("JSON"))
    }

    /// The next message whose topic begins so and whose body `fits`; others are passed over.
    fn until(&self, prefix: &str, fits: impl Fn(&Value) -> bool) -> (String, Value) {
        let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS as u64);
        loop {
            let (topic, body) = self.next();
            if topic.starts_with(prefix) && fits(&body) {
                return (topic, body);
            }
            assert!(Instant::now() < deadline, "waited in vain for {prefix}");
        }
    }
}

fn anything(_: &Value) -> bool {
    true
}

fn has_all(views: &Value, nodes: &[String]) -> bool {
    nodes.iter().all(|node| KINDS.iter().all(|kind| views[node][*kind]["node"] == node.as_str()))
}

async fn say(cluster: &Cluster, k: usize, kind: &str, name: &str, value: Value) -> Value {
    let body = json!({"kind": kind, "name": name, "value": value});
    let (status, receipt) = cluster.post(k, "/api/v1/messages", &body).await.expect("an answer");
    assert_eq!(status, 200, "{receipt}");
    receipt
}

async fn views(cluster: &Cluster, k: usize) -> Option<Value> {
    let (status, views) = cluster.get(k, "/api/v1/views").await?;
    status.is_success().then_some(views)
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.all().map(|k| cluster.node(k).name.clone()).collect()
}

/// Waits until both listeners show what `fits`, and the same as each other in all but load, which changes every second.
async fn both(listeners: [&Listener; 2], what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let (a, b) = (listeners[0].views().await?, listeners[1].views().await?);
        (fits(&a) && fits(&b) && without_load(&a) == without_load(&b)).then_some(a)
    })
    .await
}

fn without_load(views: &Value) -> Value {
    let mut views = views.clone();
    for node in views.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        node.as_object_mut().expect("kinds").remove("dynamic");
    }
    views
}

#[tokio::test]
async fn two_listeners_show_the_same_four_kinds_of_every_node_within_2_seconds_of_a_change() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let (ports, names) = (Ports::take(), names(&cluster));
    let urls: Vec<String> = cluster.all().map(|k| cluster.news(k)).collect();
    let first = Listener::start(&ports, 1, &urls, cluster.folder());
    // The second hears nothing but what the first tells again.
    let second = Listener::start(
        &ports,
        2,
        &[format!("tcp://127.0.0.1:{}", ports.zeromq(1, "pub"))],
        cluster.folder(),
    );
    let listeners = [&first, &second];
    both(listeners, "both show all four kinds of all nodes", |views| has_all(views, &names)).await;
    for k in cluster.all() {
        eventually("every node has the same view", async || {
            has_all(&views(&cluster, k).await?, &names).then_some(())
        })
        .await;
    }

    let said = Instant::now();
    say(&cluster, 2, "weather", "hall", json!(21.5)).await;
    both(listeners, "both show what was said", |views| views["worker1"]["msg/weather/hall"] == 21.5).await;
    println!("a message was in both views after {:?}", said.elapsed());
    assert!(said.elapsed() < SOON, "{:?}", said.elapsed());

    let master = cluster.leader().await;
    let stopped = cluster.node(master).name.clone();
    cluster.stop(master).await;
    let leader = cluster.leader().await;
    let (led, leader) = (Instant::now(), cluster.node(leader).name.clone());
    assert_ne!(leader, stopped);
    let seen = both(listeners, "both show the new leader and who is stopped", |views| {
        views[&leader]["state"]["role"] == "leader"
            && views[&stopped]["state"]["stopped"] == true
            && names.iter().all(|node| *node == stopped || views[node]["state"]["leader"] == leader.as_str())
    })
    .await;
    println!("a new leader was in both views after {:?}", led.elapsed());
    assert!(led.elapsed() < SOON, "{:?}", led.elapsed());
    assert!(has_all(&seen, &names), "the silent one keeps its last values: {seen}");
}

#[tokio::test]
async fn a_withheld_kind_is_nowhere() {
    let plan = Plan::of(3).environment_of(2, "UNDERSTUDY_SHARE", "common,state");
    let cluster = Cluster::start(plan).await;
    let ports = Ports::take();
    let urls: Vec<String> = cluster.all().map(|k| cluster.news(k)).collect();
    let listener = Listener::start(&ports, 1, &urls, cluster.folder());
    let wire = Subscriber::new(&cluster.news(2), &[""]);
    let other = Subscriber::new(&cluster.news(1), &["info/dynamic/"]);
    // Three times the period of what is told most often.
    for _ in 0..4 {
        other.until("info/dynamic/master", anything);
    }
    let again = Subscriber::new(&cluster.news(2), &["info/"]);
    again.until("info/state/worker1", anything);
    again.until("info/common/worker1", anything);
    let is_ours = |topic: &str| topic.starts_with("info/") && topic.ends_with("/worker1");
    let mut heard = Vec::new();
    while let Some((topic, _)) = wire.within(2_000) {
        heard.push(topic.clone());
        if heard.len() >= 1_000 {
            break;
        }
    }
    assert!(heard.iter().any(|topic| is_ours(topic)), "{heard:?}");
    let allowed = |topic: &str| topic == "info/common/worker1" || topic == "info/state/worker1";
    assert!(heard.iter().all(|topic| !is_ours(topic) || allowed(topic)), "{heard:?}");
    let shown = |views: &Value| {
        let kinds = views["worker1"].as_object().map(|kinds| kinds.keys().cloned().collect::<Vec<_>>());
        kinds.filter(|kinds| kinds.len() >= 2)
    };
    for k in cluster.all() {
        let kinds =
            eventually("the shared kinds are in the view", async || shown(&views(&cluster, k).await?)).await;
        assert_eq!(kinds, ["common", "state"], "node {k}");
        for kind in ["static", "dynamic"] {
            let path = format!("/api/v1/views/worker1/{kind}");
            let (status, body) = cluster.get(k, &path).await.expect("an answer");
            assert_eq!(status, 404, "{body}");
        }
    }
    let kinds =
        eventually("the listener shows the shared kinds", async || shown(&listener.views().await?)).await;
    assert_eq!(kinds, ["common", "state"]);
    let (status, _) = listener.get("/api/v1/views/worker1/static").await.expect("an answer");
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_run_of_20_messages_is_heard_in_order_and_without_a_hole() {
    let cluster = Cluster::start(Plan::of(3)).await;
    // The last subscription is answered at once: by then the first one holds.
    let heard = Subscriber::new(&cluster.news(1), &["msg/run/", "info/common/"]);
    heard.until("info/common/", anything);
    let run: Vec<String> = (0..20).map(|n| format!("{n} {} {}", n + 1, 1000 * (n + 2))).collect();
    for line in &run {
        say(&cluster, 1, "run", "seed", json!(line)).await;
    }
    let mut numbers = Vec::new();
    for line in &run {
        let (topic, body) = heard.until("msg/", anything);
        assert_eq!(
            (topic.as_str(), &body["value"], &body["node"]),
            ("msg/run/seed", &json!(line), &json!("master"))
        );
        numbers.push(body["number"].as_u64().expect("a number"));
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    for k in cluster.all() {
        eventually("the last one is in every view", async || {
            (views(&cluster, k).await?["master"]["msg/run/seed"] == run[19].as_str()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_word_say_says_it_and_a_text_without_quotes_is_named() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let run = |value: &str| {
        let child = understudy()
            .args(["--server", &cluster.node(1).url(), "say", "agent", "disk", value])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        ended(child.expect("the program starts"), Duration::from_secs(60), "say")
    };
    let said = run(r#"{"free": -3}"#);
    assert!(said.status.success() && said.out.contains("master said msg/agent/disk as number 1"), "{said:?}");
    let (_, value) = cluster.get(1, "/api/v1/views/master/msg/agent/disk").await.expect("an answer");
    assert_eq!(value, json!({"free": -3}));
    let refused = run("0 1 2000");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.err.contains(r#"a text stands in quotes: '"0 1 2000"'"#), "{}", refused.err);
}

#[tokio::test]
async fn subscribing_brings_all_four_kinds_at_once() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let first = Subscriber::new(&cluster.news(1), &["info/"]);
    let (_, common) = first.until("info/common/master", anything);
    assert_eq!((&common["name"], &common["version"].is_string()), (&json!("master"), &true));
    let port = cluster.news(1).replace("tcp://", "");
    assert_eq!(common["addresses"]["pub"], port);
    // Common and static information is told every 30 seconds; four seconds are no chance of the clock.
    for round in 0..2 {
        let begun = Instant::now();
        let late = Subscriber::new(&cluster.news(1), &["info/"]);
        let mut missing: Vec<String> = KINDS.iter().map(|kind| format!("info/{kind}/master")).collect();
        while !missing.is_empty() {
            let (topic, body) = late.next();
            assert!(body["at"].is_string() && body["number"].is_u64(), "{body}");
            missing.retain(|wanted| *wanted != topic);
        }
        println!("all four kinds were there after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(4), "round {round}: {:?}", begun.elapsed());
    }
    let (_, fixed) = cluster.get(1, "/api/v1/views/master/static").await.expect("an answer");
    eventually("the status names the same classes", async || {
        (cluster.status(1).await?["nodes"][0]["classes"] == fixed["classes"]).then_some(())
    })
    .await;
    assert!(fixed["kernel"].as_str().is_some_and(|kernel| kernel.starts_with("Linux ")), "{fixed}");
    let (_, load) = cluster.get(1, "/api/v1/views/master/dynamic").await.expect("an answer");
    let fields = ["cpu_percent", "memory_used_bytes", "running", "queued"];
    assert!(fields.iter().all(|field| load[*field].is_u64()) && load["pressure"].is_object(), "{load}");
}

#[tokio::test]
async fn every_change_of_a_job_and_of_the_lead_is_told() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let listening = cluster.all().find(|k| *k != leader).expect("three nodes");
    let heard = Subscriber::new(&cluster.news(listening), &["job/echo", "leader", "info/common/"]);
    heard.until("info/common/", anything);
    let client = cluster.client(leader);
    let ended = client.run(&job("echo", "told")).await;
    // Another class is another topic.
    client.run(&job("sleep", "0")).await;
    let last = client.run(&job("echo", "last")).await;
    let mut states = Vec::new();
    loop {
        let (topic, told) = heard.until("job/", anything);
        assert_eq!((topic.as_str(), &told["class"]), ("job/echo", &json!("echo")));
        if told["id"] == last["id"] {
            break;
        }
        assert_eq!(told["id"], ended["id"]);
        states.push(told["state"].as_str().expect("a state").to_string());
        if told["state"] == "succeeded" {
            assert_eq!(told["rev"], ended["rev"]);
            assert_eq!(told["attempts"], ended["attempts"]);
        }
    }
    assert_eq!(states.last().map(String::as_str), Some("succeeded"), "{states:?}");
    assert!(states.iter().any(|state| state == "running"), "{states:?}");
    cluster.kill(leader);
    let (_, told) = heard.until("leader", anything);
    let next = cluster.leader().await;
    let status = cluster.status(next).await.expect("it serves");
    assert!(told["term"].as_u64() <= status["term"].as_u64(), "{told} {status}");
    assert_eq!(told["previous"], cluster.node(leader).name.as_str(), "{told}");
}

#[tokio::test]
async fn a_stopped_node_falls_silent_and_comes_back() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let stopped = cluster.all().find(|k| *k != leader).expect("three nodes");
    let name = cluster.node(stopped).name.clone();
    say(&cluster, stopped, "k", "n", json!(1)).await;
    let heard = Subscriber::new(&cluster.news(stopped), &[""]);
    heard.until("info/state/", anything);
    eventually("the leader heard the message", async || {
        (views(&cluster, leader).await?[&name]["msg/k/n"] == 1).then_some(())
    })
    .await;
    cluster.stop(stopped).await;
    let (_, last) = heard.until("info/state/", |state| state["stopped"] == true);
    // Load is told every second.
    assert_eq!(heard.within(3_000), None, "its last word was {last}");
    let port = cluster.news(stopped).replace("tcp://", "");
    assert!(std::net::TcpStream::connect(port).is_err(), "its port is closed");
    eventually("the others keep its last word, which ages", async || {
        let path = format!("/api/v1/views/{name}/state");
        let answer = cluster.request(reqwest::Method::GET, leader, &path).send().await.ok()?;
        let age = answer.headers().get("x-understudy-age")?.to_str().ok()?.parse::<u64>().ok()?;
        let state: Value = answer.json().await.ok()?;
        (age >= 2 && state == last).then_some(())
    })
    .await;
    cluster.resume(stopped).await;
    let (_, back) = heard.until("info/state/", |state| state["stopped"] == false);
    assert!(back["boot"].as_u64() > last["boot"].as_u64(), "{back} {last}");
    eventually("the others hear it again, and what it forgot is gone", async || {
        let views = views(&cluster, leader).await?;
        let node = &views[&name];
        (node["state"]["stopped"] == false
            && node["msg/k/n"].is_null()
            && has_all(&views, std::slice::from_ref(&name)))
        .then_some(())
    })
    .await;
    cluster.whole().await;
    let ended = cluster.client(stopped).run(&job("echo", "back")).await;
    assert_eq!(ended["state"], "succeeded", "{}", id(&ended));
}
