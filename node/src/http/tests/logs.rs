//! Lines from the log store, beside the node's own.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get as route;
use logdb::{Level, Record};
use protocol::JobId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::get;
use super::stage::{start, start_beside};

const JOB: JobId = JobId(1);

/// Lines a pretended store has.
type Lines = Arc<Mutex<Vec<Record>>>;

/// A store that has these lines about [`JOB`].
async fn store(lines: &Lines) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let lines = Arc::clone(lines);
    let logs = move |uri: Uri| async move {
        let is_asked = uri.query().is_some_and(|query| query.contains(&format!("job={JOB}")));
        let page = serde_json::json!({"items": *lines.lock().unwrap()}).to_string();
        if is_asked { page } else { format!("asked {uri}") }
    };
    let app = Router::new().route("/api/v1/logs", route(logs));
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

#[tokio::test]
async fn a_jobs_lines_come_from_the_store_and_from_here_each_once_and_without_the_store_from_here() {
    let lines = Lines::default();
    let (url, serving) = store(&lines).await;
    let (app, hand) = start_beside(url);
    hand.accept(1, "echo", b"x");
    hand.log.record(Level::Info, "started", Some(JOB), "Received payload");
    let told = async || -> Vec<String> {
        let page = get(&app, &format!("/api/v1/jobs/{JOB}/logs")).await.json();
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["message"].as_str().unwrap().to_string()).collect()
    };
    let here = told().await;
    assert!(here.len() >= 2, "a fact of the ledger and a line of this node: {here:?}");
    let elsewhere = Record::new("client-web/1", 1, 1, Level::Info, "x", Some(JOB), "c", "Said elsewhere");
    lines.lock().unwrap().extend([elsewhere, (*hand.log.newest(1)[0]).clone()]);
    let all = told().await;
    assert_eq!((&all[..here.len()], all.last().unwrap().as_str()), (&here[..], "Said elsewhere"));
    assert_eq!(all.len(), here.len() + 1, "what both have is told once: {all:?}");
    serving.abort();
    let _ = serving.await;
    assert_eq!(told().await, here, "the store is away: what is known here");
}

#[tokio::test]
async fn all_lines_are_the_stores_to_tell_and_its_absence_is_named() {
    let (url, serving) = store(&Lines::default()).await;
    let (app, _hand) = start_beside(url);
    let answer = get(&app, "/api/v1/logs?level=warn").await;
    assert_eq!(answer.text(), "asked /api/v1/logs?level=warn");
    assert_eq!(answer.header("x-understudy-node"), "n1");
    serving.abort();
    let _ = serving.await;
    assert_eq!(get(&app, "/api/v1/logs").await.problem(), (503, "log-store-away".into()));
    let (app, _hand) = start();
    let none = get(&app, "/api/v1/logs").await;
    assert_eq!((none.status, none.problem().1.as_str()), (StatusCode::NOT_FOUND, "not-found"));
}
