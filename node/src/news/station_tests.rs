//! Listeners behind nodes, and behind each other.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use super::super::board::Voice;
use super::super::kinds::{Kind, share_all};
use super::super::said::Speaker;
use super::*;

/// Only a fault reaches this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node as far as its news go.
struct Node {
    board: Board,
    queue: Arc<Queue>,
    out: Out,
}

impl Node {
    fn address(&self) -> String {
        self.out.publisher.address()
    }
}

/// Where the gates are served.
fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn node(handle: &Handle, name: &str) -> Node {
    let board = Board::default();
    let (queue, out) = open_out(handle, "tcp://127.0.0.1:0", &board).unwrap();
    let speaker = Speaker { node: name.into(), id: name.into(), boot: 1 };
    board.open(Voice::new(speaker, share_all(), Arc::clone(&queue)));
    Node { board, queue, out }
}

fn station(handle: &Handle, urls: &[&str]) -> Station {
    let settings = StationSettings {
        urls: urls.iter().map(|url| (*url).to_string()).collect(),
        listen: String::new(),
        publish: Some("tcp://127.0.0.1:0".into()),
        allowed_hosts: Vec::new(),
    };
    Station::open(handle, &settings).unwrap()
}

fn page(board: &Board) -> Value {
    serde_json::from_str(&board.page()).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_listener_behind_a_listener_sees_what_the_first_sees() {
    let runtime = threads();
    let (a, b) = (node(runtime.handle(), "a"), node(runtime.handle(), "b"));
    let first = station(runtime.handle(), &[&a.address(), &b.address()]);
    a.board.tell(Kind::State, &json!({"role": "leader"}));
    a.board.say("k", "early", &serde_json::value::to_raw_value(&1).unwrap(), None).unwrap();
    b.board.tell(Kind::State, &json!({"role": "worker"}));
    until("the first has heard both", || {
        page(&first.board)["a"]["msg/k/early"] == 1 && page(&first.board)["b"]["state"]["role"] == "worker"
    });
    let second = station(runtime.handle(), &[&first.address().unwrap()]);
    until("the second has what was said before it came", || page(&second.board) == page(&first.board));
    b.board.tell(Kind::State, &json!({"role": "leader"}));
    until("it hears of a change", || page(&second.board)["b"]["state"]["role"] == "leader");
    assert_eq!(page(&second.board), page(&first.board));
}

#[test]
fn in_a_circle_of_listeners_everything_goes_round_once() {
    let runtime = threads();
    let a = node(runtime.handle(), "a");
    let first = station(runtime.handle(), &[]);
    let second = station(runtime.handle(), &[&first.address().unwrap()]);
    let second_address = second.address().unwrap();
    let around = [a.address(), second_address.clone()];
    first.listener.orders().listen_to(around.into());
    let context = zmq::Context::new();
    let heard = context.socket(zmq::SUB).unwrap();
    heard.set_rcvtimeo(30_000).unwrap();
    heard.connect(&second_address).unwrap();
    heard.set_subscribe(b"").unwrap();
    let mut jobs = Vec::new();
    let mut number = 0;
    // What is told before everybody listens may be lost: the first that comes through begins the count.
    until("a job comes round", || {
        a.queue.put("job/c".into(), format!("{{\"n\":{number}}}").into()).unwrap();
        number += 1;
        heard.poll(zmq::PollEvents::POLLIN, 50).unwrap() > 0
    });
    for n in number..number + 20 {
        a.queue.put("job/c".into(), format!("{{\"n\":{n}}}").into()).unwrap();
    }
    a.queue.put("leader".into(), "{\"end\":true}".into()).unwrap();
    loop {
        let frames = heard.recv_multipart(0).unwrap();
        if frames[0] == b"leader" {
            break;
        }
        jobs.push(String::from_utf8(frames[1].clone()).unwrap());
    }
    let tail: Vec<String> = (number..number + 20).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert!(jobs.ends_with(&tail), "{jobs:?}");
    let mut once = jobs.clone();
    once.dedup();
    assert_eq!(once, jobs, "nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_view_is_served_with_ages_and_unknown_things_are_404() {
    let a = node(&Handle::current(), "a");
    let station = station(&Handle::current(), &[&a.address()]);
    a.board.tell(Kind::Common, &json!({"name": "a"}));
    until("it has heard the node", || station.board.one("a", "common").is_some());
    let app = station.router(Vec::new());
    let ask = async |path: &str| {
        let answer = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap();
        (parts.status, parts.headers, body)
    };
    let (status, _, all) = ask("/api/v1/views").await;
    assert_eq!((status, &all["a"]["common"]["name"]), (StatusCode::OK, &json!("a")));
    let (status, headers, one) = ask("/api/v1/views/a/common").await;
    assert_eq!((status, &one), (StatusCode::OK, &all["a"]["common"]));
    assert!(headers["x-understudy-age"].to_str().unwrap().parse::<u64>().unwrap() < 30);
    for path in
        ["/api/v1/views/a/static", "/api/v1/views/b/common", "/api/v1/views/a/msg/k/n", "/api/v1/jobs"]
    {
        let (status, _, body) = ask(path).await;
        assert_eq!((status, &body["type"]), (StatusCode::NOT_FOUND, &json!("/problems/not-found")), "{path}");
    }
}

#[test]
fn its_private_folder_goes_with_it() {
    let runtime = threads();
    let station = station(runtime.handle(), &[]);
    let folder = station.out.as_ref().unwrap().folder.path().to_path_buf();
    assert!(folder.join("news").exists());
    drop(station);
    assert!(!folder.exists());
}

#[test]
fn things_passed_on_are_remembered_up_to_a_bound() {
    let mut passed = PassedOn::default();
    assert!(passed.is_new("job/a", "1") && !passed.is_new("job/a", "1") && passed.is_new("job/a", "2"));
    for k in 0..PASSED_ON {
        passed.is_new("job/b", &k.to_string());
    }
    assert!(passed.known.len() <= PASSED_ON && passed.order.len() <= PASSED_ON);
    assert!(passed.is_new("job/a", "1"), "long ago");
}
