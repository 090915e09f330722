//! Tasks against servers that answer as nodes in trouble do.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::any;

use super::*;

type Asked = Arc<Mutex<Vec<String>>>;

/// Gives these answers in turn, the last one for ever; remembers method, path, key and body of each request.
async fn server(answers: &'static [(u16, &'static str)]) -> (String, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let answer =
        async move |method: axum::http::Method, uri: Uri, headers: axum::http::HeaderMap, body: String| {
            let mut seen = seen.lock().unwrap();
            let (status, answer) = answers[seen.len().min(answers.len() - 1)];
            let key = headers.get("idempotency-key").map_or("-", |key| key.to_str().unwrap());
            seen.push(format!("{method} {uri} {key} {body}"));
            (StatusCode::from_u16(status).unwrap(), answer)
        };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    (at, asked)
}

fn work(servers: Vec<String>) -> Work {
    let template = Template::read("{}ms").unwrap();
    Work::new(Api::new(servers).unwrap(), "sleep", &template, Arc::new(|_| {}))
}

async fn answer_to(answers: &'static [(u16, &'static str)], task: &[u8]) -> (String, Vec<String>) {
    let (at, asked) = server(answers).await;
    let answer = work(vec![at]).answer(task).await;
    let asked = asked.lock().unwrap().clone();
    (String::from_utf8(answer).unwrap(), asked)
}

const RUNNING: &str = r#"{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","state":"running"}"#;
const DONE: &str = r#"{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","state":"succeeded","result":{"output":"7ms"}}"#;

#[tokio::test]
async fn a_task_is_submitted_once_and_its_output_is_the_answer() {
    let (answer, asked) = answer_to(&[(201, DONE)], b"7").await;
    assert_eq!((answer.as_str(), asked.len()), ("7ms", 1));
    assert!(asked[0].starts_with("POST /api/v1/jobs?wait=5s "), "{asked:?}");
    assert!(asked[0].ends_with(r#" {"class":"sleep","payload":"7ms"}"#), "{asked:?}");
}

#[tokio::test]
async fn a_job_that_has_not_ended_is_asked_for_by_its_id() {
    let (answer, asked) = answer_to(&[(201, RUNNING), (200, RUNNING), (200, DONE)], b"7").await;
    assert_eq!(answer, "7ms");
    let by_id = "GET /api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV?wait=";
    assert!(asked.len() == 3 && asked[1].starts_with(by_id) && asked[2].starts_with(by_id), "{asked:?}");
}

#[tokio::test]
async fn whatever_may_pass_is_outlived_under_one_key() {
    const UNKNOWN: &str = r#"{"type":"/problems/outcome-unknown","status":503}"#;
    const FULL: &str = r#"{"type":"/problems/full","status":429}"#;
    let (answer, asked) =
        answer_to(&[(503, UNKNOWN), (429, FULL), (502, "<html>"), (201, "{"), (200, DONE)], b"7").await;
    assert_eq!((answer.as_str(), asked.len()), ("7ms", 5));
    let keys: std::collections::BTreeSet<&str> =
        asked.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert!(keys.len() == 1 && !keys.contains("-"), "{asked:?}");
}

#[tokio::test]
async fn a_job_that_fails_and_one_that_is_refused_are_errors_by_name() {
    for (answers, expected) in [
        (&[(201, r#"{"id":"x","state":"failed","reason":"exit"}"#)][..], "ERROR exit"),
        (&[(201, r#"{"id":"x","state":"cancelled","reason":null}"#)], "ERROR cancelled"),
        (&[(422, r#"{"type":"/problems/invalid","status":422}"#)], "ERROR invalid"),
        (&[(404, "no such page")], "ERROR refused"),
        (&[(201, r#"{"state":"running"}"#)], "ERROR bad-answer"),
        (&[(201, r#"{"state":"succeeded","result":{"output_base64":"?"}}"#)], "ERROR bad-answer"),
    ] {
        assert_eq!(answer_to(answers, b"7").await.0, expected);
    }
    let long = vec![b'x'; protocol::limits::PAYLOAD_BYTES];
    let (answer, asked) = answer_to(&[(201, DONE)], &long).await;
    assert_eq!((answer.as_str(), asked.len()), ("ERROR too-large", 0));
}
