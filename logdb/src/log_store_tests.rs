//! The whole way of a line: container, ZeroMQ, SQLite, HTTP.

use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::{Log, Shipper};

const JOB: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self, pull: &str) -> LogStore {
        let settings = LogStoreSettings {
            name: "logdb".to_string(),
            listen_host: "127.0.0.1".to_string(),
            http_port: 0,
            pull: pull.to_string(),
            database: self.folder.path().join("logs.sqlite"),
            file: Some(self.file()),
            chaos: true,
            allowed_hosts: Vec::new(),
            token: None,
        };
        LogStore::open(&settings, None).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("lines/logs")
    }
}

async fn get_as(store: &LogStore, path: &str, accept: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("host", "localhost").header("accept", accept);
    let answer = store.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 16 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(store: &LogStore, path: &str) -> String {
    get_as(store, path, "*/*").await.1
}

async fn until_kept(store: &LogStore, most: usize, wanted: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = get(store, &format!("/logging?limit={most}")).await;
        if text.contains(wanted) {
            return text;
        }
        assert!(Instant::now() < deadline, "{wanted:?} never came; there is:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn container(name: &str, number: u32, endpoint: &str) -> (Log, Shipper, watch::Sender<bool>) {
    let log = Log::in_memory(name);
    log.set_number(number);
    let (stop, stopped) = watch::channel(false);
    let shipper = Shipper::start(&log, endpoint, stopped).unwrap();
    (log, shipper, stop)
}

fn stranger(endpoint: &str) -> (zmq::Context, zmq::Socket) {
    let context = zmq::Context::new();
    let push = context.socket(zmq::PUSH).unwrap();
    push.set_linger(5_000).unwrap();
    push.connect(endpoint).unwrap();
    (context, push)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_goes_from_a_container_to_the_page_the_file_and_over_a_restart() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let (log, shipper, _stop) = container("master", 1, &endpoint);
    log.record(Level::Info, "promoted", None, "Is <b>master</b> container");
    let text = until_kept(&store, 10, "master").await;
    assert_eq!(text, "<Log 1, Container 1: Is <b>master</b> container>\n");
    let (_, page) = get_as(&store, "/logging", "text/html").await;
    let escaped = "<li data-seq=\"1\" data-level=\"info\">&lt;Log 1, Container 1: Is &lt;b&gt;master";
    assert!(page.contains(escaped) && page.contains("/logging/live.js"), "{page}");
    let jsonl = get(&store, "/logging?format=jsonl").await;
    let lines: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["last"].as_u64(), lines[1]["n"].as_u64()), (Some(1), Some(1)));
    assert_eq!((lines[1]["container"].as_u64(), lines[1]["node"].as_str()), (Some(1), Some("master")));
    store.end().await;
    let store = place.open(&endpoint).await;
    log.record(Level::Info, "test", None, "after the restart");
    let text = until_kept(&store, 10, "restart").await;
    let all = "<Log 1, Container 1: Is <b>master</b> container>\n<Log 2, Container 1: after the restart>\n";
    assert_eq!(text, all);
    shipper.end(Duration::from_secs(1));
    store.end().await;
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_recorded_while_the_store_is_away_arrive_once_each() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let (log, _shipper, _stop) = container("worker1", 2, &endpoint);
    for i in 1..=500 {
        log.record(Level::Info, "test", None, format!("line {i} before"));
    }
    until_kept(&store, 10, "line 500 before").await;
    store.end().await;
    let away = Instant::now();
    let mut recorded = 0;
    while away.elapsed() < Duration::from_secs(2) {
        recorded += 1;
        log.record(Level::Info, "test", None, format!("line {recorded} meanwhile"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let store = place.open(&endpoint).await;
    log.record(Level::Info, "test", None, "the last one");
    let text = until_kept(&store, 10_000, "the last one").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 500 + recorded + 1);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("<Log {}, Container 2: ", at + 1)), "line {at}: {line}");
    }
    assert_eq!(lines[500], "<Log 501, Container 2: line 1 meanwhile>");
    assert!(get(&store, "/metrics").await.contains("repeated_total"));
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_survived_and_text_is_a_line() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    // No ZeroMQ at all: closed by libzmq, of no concern to others.
    let mut raw = std::net::TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    std::io::Write::write_all(&mut raw, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (_context, push) = stranger(&endpoint);
    for frame in [&b""[..], b"\xff\xff{", b"{\"source\":1}", b"{\"a\":", b"two\nlines"] {
        push.send(frame, 0).unwrap();
    }
    push.send_multipart(["first", "other"], 0).unwrap();
    push.send("FROM Client C_1 (class \"B\")", 0).unwrap();
    let text = until_kept(&store, 20, "FROM Client").await;
    assert!(text.contains(r"Container -: two\nlines>"), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains("first") && !text.contains("other"));
    // Longer than a frame may be: libzmq ends that connection, others go on.
    push.send(vec![b'x'; limits::FRAME_BYTES + 1], 0).unwrap();
    let (_context, other) = stranger(&endpoint);
    other.send("still here", 0).unwrap();
    let text = until_kept(&store, 20, "still here").await;
    assert!(!text.contains("xxxx"));
    assert!(get(&store, "/metrics").await.contains("understudy_log_store_dropped_total 2\n"));
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_senders_of_lines_are_let_in_and_the_others_are_counted() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let mut browser = std::net::TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    std::io::Write::write_all(&mut browser, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let closed =
        tokio::task::spawn_blocking(move || std::io::Read::read_to_end(&mut browser, &mut Vec::new()));
    let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
    assert!(closed.is_ok(), "it is closed, in whatever way");
    let context = zmq::Context::new();
    let pair = context.socket(zmq::PAIR).unwrap();
    pair.set_linger(0).unwrap();
    pair.connect(&endpoint).unwrap();
    pair.send("no line", 0).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let refused = |text: &str, reason: &str| {
        let name = format!("understudy_log_store_refused_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    while refused(&get(&store, "/metrics").await, "kind") == Some(0) {
        assert!(Instant::now() < deadline, "a PAIR is not refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused(&get(&store, "/metrics").await, "http"), Some(1));
    let (_context, push) = stranger(&endpoint);
    push.send("a line", 0).unwrap();
    let text = until_kept(&store, 10, "a line").await;
    assert!(!text.contains("no line"), "{text}");
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_socket_can_be_beside_the_database_a_temporary_folder_has_it() {
    let place = Place::new();
    std::fs::write(place.folder.path().join("logs.sqlite.port"), "in the way").unwrap();
    let store = place.open("tcp://127.0.0.1:*").await;
    let (_context, push) = stranger(store.pull_address());
    push.send("a line", 0).unwrap();
    until_kept(&store, 10, "a line").await;
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_store_keeps_nothing_shows_what_it_has_and_gets_the_rest_when_it_is_back() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let (log, _shipper, _stop) = container("master", 1, &endpoint);
    log.record(Level::Info, "test", None, "before");
    until_kept(&store, 10, "before").await;
    assert_eq!(get(&store, "/stop").await, "True");
    let taken = std::net::TcpListener::bind(endpoint.trim_start_matches("tcp://"));
    assert!(taken.is_ok(), "its port is closed: {taken:?}");
    drop(taken);
    log.record(Level::Info, "test", None, "meanwhile");
    assert_eq!(get_as(&store, "/api/v1/logs", "*/*").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&store, "/logging").await, "<Log 1, Container 1: before>\n");
    assert_eq!(get(&store, "/stop").await, "False");
    let text = until_kept(&store, 10, "meanwhile").await;
    assert_eq!(text.matches("before").count(), 1, "{text}");
    let text = until_kept(&store, 10, "RECOVERED :)").await;
    assert!(text.contains("CRASH :("), "{text}");
    assert_eq!(get(&store, "/readyz").await, "ok\n");
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_container_sends_nothing_until_it_is_back() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let (log, _shipper, stop) = container("worker1", 2, &endpoint);
    log.record(Level::Info, "test", None, "before");
    until_kept(&store, 10, "before").await;
    stop.send_replace(true);
    let (other, _other_shipper, _other_stop) = container("worker2", 3, &endpoint);
    // Longer than the shipper takes to notice.
    tokio::time::sleep(Duration::from_millis(500)).await;
    log.record(Level::Warn, "stopped", None, "CRASH :(");
    other.record(Level::Info, "test", None, "from the other");
    let text = until_kept(&store, 10, "from the other").await;
    assert!(!text.contains("CRASH"), "{text}");
    stop.send_replace(false);
    until_kept(&store, 10, "Container 2: CRASH :(").await;
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_one_job_are_told_in_order_whichever_container_said_them() {
    let place = Place::new();
    let store = place.open("tcp://127.0.0.1:*").await;
    let endpoint = store.pull_address().to_string();
    let (_context, push) = stranger(&endpoint);
    let job = Some(JOB.parse().unwrap());
    let send = |source: &str, seq, time_ms, message: &str| {
        let record = Record::new(source, seq, time_ms, Level::Info, "test", job, "n", message);
        push.send(Arrived { record, number: Some(0) }.frame().as_bytes(), 0).unwrap();
    };
    send("worker/1", 1, 3_000, "Received payload");
    send("client-web/1", 1, 1_000, "Created payload");
    send("master/1", 1, 2_000, "Sent payload");
    push.send("of no job", 0).unwrap();
    until_kept(&store, 10, "of no job").await;
    let told = |body: &str| -> Vec<String> {
        let body: Value = serde_json::from_str(body).unwrap();
        body["items"].as_array().unwrap().iter().map(|i| i["message"].as_str().unwrap().to_string()).collect()
    };
    let body = get(&store, &format!("/api/v1/logs?job={JOB}")).await;
    assert_eq!(told(&body), ["Received payload", "Sent payload", "Created payload"], "newest first");
    let page = get(&store, "/api/v1/logs?limit=3").await;
    assert_eq!(told(&page), ["of no job", "Sent payload", "Created payload"]);
    let next = serde_json::from_str::<Value>(&page).unwrap()["next"].as_u64().unwrap();
    let older = get(&store, &format!("/api/v1/logs?limit=3&before={next}")).await;
    assert_eq!(told(&older), ["Received payload"]);
    assert!(serde_json::from_str::<Value>(&older).unwrap()["next"].is_null());
    let (status, problem) = get_as(&store, "/api/v1/logs?jbo=1", "*/*").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem.contains("parameter jbo"), "{problem}");
    store.end().await;
}
