//! Wrong input is refused with words that help, and hurts nobody.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::client::{answer, fresh_key, id, job, problem};
use tests::{Cluster, Ended, Plan, eventually};

/// A request that must be refused: its status, its problem, and a word its detail or fields must hold.
struct Refused<'a> {
    what: &'a str,
    request: reqwest::RequestBuilder,
    status: u16,
    problem: &'a str,
    names: &'a str,
}

fn post(
    cluster: &Cluster,
    path: &str,
    content: &str,
    body: impl Into<reqwest::Body>,
) -> reqwest::RequestBuilder {
    cluster.request(Method::POST, 1, path).header("Content-Type", content.to_string()).body(body)
}

fn bad_bodies(cluster: &Cluster) -> Vec<Refused<'static>> {
    let json = |body: String| post(cluster, "/api/v1/jobs", "application/json", body);
    let large = "x".repeat((1 << 20) + 1);
    let refused = |what, request, status, problem, names| Refused { what, request, status, problem, names };
    vec![
        refused("cut JSON", json(r#"{"class":"echo""#.into()), 400, "malformed", ""),
        refused("no object", json("[1]".into()), 422, "invalid", "object"),
        refused("deep JSON", json("[".repeat(100_000)), 400, "malformed", ""),
        refused("no class", json(r#"{"payload":"x"}"#.into()), 422, "invalid", "class"),
        refused(
            "unknown field",
            json(r#"{"class":"echo","prioritty":1}"#.into()),
            422,
            "invalid",
            "prioritty",
        ),
        refused("wrong type", json(r#"{"class":"echo","timeout":"soon"}"#.into()), 422, "invalid", "timeout"),
        refused(
            "large payload",
            json(format!(r#"{{"class":"echo","payload":"{large}"}}"#)),
            413,
            "too-large",
            "1048576",
        ),
        refused(
            "large body",
            json(format!(r#"{{"class":"echo","x":"{large}{large}"}}"#)),
            413,
            "too-large",
            "2097152",
        ),
        refused(
            "large raw body",
            post(cluster, "/api/v1/jobs?class=echo", "text/plain", large),
            413,
            "too-large",
            "1048576",
        ),
        refused("raw, no class", post(cluster, "/api/v1/jobs", "text/plain", "x"), 422, "invalid", "class"),
    ]
}

fn bad_words(cluster: &Cluster) -> Vec<Refused<'static>> {
    let keyed = |key: &str| {
        post(cluster, "/api/v1/jobs", "application/json", r#"{"class":"echo"}"#)
            .header("Idempotency-Key", key)
    };
    let get = |path: &str| cluster.request(Method::GET, 1, path);
    let refused = |what, request, status, problem, names| Refused { what, request, status, problem, names };
    vec![
        refused("empty key", keyed(""), 422, "invalid", "Idempotency-Key"),
        refused("long key", keyed(&"k".repeat(256)), 422, "invalid", "255"),
        refused("no id", get("/api/v1/jobs/..%2F..%2Fetc%2Fpasswd"), 400, "malformed", "passwd"),
        refused("unknown id", get("/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404, "not-found", ""),
        refused("unknown state", get("/api/v1/jobs?state=done"), 422, "invalid", "state"),
        refused("bad wait", get("/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV?wait=soon"), 422, "invalid", "wait"),
        refused("unknown path", get("/api/v1/nothing"), 404, "not-found", ""),
        refused(
            "foreign host",
            get("/api/v1/status").header("Host", "evil.example"),
            421,
            "wrong-host",
            "evil.example",
        ),
        refused(
            "foreign host, log",
            get("/logging").header("Host", "evil.example"),
            421,
            "wrong-host",
            "evil.example",
        ),
        refused(
            "foreign origin",
            post(cluster, "/api/v1/jobs?class=echo", "text/plain", "x")
                .header("Origin", "http://evil.example"),
            403,
            "cross-site",
            "",
        ),
    ]
}

#[tokio::test]
async fn a_bad_request_is_refused_with_the_field_or_limit_named_and_makes_no_job() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let mut faults = Vec::new();
    for refused in bad_bodies(&cluster).into_iter().chain(bad_words(&cluster)) {
        let what = refused.what;
        match answer(refused.request).await {
            Err(error) => faults.push(format!("{what}: no answer: {error}")),
            Ok((status, body)) => {
                let told = (status.as_u16(), problem(&body));
                if told != (refused.status, refused.problem) || !body.to_string().contains(refused.names) {
                    faults.push(format!("{what}: {told:?}, not naming {:?}: {body}", refused.names));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    let (_, list) = cluster.get(1, "/api/v1/jobs").await.expect("a list");
    assert_eq!(list["items"], json!([]), "nothing that was refused became a job");
    assert!(cluster.node_mut(1).runs());
    let log = fs::read_to_string(&cluster.node(1).log).unwrap_or_default();
    assert!(!log.contains("panicked"), "{log}");
}

/// It ended by itself with an error that holds all these words and is no panic.
fn assert_refused(told: &Ended, words: &[&str]) {
    assert!(!told.status.success(), "{told:?}");
    assert_ne!(told.status.code(), Some(101), "a panic: {told:?}");
    let said = format!("{}{}", told.err, told.out);
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not name {word}: {said}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let cluster = Cluster::laid_out(Plan::of(1));
    let address = cluster.node(1).address.clone();
    let _taken = TcpListener::bind(&address).expect("the port is free");
    assert_refused(&cluster.node(1).start_and_end(), &[&address]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let second = cluster.add();
    cluster.node_mut(second).data = cluster.node(1).data.clone();
    let told = cluster.node(second).start_and_end();
    assert_refused(&told, &[&cluster.node(1).data.display().to_string()]);
    assert!(cluster.status(1).await.is_some(), "its owner is not disturbed");
}

#[tokio::test]
async fn the_folder_of_another_cluster_is_refused() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let mut other = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let kept = client.run(&job("echo", "mine")).await;
    other.kill(1);
    let join = format!("--join={}", cluster.node(1).address);
    other.node_mut(1).words.push(join);
    assert_refused(&other.node(1).start_and_end(), &["cluster", &other.node(1).data.display().to_string()]);
    assert_eq!(client.look(id(&kept)).await["state"], "succeeded", "and the cluster keeps what it has");
}

#[tokio::test]
async fn a_live_bearer_keeps_its_name() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let newcomer = cluster.add();
    let node = cluster.node_mut(newcomer);
    for word in &mut node.words {
        if word.starts_with("--name=") {
            *word = "--name=worker1".to_string();
        }
    }
    assert_refused(&cluster.node(newcomer).start_and_end(), &["worker1"]);
    cluster.whole().await;
    let status = cluster.status(1).await.expect("it serves");
    let bearers = status["nodes"].as_array().expect("nodes").iter().filter(|n| n["name"] == "worker1");
    assert_eq!(bearers.count(), 1);
}

/// The files of a log, largest number last.
fn segments(data: &std::path::Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = tests::source::files(data, &[".seg"]);
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_record_in_the_middle_is_refused_with_file_and_offset() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let damaged = cluster.all().find(|k| *k != leader).expect("three nodes");
    let client = cluster.client(leader);
    let mut kept = Vec::new();
    for n in 0..20 {
        kept.push(client.run(&job("echo", &format!("kept {n}"))).await);
    }
    cluster.kill(damaged);
    let file = segments(&cluster.node(damaged).data).pop().expect("a log");
    let mut bytes = fs::read(&file).expect("it can be read");
    let end = bytes.iter().rposition(|b| *b != 0).expect("it holds records");
    // Between two records lie up to seven zeros that mean nothing; any other byte belongs to a record.
    let middle = (end / 2..end).find(|at| bytes[*at] != 0).expect("a record follows the middle");
    bytes[middle] ^= 0x40;
    fs::write(&file, &bytes).expect("it can be written");
    let told = cluster.node(damaged).start_and_end();
    let data = cluster.node(damaged).data.display().to_string();
    let advice = format!("understudy repair --data {data} --yes");
    assert_refused(&told, &[&file.display().to_string(), "at byte", &advice]);
    assert!(fs::read(&file).expect("still there") == bytes, "it is left as it was found");
    for job in kept {
        assert_eq!(client.look(id(&job)).await["result"], job["result"], "the others keep everything");
    }
    assert_eq!(client.run(&self::job("echo", "and go on")).await["state"], "succeeded");
}

/// `understudy repair` on the folder of node `k`.
fn repair(cluster: &Cluster, k: usize, words: &[&str]) -> tests::Ended {
    let mut command = tests::understudy();
    command.arg("repair").arg("--data").arg(&cluster.node(k).data).args(words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    tests::process::ended(child, Duration::from_secs(30), "repair")
}

#[tokio::test]
async fn a_node_with_a_damaged_log_is_repaired_and_joins_again_as_a_new_one() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    // Not the founder, which knows nobody to join.
    let damaged = cluster.all().find(|k| *k != leader && *k != 1).expect("three nodes");
    let client = cluster.client(leader);
    let known = client.run(&job("echo", "known before")).await;
    assert_eq!(repair(&cluster, damaged, &["--yes"]).status.code(), Some(1), "its node runs");
    cluster.kill(damaged);
    let file = segments(&cluster.node(damaged).data).pop().expect("a log");
    fs::File::options().write(true).open(&file).and_then(|file| file.set_len(4_096)).expect("it is cut");
    assert!(!cluster.node(damaged).start_and_end().status.success(), "the file was shortened");

    let asked = repair(&cluster, damaged, &[]);
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    assert!(asked.err.contains("identity") && asked.err.contains("set-aside-1"), "{asked:?}");
    assert!(file.exists(), "without --yes nothing is moved");
    let done = repair(&cluster, damaged, &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(!file.exists());
    let aside = cluster.node(damaged).data.join("set-aside-1");
    assert!(segments(&aside).len() == 1 && aside.join("identity").exists(), "nothing is removed");

    let name = rename(&mut cluster, damaged);
    cluster.restart(damaged);
    let seen = eventually("the new node knows the job", async || {
        let (status, job) = cluster.get(damaged, &format!("/api/v1/jobs/{}", id(&known))).await?;
        status.is_success().then_some(job)
    })
    .await;
    assert_eq!(seen["result"], known["result"]);
    eventually("the new node runs a job", async || {
        let ended = client.run(&job("echo", "for anybody")).await;
        (ended["attempts"][0]["node"] == name).then_some(())
    })
    .await;
}

/// The node's old name is borne by a voter that is gone; it gets another one.
fn rename(cluster: &mut Cluster, k: usize) -> String {
    let node = cluster.node_mut(k);
    for word in &mut node.words {
        if word.starts_with("--name=") {
            *word = "--name=mended".to_string();
        }
    }
    node.name = "mended".to_string();
    node.name.clone()
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_the_node_goes_on() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let ended = cluster.client(1).run(&job("echo", "before the cut")).await;
    cluster.kill(1);
    // A write that was under way when the power went: garbage after the last whole record.
    let file = segments(&cluster.node(1).data).pop().expect("a log");
    let mut bytes = fs::read(&file).expect("it can be read");
    let end = bytes.iter().rposition(|b| *b != 0).expect("it holds records") + 1;
    let room = bytes.len() - end;
    assert!(room > 64, "the segment has room");
    bytes[end + 8..end + 40].fill(0xA5);
    fs::write(&file, &bytes).expect("it can be written");
    cluster.restart(1);
    cluster.whole().await;
    assert_eq!(cluster.client(1).look(id(&ended)).await["result"], ended["result"]);
}

#[tokio::test]
async fn an_unknown_setting_is_named_with_the_nearest_known_one() {
    let cluster = Cluster::laid_out(Plan::of(1));
    let settings = cluster.folder().join("bad.toml");
    fs::write(&settings, "[worker]\nslotz = 3\n").expect("a file");
    let mut node =
        tests::Node::new("x", &cluster.node(1).address, cluster.folder(), cluster.node(1).words.clone());
    node.words.push(format!("--config={}", settings.display()));
    assert_refused(&node.start_and_end(), &["slotz", "slots", "bad.toml"]);
}

#[tokio::test]
async fn a_write_without_a_majority_says_that_it_was_not_taken_or_that_nobody_knows() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = cluster.all().filter(|k| *k != leader).collect();
    let known = cluster.client(leader).run(&job("echo", "known")).await;
    for k in &others {
        cluster.kill(*k);
    }
    let key = fresh_key();
    let asked = cluster.request(Method::POST, leader, "/api/v1/jobs").header("Idempotency-Key", &key);
    let (status, body) = answer(asked.json(&job("echo", "alone"))).await.expect("an answer");
    assert_eq!(status, 503, "{body}");
    match problem(&body) {
        "outcome-unknown" => assert!(body["id"].is_string(), "{body}"),
        "no-quorum" | "starting" => assert_eq!(body["accepted"], false, "{body}"),
        other => panic!("{other}: {body}"),
    }
    let read = cluster.request(Method::GET, leader, &format!("/api/v1/jobs/{}", id(&known)));
    let read = read.send().await.expect("an answer");
    assert_eq!(read.status(), 200, "a known job is shown");
    assert!(read.headers().contains_key("X-Understudy-Age"), "with its age");
    for k in others {
        cluster.restart(k);
    }
    cluster.whole().await;
    let repeated: Value = eventually("the repeat is taken", async || {
        let asked = cluster.request(Method::POST, leader, "/api/v1/jobs").header("Idempotency-Key", &key);
        answer(asked.json(&job("echo", "alone"))).await.ok().filter(|(s, _)| s.is_success()).map(|(_, b)| b)
    })
    .await;
    assert_eq!(cluster.client(leader).ended(id(&repeated)).await["state"], "succeeded");
    let (_, list) = cluster.get(leader, "/api/v1/jobs").await.expect("a list");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "one job, however often it was asked for");
}
