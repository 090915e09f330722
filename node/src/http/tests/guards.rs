//! The soft crash, foreign hosts, foreign sites.

use axum::http::StatusCode;

use super::stage::{start, start_with};
use super::{JSON, call, get, submit};

const ECHO: &str = r#"{"class":"echo"}"#;

#[tokio::test]
async fn stop_toggles_and_says_nothing_but_how_it_stands() {
    let (app, hand) = start();
    let stopped = get(&app, "/stop").await;
    assert_eq!((stopped.status, stopped.text().as_str()), (StatusCode::OK, "True"));
    assert_eq!(stopped.header("cache-control"), "no-store");
    assert!(hand.front.valve.is_stopped());
    for path in ["/", "/api/v1/status", "/api/v1/jobs", "/readyz", "/metrics", "/internal/v1/cluster"] {
        assert_eq!(get(&app, path).await.problem(), (503, "stopped".into()), "{path}");
    }
    let write = submit(&app, ECHO).await;
    assert_eq!((write.problem(), &write.json()["accepted"]), ((503, "stopped".into()), &false.into()));
    for path in ["/livez", "/logging"] {
        assert_eq!(get(&app, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(get(&app, "/stop").await.text(), "False");
    assert_eq!(submit(&app, ECHO).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn stopping_has_idempotent_forms_by_self_and_by_name() {
    let (app, hand) = start();
    for (line, stopped) in [
        ("POST /api/v1/nodes/self/stop", true),
        ("POST /api/v1/nodes/n1/stop", true),
        ("POST /api/v1/nodes/n1/resume", false),
        ("POST /api/v1/nodes/self/resume", false),
    ] {
        let answer = call(&app, line, &[], "").await;
        assert_eq!(answer.json(), serde_json::json!({"node": "n1", "stopped": stopped}), "{line}");
        assert_eq!(hand.front.valve.is_stopped(), stopped);
    }
    let passed_on = [("x-understudy-passed-on", "1")];
    let looped = call(&app, "POST /api/v1/nodes/n2/stop", &passed_on, "").await;
    assert_eq!(looped.problem(), (404, "not-found".into()));
    assert_eq!(call(&app, "POST /api/v1/nodes/n9/stop", &[], "").await.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn without_chaos_nothing_stops() {
    let (app, hand) = start_with(false);
    assert_eq!(get(&app, "/stop").await.problem(), (403, "chaos-off".into()));
    let post = call(&app, "POST /api/v1/nodes/self/stop", &[], "").await;
    assert_eq!(post.problem(), (403, "chaos-off".into()));
    assert!(!hand.front.valve.is_stopped());
}

#[tokio::test]
async fn only_a_real_visit_stops_a_node() {
    let (app, hand) = start();
    let host = ("host", "localhost:3002");
    for headers in [
        vec![host, ("referer", "http://evil.example/")],
        vec![host, ("origin", "http://evil.example")],
        vec![host, ("sec-fetch-site", "cross-site")],
        vec![host, ("sec-fetch-site", "same-site")],
        vec![host, ("sec-fetch-site", "none"), ("sec-purpose", "prefetch;prerender")],
    ] {
        let answer = call(&app, "GET /stop", &headers, "").await;
        assert_eq!(answer.problem(), (403, "cross-site".into()), "{headers:?}");
    }
    let head = call(&app, "HEAD /stop", &[host], "").await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!hand.front.valve.is_stopped());
    let visit = [host, ("sec-fetch-site", "none"), ("accept", "text/html,*/*")];
    let page = call(&app, "GET /stop", &visit, "").await;
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains("<h1>True</h1>"));
    assert!(hand.front.valve.is_stopped());
}

#[tokio::test]
async fn another_site_changes_nothing_whatever_the_type_of_its_body() {
    let (app, hand) = start();
    let open = hand.accept(1, "sleep", b"1");
    let host = ("host", "localhost:3002");
    let evil = ("origin", "http://evil.example");
    let cancel = format!("POST /api/v1/jobs/{open}/cancel");
    for (line, kind) in [
        ("POST /api/v1/jobs", JSON.1),
        ("POST /api/v1/jobs?class=echo", "text/plain"),
        ("POST /api/v1/jobs?class=echo", "application/x-www-form-urlencoded"),
        (&cancel, "text/plain"),
        ("POST /api/v1/nodes/self/stop", "text/plain"),
        ("POST /api/v1/leader/transfer", "text/plain"),
    ] {
        let answer = call(&app, line, &[host, evil, ("content-type", kind)], ECHO).await;
        assert_eq!(answer.problem(), (403, "cross-site".into()), "{line}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let jobs = get(&app, "/api/v1/jobs").await.json();
    assert_eq!((jobs["items"].as_array().unwrap().len(), &jobs["items"][0]["state"]), (1, &"queued".into()));
    let own = [host, ("origin", "http://localhost:3002"), ("sec-fetch-site", "same-origin"), JSON];
    assert_eq!(call(&app, "POST /api/v1/jobs", &own, ECHO).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_foreign_host_name_is_answered_by_nothing() {
    let (app, _hand) = start();
    for host in ["evil.example", "evil.example:3002", "localhost.evil.example", "n1.evil.example", ""] {
        for path in ["/", "/logging", "/api/v1/status", "/api/v1/events", "/stop", "/livez"] {
            let answer = call(&app, &format!("GET {path}"), &[("host", host)], "").await;
            assert_eq!(answer.problem(), (421, "wrong-host".into()), "{host:?} {path}");
        }
    }
    for host in [
        "localhost:3002",
        "LOCALHOST",
        "127.0.0.1:9",
        "[::1]:3002",
        "10.1.2.3",
        "n1",
        "n2:3004",
        "n1.test",
        "allowed.test:80",
    ] {
        let answer = call(&app, "GET /api/v1/status", &[("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn a_handover_asks_the_leader_and_checks_its_wish() {
    let (app, _hand) = start();
    let line = "POST /api/v1/leader/transfer";
    let answer = call(&app, line, &[JSON], r#"{"to":"n1"}"#).await;
    assert_eq!(answer.json(), serde_json::json!({"leader": "n1", "term": 3}));
    assert_eq!(call(&app, line, &[JSON], r#"{"to":"n9"}"#).await.problem(), (404, "not-found".into()));
    assert_eq!(call(&app, line, &[JSON], r#"{"too":"n1"}"#).await.problem(), (422, "invalid".into()));
    assert_eq!(call(&app, line, &[JSON], "{").await.problem(), (400, "malformed".into()));
}
