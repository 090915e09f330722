//! What a job prints, seen while it prints it, from any node.

use std::fs;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::{id, job};
use tests::{Cluster, Plan, eventually, understudy};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// An open stream and what came of it.
struct Stream {
    answer: reqwest::Response,
    read: String,
}

impl Stream {
    async fn open(cluster: &Cluster, k: usize, id: &str, query: &str) -> Self {
        let path = format!("/api/v1/jobs/{id}/output?follow=1{query}");
        let request = cluster.request(Method::GET, k, &path).timeout(4 * PATIENCE);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        Self { answer, read: String::new() }
    }

    /// Reads until all that came is this.
    async fn until(&mut self, expected: &str) {
        while self.read != expected {
            assert!(expected.starts_with(&self.read), "{:?} is not how {expected:?} begins", self.read);
            let piece = timeout(PATIENCE, self.answer.chunk()).await;
            let piece = piece.unwrap_or_else(|_| panic!("only {:?} came of {expected:?}", self.read));
            let piece =
                piece.expect("a whole stream").unwrap_or_else(|| panic!("it ended with {:?}", self.read));
            self.read.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    async fn ends(mut self) {
        let end = timeout(PATIENCE, self.answer.chunk()).await.expect("it ends").expect("in order");
        assert_eq!(end, None, "nothing more after {:?}", self.read);
    }
}

/// Prints, waits for a word in `folder`, and prints again.
fn script(folder: &std::path::Path) -> Value {
    let folder = folder.display();
    job(
        "sh",
        &format!(
            "echo \"first of $UNDERSTUDY_ATTEMPT\"; echo warning >&2; printf half; \
             while [ ! -e {folder}/go ]; do sleep 0.05; done; echo ' done'"
        ),
    )
}

#[tokio::test]
async fn a_line_is_seen_from_every_node_before_the_job_ends_and_the_rest_after() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(1);
    let submitted = client.submit(&script(cluster.folder())).await;
    let id = id(&submitted);
    let mut streams = Vec::new();
    for k in cluster.all() {
        let mut stream = Stream::open(&cluster, k, id, "").await;
        stream.until("first of 1\nhalf").await;
        streams.push(stream);
        let mut stream = Stream::open(&cluster, k, id, "&stream=stderr&attempt=1").await;
        stream.until("warning\n").await;
        streams.push(stream);
    }
    assert_eq!(client.look(id).await["state"], "running");
    fs::write(cluster.folder().join("go"), "").expect("a word");
    for (place, mut stream) in streams.into_iter().enumerate() {
        if place % 2 == 0 {
            stream.until("first of 1\nhalf done\n").await;
        }
        stream.ends().await;
    }
    // An ended job is followed to its end at once, on the command line too.
    assert_eq!(client.ended(id).await["result"]["output"], "first of 1\nhalf done\n");
    let mut stream = Stream::open(&cluster, 2, id, "").await;
    stream.until("first of 1\nhalf done\n").await;
    stream.ends().await;
    let said = understudy()
        .args(["output", "-f", id, "--server", &cluster.node(2).url()])
        .output()
        .expect("it runs");
    assert_eq!((said.status.success(), &said.stdout[..]), (true, &b"first of 1\nhalf done\n"[..]));
}

#[tokio::test]
async fn a_stream_is_opened_before_the_job_begins_and_follows_it_to_the_node_that_takes_over() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let door = cluster.leader().await;
    let client = cluster.client(door);
    for k in cluster.all() {
        cluster
            .post(door, &format!("/api/v1/nodes/{}/drain", cluster.node(k).name), &json!({}))
            .await
            .expect("an answer");
    }
    let submitted = client.submit(&script(cluster.folder())).await;
    let id = id(&submitted).to_string();
    let mut stream = Stream::open(&cluster, door, &id, "").await;
    let mut first = Stream::open(&cluster, door, &id, "&attempt=1").await;
    // The leader last: it runs nothing that others can.
    for k in cluster.all().filter(|k| *k != door).chain([door]) {
        cluster
            .post(door, &format!("/api/v1/nodes/{}/undrain", cluster.node(k).name), &json!({}))
            .await
            .expect("an answer");
    }
    stream.until("first of 1\nhalf").await;
    first.until("first of 1\nhalf").await;
    let (at, _) = cluster.runner(&client, &id, 1).await;
    assert_ne!(at, door, "a leader runs nothing that others can");
    cluster.kill(at);
    // What the attempt before it printed is told apart by a line.
    let (other, _) = cluster.runner(&client, &id, 2).await;
    let name = cluster.node(other).name.clone();
    let both = format!("first of 1\nhalf\n::attempt 2 on {name}; attempt 1 is lost\nfirst of 2\nhalf");
    stream.until(&both).await;
    first.ends().await;
    fs::write(cluster.folder().join("go"), "").expect("a word");
    stream.until(&format!("{both} done\n")).await;
    stream.ends().await;
    assert_eq!(client.ended(&id).await["result"]["output"], "first of 2\nhalf done\n");
}

#[tokio::test]
async fn a_reader_that_reads_nothing_holds_nothing_up() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let client = cluster.client(1);
    let script = "head -c 67108864 /dev/zero | tr '\\0' x; echo; echo last";
    let submitted = client.submit(&job("sh", script)).await;
    let idle = Stream::open(&cluster, 1, id(&submitted), "").await;
    let ended = client.ended(id(&submitted)).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["output_bytes"]),
        (&json!("succeeded"), &json!(67_108_870))
    );
    // What it gets when it reads at last is the end, whatever it missed.
    let mut bytes = Vec::new();
    let mut answer = idle.answer;
    while let Some(piece) = timeout(PATIENCE, answer.chunk()).await.expect("it goes on").expect("in order") {
        bytes.extend_from_slice(&piece);
    }
    assert!(bytes.ends_with(b"xx\nlast\n"), "{} bytes", bytes.len());
    eventually("the job is known to have ended everywhere", async || {
        let (_, job) = cluster.get(2, &format!("/api/v1/jobs/{}?stale=1", id(&submitted))).await?;
        (job["state"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_a_job_that_is_known_can_be_followed() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let (status, body) =
        cluster.get(1, "/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/output?follow=1").await.expect("an answer");
    assert_eq!((status.as_u16(), &body["type"]), (404, &json!("/problems/not-found")));
    let ended = cluster.client(1).run(&job("echo", "hello")).await;
    let mut stream = Stream::open(&cluster, 1, id(&ended), "").await;
    stream.until("hello").await;
    stream.ends().await;
}
