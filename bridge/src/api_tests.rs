//! How a cluster is asked of which some nodes do not answer.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode as Status};
use axum::routing::any;

use super::*;

type Keys = Arc<Mutex<Vec<String>>>;

/// A server that gives these answers in turn, the last one for ever, and remembers the keys it saw.
async fn server(answers: &'static [(u16, &'static str)]) -> (String, Keys) {
    let keys = Keys::default();
    let seen = Arc::clone(&keys);
    let answer = async move |headers: HeaderMap| {
        let mut seen = seen.lock().unwrap();
        let (status, body) = answers[seen.len().min(answers.len() - 1)];
        seen.push(headers.get("idempotency-key").map_or("-".into(), |key| key.to_str().unwrap().to_string()));
        (Status::from_u16(status).unwrap(), body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    (at, keys)
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

const STOPPED: &str = r#"{"type":"/problems/stopped","title":"stopped","status":503,"detail":"stopped"}"#;
const NO_QUORUM: &str = r#"{"type":"/problems/no-quorum","title":"","status":503,"detail":"no leader"}"#;

const INVALID: &str = r#"{"type":"/problems/invalid","status":422,"detail":"bad","errors":[{"field":"priority","detail":"is 0 to 9"}]}"#;

#[tokio::test]
async fn the_next_server_is_asked_under_the_same_key_and_stays_preferred() {
    let (stopped, first_keys) = server(&[(503, STOPPED)]).await;
    let (good, keys) = server(&[(201, r#"{"id":"x"}"#)]).await;
    let api = Api::new(vec![nobody().await, stopped, good.clone()]).unwrap();
    let answer = api.json(Ask::post("/api/v1/jobs", "k1")).await.unwrap();
    assert_eq!(answer["id"], "x");
    assert_eq!(
        (first_keys.lock().unwrap().as_slice(), keys.lock().unwrap().as_slice()),
        (&["k1".into()][..], &["k1".into()][..])
    );
    assert_eq!(api.server().as_str().trim_end_matches('/'), good);
}

#[tokio::test]
async fn a_patient_request_outlives_a_lost_quorum_and_keeps_its_key() {
    let (at, keys) = server(&[(503, NO_QUORUM), (503, NO_QUORUM), (201, "{}")]).await;
    let api = Api::new(vec![at]).unwrap();
    api.json(Ask::post("/api/v1/jobs", "k2").patient(Duration::from_secs(20))).await.unwrap();
    assert_eq!(*keys.lock().unwrap(), ["k2", "k2", "k2"]);
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_whether_a_repeat_may_help() {
    let (no_quorum, _) = server(&[(503, NO_QUORUM)]).await;
    let (invalid, _) = server(&[(422, INVALID)]).await;
    let (full, _) = server(&[(429, "busy")]).await;
    for (at, part, may_pass) in [
        (no_quorum, "no leader (503 no-quorum)", true),
        (invalid, "\n  priority: is 0 to 9", false),
        (full, "busy (429 )", true),
        (nobody().await, "no node answered", true),
    ] {
        let error = Api::new(vec![at]).unwrap().json(Ask::get("/x")).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.may_pass(), may_pass, "{error}");
    }
    assert_eq!(Api::new(vec!["ftp://x".into()]).err(), Some(ServerError::NotHttp { text: "ftp://x".into() }));
    assert_eq!(Api::new(Vec::new()).err(), Some(ServerError::None));
}

#[test]
fn keys_are_new_each_time_and_printable() {
    let (a, b) = (new_key().unwrap(), new_key().unwrap());
    assert!(a != b && a.len() == 32 && a.bytes().all(|byte| byte.is_ascii_hexdigit()));
}
