//! The relay between pretended nodes on loopback.

use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::*;

const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// What a pretended node does with a call.
#[derive(Clone)]
enum Manner {
    /// Answers as a node that accepts a job.
    Accept,
    /// 503 with this problem.
    Refuse(Value),
    /// Takes the request and cuts the connection.
    Cut,
    /// Sends one event, then nothing more.
    Events,
}

/// What it was asked: method and path, headers, body.
type Asked = Arc<Mutex<Vec<(String, HeaderMap, String)>>>;

struct Node {
    url: String,
    asked: Asked,
}

async fn node(manner: Manner) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let app = Router::new().fallback(move |request: Request| {
        let (manner, noted) = (manner.clone(), Arc::clone(&noted));
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let line = format!("{} {}", parts.method, parts.uri);
            noted.lock().unwrap().push((line, parts.headers, String::from_utf8(body.to_vec()).unwrap()));
            acted(&manner)
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Node { url, asked }
}

fn acted(manner: &Manner) -> Response {
    match manner {
        Manner::Accept => {
            let place = format!("/api/v1/jobs/{ID}");
            let headers = [("location", place.as_str()), ("x-understudy-node", "n1")];
            (StatusCode::CREATED, headers, json!({"id": ID}).to_string()).into_response()
        }
        Manner::Refuse(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem.to_string()).into_response(),
        // An answer that breaks off before its head is through.
        Manner::Cut => {
            let parts = futures_util::stream::iter([Err::<String, _>(std::io::Error::other("cut"))]);
            (StatusCode::SERVICE_UNAVAILABLE, Body::from_stream(parts)).into_response()
        }
        Manner::Events => {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>("event: job\ndata: {}\n\n")]);
            Body::from_stream(first.chain(futures_util::stream::pending())).into_response()
        }
    }
}

/// An address nobody listens at.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn stopped() -> Manner {
    Manner::Refuse(json!({"type": "/problems/stopped", "accepted": false}))
}

struct Stand {
    relay: Relay,
    log: Log,
    valve: Arc<Valve>,
}

fn stand(servers: &[&str]) -> Stand {
    let servers: Vec<String> = servers.iter().map(|url| (*url).to_string()).collect();
    let (log, valve) = (Log::in_memory("client-web"), Arc::new(Valve::default()));
    let relay = Relay::new(&servers, None, log.clone(), Arc::clone(&valve)).unwrap();
    Stand { relay, log, valve }
}

impl Stand {
    async fn call(&self, method: Method, path: &str, body: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_string())).unwrap();
        self.relay.api().oneshot(request).await.unwrap()
    }

    async fn submit(&self) -> (StatusCode, Value) {
        let answer = self.call(Method::POST, "/api/v1/jobs?wait=1s", "{\"class\":\"echo\"}").await;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.log.newest(100).iter().map(|record| record.message.to_string()).collect()
    }
}

#[tokio::test]
async fn a_call_goes_to_the_next_node_when_one_is_away_or_stopped_and_stays_there() {
    let (away, silent, good) = (nobody().await, node(stopped()).await, node(Manner::Accept).await);
    let stand = stand(&[&away, &silent.url, &good.url]);
    for _ in 0..2 {
        let answer = stand.call(Method::POST, "/api/v1/jobs?class=sh", "x y").await;
        assert_eq!(
            (answer.status(), &answer.headers()["x-understudy-node"]),
            (StatusCode::CREATED, &"n1".parse().unwrap())
        );
    }
    let asked = good.asked.lock().unwrap();
    assert_eq!((asked[0].0.as_str(), asked[0].2.as_str()), ("POST /api/v1/jobs?class=sh", "x y"));
    assert_eq!(silent.asked.lock().unwrap().len(), 1, "the node that answered is asked first from then on");
}

#[tokio::test]
async fn a_write_that_may_have_been_heard_is_repeated_with_the_same_key() {
    for first in [Manner::Cut, Manner::Refuse(json!({"type": "/problems/outcome-unknown", "id": ID}))] {
        let (first, second) = (node(first).await, node(Manner::Accept).await);
        assert_eq!(stand(&[&first.url, &second.url]).submit().await.0, StatusCode::CREATED);
        let key = |node: &Node| node.asked.lock().unwrap()[0].1["idempotency-key"].clone();
        assert_eq!(key(&first), key(&second));
    }
}

#[tokio::test]
async fn when_nobody_answers_only_what_was_handed_to_nobody_is_surely_not_accepted() {
    let (away, silent) = (nobody().await, node(stopped()).await);
    let (status, problem) = stand(&[&away, &silent.url]).submit().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&problem["type"], &problem["accepted"]), (&json!("/problems/no-quorum"), &json!(false)));

    let cut = node(Manner::Cut).await;
    let (status, problem) = stand(&[&cut.url, &away]).submit().await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("/problems/outcome-unknown"))
    );
    assert!(problem["accepted"].is_null() && problem["id"].is_null(), "{problem}");

    let unsure = node(Manner::Refuse(json!({"type": "/problems/outcome-unknown", "id": ID}))).await;
    let (_, problem) = stand(&[&away, &unsure.url]).submit().await;
    assert_eq!((&problem["type"], &problem["id"]), (&json!("/problems/outcome-unknown"), &json!(ID)));
    let (_, problem) = stand(&[&cut.url, &unsure.url]).submit().await;
    assert!(problem["id"].is_null(), "it may bear the id of either try: {problem}");
}

#[tokio::test]
async fn the_lines_of_a_job_name_it_and_the_port_it_was_sent_to() {
    let (away, good) = (nobody().await, node(Manner::Accept).await);
    let stand = stand(&[&away, &good.url]);
    stand.submit().await;
    stand.call(Method::GET, "/api/v1/jobs", "").await;
    let port = good.url.rsplit(':').next().unwrap();
    let expected =
        [format!("Created payload: {ID}"), format!("Sent payload: {ID} for execution to port: {port}")];
    assert_eq!(stand.lines(), expected);
}

#[tokio::test]
async fn a_stream_comes_through_as_it_comes_and_ends_with_the_soft_crash() {
    let source = node(Manner::Events).await;
    let stand = stand(&[&source.url]);
    let answer = stand.call(Method::GET, "/api/v1/events?kinds=job", "").await;
    let mut parts = answer.into_body().into_data_stream();
    assert_eq!(&parts.next().await.unwrap().unwrap()[..], b"event: job\ndata: {}\n\n");
    stand.valve.turn(true);
    assert!(parts.next().await.is_none());
    assert_eq!(stand.submit().await.1["accepted"], false, "nothing goes out while stopped");
    assert_eq!(source.asked.lock().unwrap().len(), 1);
}

#[test]
fn a_list_of_servers_is_one_to_many_addresses_without_a_path() {
    let relay = |given: &[&str]| {
        let given: Vec<String> = given.iter().map(|one| (*one).to_string()).collect();
        Relay::new(&given, None, Log::in_memory("x"), Arc::new(Valve::default())).map(drop)
    };
    assert_eq!(relay(&["http://127.0.0.1:3002", "http://server:3002/", "http://[::1]:1"]), Ok(()));
    assert_eq!(relay(&[]), Err(ServersError::Count { count: 0 }));
    for bad in ["server:3002", "https://a:1", "http://a:1/x", "http://u@a:1", "ftp://a", "", "http://a:1?x"] {
        assert!(matches!(relay(&[bad]), Err(ServersError::Address { .. })), "{bad}");
    }
}
