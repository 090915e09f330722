//! What cannot be meant is refused with the field and the limit, and nothing of it is kept.

use super::stage::start;
use super::{JSON, call, get, submit};

#[tokio::test]
async fn bad_submissions_name_field_and_limit_and_leave_no_job() {
    let (app, _hand) = start();
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"class":"echo","payload":"{}"}}"#, "x".repeat((1 << 20) + 1));
    let cases: [(&str, (u16, &str), Option<&str>); 9] = [
        ("{\"class\": ", (400, "malformed"), None),
        ("{\"class\":\"\u{fffd}\"} x", (400, "malformed"), None),
        (&deep, (400, "malformed"), None),
        ("[]", (422, "invalid"), Some("body")),
        ("{}", (422, "invalid"), Some("class")),
        (r#"{"class":"echo","paylaod":"x"}"#, (422, "invalid"), Some("paylaod")),
        (r#"{"class":"echo","timeout":"soon"}"#, (422, "invalid"), Some("timeout")),
        (r#"{"class":"echo","after":["x"]}"#, (422, "invalid"), Some("after")),
        (&long, (413, "too-large"), Some("payload")),
    ];
    for (body, (status, word), field) in cases {
        let answer = submit(&app, body).await;
        assert_eq!(answer.problem(), (status, word.to_string()), "{body:.60}");
        assert_eq!(answer.json()["errors"][0]["field"].as_str(), field, "{body:.60}");
    }
    assert!(submit(&app, "{\"class\": }").await.text().contains("line 1 column 11"));
    assert_eq!(get(&app, "/api/v1/jobs").await.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn bodies_over_their_limit_are_refused_before_they_are_read() {
    let (app, _hand) = start();
    let huge = [JSON, ("content-length", "1000000000000")];
    let answer = call(&app, "POST /api/v1/jobs", &huge, "").await;
    assert_eq!(answer.problem(), (413, "too-large".into()));
    assert_eq!(answer.json()["errors"][0]["limit"], 2 << 20);
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let answer = call(&app, "POST /api/v1/jobs", &[JSON], axum::body::Body::from_stream(endless)).await;
    assert_eq!(answer.problem(), (413, "too-large".into()));
    let raw = call(&app, "POST /api/v1/jobs?class=echo", &[], vec![0; (1 << 20) + 1]).await;
    assert_eq!(
        (raw.problem(), &raw.json()["errors"][0]["limit"]),
        ((413, "too-large".into()), &(1 << 20).into())
    );
}

#[tokio::test]
async fn bad_keys_ids_and_parameters_are_named() {
    let (app, _hand) = start();
    let long = "k".repeat(256);
    for key in ["", &long, "caf\u{e9}"] {
        let answer =
            call(&app, "POST /api/v1/jobs", &[JSON, ("idempotency-key", key)], r#"{"class":"echo"}"#).await;
        assert_eq!(answer.problem(), (422, "invalid".into()), "{key}");
        assert_eq!(answer.json()["errors"][0]["field"], "Idempotency-Key");
    }
    for (path, problem, field) in [
        ("/api/v1/jobs/..%2F..%2Fetc%2Fpasswd", (400, "malformed"), "id"),
        ("/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV?wait=6m", (422, "invalid"), "wait"),
        ("/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV?wait=30", (422, "invalid"), "wait"),
        ("/api/v1/jobs?limit=0", (422, "invalid"), "limit"),
        ("/api/v1/jobs?limit=100000", (422, "invalid"), "limit"),
        ("/api/v1/jobs?state=asleep", (422, "invalid"), "state"),
        ("/api/v1/jobs?after=x", (422, "invalid"), "after"),
        ("/api/v1/jobs?clas=x", (422, "invalid"), "clas"),
        ("/api/v1/events?since=yesterday", (422, "invalid"), "since"),
        ("/api/v1/events?kinds=job,weather", (422, "invalid"), "kinds"),
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.problem(), (problem.0, problem.1.to_string()), "{path}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let (app, _hand) = start();
    for path in ["/api/v1/openapi.json", "/api/v1/schedules", "/api/v1/batches/1", "/api/v2/jobs", "/nowhere"]
    {
        assert_eq!(get(&app, path).await.problem(), (404, "not-found".into()), "{path}");
    }
    for line in ["DELETE /api/v1/jobs", "POST /api/v1/status", "POST /livez"] {
        assert_eq!(call(&app, line, &[], "").await.problem(), (405, "method-not-allowed".into()), "{line}");
    }
}

#[tokio::test]
async fn foreign_text_in_a_payload_comes_back_as_data_never_as_a_page() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"<script>alert(1)</script>");
    for call in ["payload", "output", ""] {
        let answer = get(&app, format!("/api/v1/jobs/{id}/{call}").trim_end_matches('/')).await;
        assert!(!answer.header("content-type").contains("html"), "{call}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").starts_with("default-src 'self'"));
    }
}
