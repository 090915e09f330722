//! What readers of `/logging` get.

use axum::http::Request;
use tower::ServiceExt as _;

use super::*;
use crate::record::Level;

async fn ask(router: &Router, uri: &str, accept: &str) -> Response {
    let request = Request::builder().uri(uri).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn text(answer: Response) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn log_of(lines: &[&str]) -> Log {
    let log = Log::in_memory("n1");
    for line in lines {
        log.record(Level::Info, "test", None, *line);
    }
    log
}

#[tokio::test]
async fn plain_text_unless_html_is_asked_for_newest_at_the_end() {
    let router = logging_router(log_of(&["one", "two", "three"]), None);
    let answer = ask(&router, "/logging?limit=2", "*/*").await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    let body = text(answer).await;
    let lines: Vec<_> = body.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("2 ") && lines[0].ends_with(" info n1 two"), "{body}");
    assert!(lines[1].ends_with(" three"));
    assert!(text(ask(&router, "/logging?after=1&limit=1", "text/plain").await).await.ends_with(" two\n"));
    assert_eq!(text(ask(&router, "/logging?after=99", "").await).await, "");
}

#[tokio::test]
async fn a_browser_gets_a_page_in_which_lines_are_only_text() {
    let router =
        logging_router(log_of(&["<script>window.__x=1</script>", "\"><img src=x onerror=alert(1)>"]), None);
    let answer = ask(&router, "/logging", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], "default-src 'self'");
    assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let body = text(answer).await;
    assert!(body.contains("<ol id=\"log\" data-last=\"2\""));
    assert_eq!(body.matches("<li data-seq=").count(), 2);
    assert_eq!(body.matches("<script").count(), 1, "only our own script");
    assert!(!body.contains("<img") && body.contains("&lt;script&gt;window.__x=1"));
    for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"] {
        assert!(!page::LIVE_JS.contains(markup), "the script must add text, not {markup}");
    }
    let plain = ask(&router, "/logging", "text/html;q=0, text/plain").await;
    assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    let script = ask(&router, "/logging/live.js", "*/*").await;
    assert_eq!(script.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn jsonl_begins_with_what_is_kept() {
    let log = log_of(&["one", "two"]);
    let incarnation = log.incarnation().to_string();
    let router = logging_router(log, None);
    let body = text(ask(&router, "/logging?format=jsonl&after=1", "text/html").await).await;
    let lines: Vec<serde_json::Value> =
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({"first": 1, "last": 2, "incarnation": incarnation}));
    assert_eq!((lines.len(), &lines[1]["seq"], &lines[1]["message"]), (2, &2.into(), &"two".into()));
    assert_eq!(lines[1]["source"], format!("n1/{incarnation}"));
}

#[tokio::test]
async fn a_follower_gets_the_lines_so_far_and_then_each_new_one() {
    let log = log_of(&["one"]);
    let router = logging_router(log.clone(), None);
    let mut body = ask(&router, "/logging?follow=1", "*/*").await.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.ends_with(b" one\n"));
    log.record(Level::Info, "test", None, "two");
    let second = body.next().await.unwrap().unwrap();
    assert!(second.starts_with(b"2 ") && second.ends_with(b" two\n"));
    log.close();
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn bad_parameters_are_400_in_words() {
    let router = logging_router(log_of(&[]), None);
    for (uri, name) in [("/logging?limit=0", "limit"), ("/logging?after=x", "after"), ("/logging?x=1", "x")] {
        let answer = ask(&router, uri, "text/html").await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert!(text(answer).await.starts_with(&format!("parameter {name}: ")));
    }
    assert_eq!(ask(&router, "/logging?incarnation=gone", "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&router, "/logging?source=cluster", "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_ledgers_facts_are_a_source_of_their_own() {
    let fact = |seq| Record::new("cluster", seq, 0, Level::Info, "accepted", None, "n2", "Created payload");
    let source: ClusterSource = Arc::new(move |after, limit| {
        let records = match after {
            Some(after) => (4..=6).filter(|seq| *seq > after).take(limit).map(fact).collect(),
            None => (4..=6).skip(3_usize.saturating_sub(limit)).map(fact).collect(),
        };
        Box::pin(async move { ClusterPage { first: 4, last: 6, records } })
    });
    let router = logging_router(log_of(&["own"]), Some(source));
    let body = text(ask(&router, "/logging?source=cluster&format=jsonl&limit=1", "").await).await;
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines[0], r#"{"first":4,"last":6,"incarnation":null}"#);
    assert!(lines.len() == 2 && lines[1].contains(r#""seq":6"#), "the newest, when none is named: {body}");
    let body = text(ask(&router, "/logging?source=cluster&after=4&limit=1", "").await).await;
    assert!(body.starts_with("5 ") && body.lines().count() == 1);
}
