//! The calls, against a small server of HTTP that keeps what it was sent and answers what the test wants.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::recodex::Said;
use tokio::sync::{Notify, mpsc};

use super::call::body;
use super::*;
use crate::settings::Password;

const PATIENCE: Duration = Duration::from_secs(60);
/// More than any test has calls.
const ROOM: usize = 1_000;
const QUICK: Duration = Duration::from_millis(10);

/// What reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    line: String,
    login: Option<String>,
    body: String,
}

/// What it answers next, then 200 for ever; where a call is held, until it is let go.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Response>>,
    holds: bool,
    release: Notify,
}

struct Server {
    port: u16,
    seen: mpsc::Receiver<Seen>,
    script: Arc<Script>,
}

impl Server {
    async fn start(answers: Vec<Response>, holds: bool) -> Self {
        Self::at("127.0.0.1:0", answers, holds).await
    }

    async fn at(address: &str, answers: Vec<Response>, holds: bool) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = mpsc::channel(ROOM);
        let script = Arc::new(Script { answers: Mutex::new(answers.into()), holds, ..Script::default() });
        let app = Router::new().fallback(answer).with_state((tell, Arc::clone(&script)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { port, seen, script }
    }

    async fn next(&mut self) -> Seen {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.expect("a call").unwrap()
    }

    fn caller(&self, path: &str, login: (&str, &str)) -> (Caller, mpsc::Receiver<u64>) {
        caller(&format!("127.0.0.1{path}"), self.port, login)
    }
}

async fn answer(
    State((tell, script)): State<(mpsc::Sender<Seen>, Arc<Script>)>,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let login = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_string());
    let body = String::from_utf8(body.to_vec()).unwrap();
    tell.try_send(Seen { line: format!("{method} {uri}"), login, body }).unwrap();
    if script.holds {
        script.release.notified().await;
    }
    let next = script.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| StatusCode::OK.into_response())
}

fn caller(address: &str, port: u16, login: (&str, &str)) -> (Caller, mpsc::Receiver<u64>) {
    let front_end = Notifier {
        address: address.to_string(),
        port,
        username: login.0.to_string(),
        password: Password::new(login.1.to_string()),
    };
    let (tell, delivered) = mpsc::channel(ROOM);
    let told: Delivered = Box::new(move |number| hear(&tell, number));
    let pace = Pace { first: QUICK, most: 4 * QUICK, report: PATIENCE };
    let log = logdb::Log::in_memory("n1");
    (Caller::start_with(&Handle::current(), &front_end, log, told, pace).unwrap(), delivered)
}

/// The end of a test may come before the last report.
fn hear(tell: &mpsc::Sender<u64>, number: u64) {
    let _ = tell.try_send(number);
}

fn status(number: u64, failed: Option<&str>) -> Arc<Call> {
    let what = Said::Status { id: format!("job{number}"), failed: failed.map(String::from) };
    Arc::new(Call { number, what })
}

async fn told(delivered: &mut mpsc::Receiver<u64>) -> u64 {
    tokio::time::timeout(PATIENCE, delivered.recv()).await.expect("a delivery").unwrap()
}

fn code(code: StatusCode) -> Response {
    code.into_response()
}

#[test]
fn a_form_has_its_keys_sorted_and_is_not_encoded() {
    let failed = |why: &str| Said::Status { id: "j".into(), failed: Some(why.into()) };
    assert_eq!(body(&Said::Status { id: "j".into(), failed: None }), "status=OK");
    assert_eq!(body(&failed("bad config & 100% ü")), "message=bad config & 100% ü&status=FAILED");
    assert_eq!(body(&failed("a\r\nb\tc\u{7}")), "message=a  b c &status=FAILED");
    assert_eq!(body(&Said::Error { message: "x\ny".into() }), "message=x y");
}

#[tokio::test]
async fn a_call_is_what_the_original_sends_and_its_login_is_basic() {
    let mut server = Server::start(vec![], false).await;
    let (caller, mut delivered) = server.caller("/broker-reports/", ("user", "pass"));
    let error = Arc::new(Call { number: 3, what: Said::Error { message: "two INITs".into() } });
    caller.owe(vec![status(1, None), status(2, Some("bad config")), error]);
    let mut all = [server.next().await, server.next().await, server.next().await];
    all.sort_by(|a, b| a.line.cmp(&b.line));
    let seen = |line: &str, body: &str| Seen {
        line: format!("POST /broker-reports/{line}"),
        login: Some("Basic dXNlcjpwYXNz".into()),
        body: body.into(),
    };
    assert_eq!(
        all,
        [
            seen("error", "message=two INITs"),
            seen("job-status/job1", "status=OK"),
            seen("job-status/job2", "message=bad config&status=FAILED"),
        ]
    );
    let mut numbers = [told(&mut delivered).await, told(&mut delivered).await, told(&mut delivered).await];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn without_a_login_none_is_sent_and_an_id_cannot_leave_its_place() {
    let mut server = Server::start(vec![], false).await;
    let (caller, _delivered) = server.caller("", ("", ""));
    let what = Said::Status { id: "../a/b?c#d".into(), failed: None };
    caller.owe(vec![Arc::new(Call { number: 1, what })]);
    let seen = server.next().await;
    assert_eq!((seen.line.as_str(), seen.login), ("POST /job-status/..%2Fa%2Fb%3Fc%23d", None));
}

#[tokio::test]
async fn an_answer_of_400_and_above_is_an_error_and_the_call_is_made_again() {
    let answers = [500, 404, 401].map(|number| code(StatusCode::from_u16(number).unwrap()));
    let mut server = Server::start(answers.into(), false).await;
    let (caller, mut delivered) = server.caller("", ("", ""));
    caller.owe(vec![status(1, None)]);
    let first = server.next().await;
    for _ in 0..3 {
        assert!(delivered.try_recv().is_err(), "nothing is delivered yet");
        assert_eq!(server.next().await, first);
    }
    assert_eq!(told(&mut delivered).await, 1);
    // Still owed, but it was made: the same list makes no second call.
    caller.owe(vec![status(1, None), status(2, None)]);
    assert_eq!(server.next().await.line, "POST /job-status/job2");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let there = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/moved")]).into_response();
    let mut server = Server::start(vec![there], false).await;
    let (caller, mut delivered) = server.caller("", ("user", ""));
    caller.owe(vec![status(1, None)]);
    assert_eq!(server.next().await.line, "POST /job-status/job1");
    let moved = server.next().await;
    assert_eq!((moved.line.as_str(), moved.body.as_str()), ("POST /moved", "status=OK"));
    assert_eq!((moved.login.as_deref(), told(&mut delivered).await), (Some("Basic dXNlcjo="), 1));
}

#[tokio::test]
async fn a_call_that_found_nobody_is_made_when_somebody_is_there() {
    let port = Server::start(vec![], false).await.port;
    // A port that was free a moment ago; its first server lives on in a task, so another one is taken for sure.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, taken) = (free.local_addr().unwrap(), port);
    drop(free);
    assert_ne!(address.port(), taken);
    let (caller, mut delivered) = caller("127.0.0.1", address.port(), ("", ""));
    caller.owe(vec![status(1, None)]);
    tokio::time::sleep(4 * QUICK).await;
    let mut server = Server::at(&address.to_string(), vec![], false).await;
    assert_eq!(server.next().await.line, "POST /job-status/job1");
    assert_eq!(told(&mut delivered).await, 1);
}

#[tokio::test]
async fn at_most_eight_calls_are_under_way_and_the_others_come_in_their_order() {
    let mut server = Server::start(vec![], true).await;
    let (caller, mut delivered) = server.caller("", ("", ""));
    caller.owe((1..=10).map(|number| status(number, None)).collect());
    let mut first = BTreeSet::new();
    for _ in 0..8 {
        first.insert(server.next().await.line);
    }
    assert_eq!(first, (1..=8).map(|number| format!("POST /job-status/job{number}")).collect());
    assert!(server.seen.try_recv().is_err(), "a ninth call is under way");
    for number in 9..=10 {
        server.script.release.notify_one();
        assert_eq!(server.next().await.line, format!("POST /job-status/job{number}"));
        told(&mut delivered).await;
    }
}

#[tokio::test]
async fn what_is_owed_no_longer_is_not_tried_again() {
    let mut server =
        Server::start(vec![code(StatusCode::BAD_GATEWAY), code(StatusCode::BAD_GATEWAY)], false).await;
    let (caller, mut delivered) = server.caller("", ("", ""));
    caller.owe(vec![status(1, None)]);
    server.next().await;
    caller.clear();
    caller.owe(vec![status(7, None)]);
    // Whatever was under way, the only call that is ever delivered is the one still owed.
    assert_eq!(told(&mut delivered).await, 7);
    tokio::time::sleep(8 * QUICK).await;
    assert!(delivered.try_recv().is_err());
}

#[tokio::test]
async fn a_delivery_that_stays_owed_is_reported_again_and_not_made_again() {
    let mut server = Server::start(vec![], false).await;
    let (tell, mut delivered) = mpsc::channel(ROOM);
    let told_of: Delivered = Box::new(move |number| hear(&tell, number));
    let front_end = Notifier {
        address: "127.0.0.1".into(),
        port: server.port,
        username: String::new(),
        password: Password::default(),
    };
    let pace = Pace { first: QUICK, most: QUICK, report: QUICK };
    let log = logdb::Log::in_memory("n1");
    let caller = Caller::start_with(&Handle::current(), &front_end, log, told_of, pace).unwrap();
    caller.owe(vec![status(1, None)]);
    for _ in 0..3 {
        assert_eq!(told(&mut delivered).await, 1);
    }
    assert_eq!(server.next().await.line, "POST /job-status/job1");
    assert!(server.seen.try_recv().is_err(), "it was made twice");
}

#[test]
fn an_address_may_have_a_scheme_and_a_path_and_nothing_else() {
    let at = |address: &str, port: u16| {
        let (username, password) = (String::new(), Password::default());
        check(&Notifier { address: address.into(), port, username, password })
    };
    for good in ["127.0.0.1", "front.end", "http://front.end/api/v1/", "[::1]", "front.end:81/x"] {
        assert_eq!(at(good, 8080), Ok(()), "{good}");
    }
    for bad in ["", "https://front.end", "http://", "front.end/?a=b", "a b", "ftp://front.end"] {
        assert!(at(bad, 0).is_err(), "{bad}");
    }
}
