//! `POST /jobs/batch`.

use axum::http::StatusCode;
use logdb::door::Guarded;

use super::stage::start;
use super::{Answer, JSON, call, get};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const TWO: &str = "{\"class\":\"echo\",\"payload\":\"a\"}\n\n{\"class\":\"hash\",\"payload\":\"b\"}\n";

async fn batch(app: &Guarded, header: (&str, &str), body: &str) -> Answer {
    call(app, "POST /api/v1/jobs/batch", &[header], body.to_string()).await
}

#[tokio::test]
async fn lines_a_list_and_an_object_are_the_same_batch_and_its_jobs_are_there_in_order() {
    let (app, _hand) = start();
    let list = r#"[{"class":"echo","payload":"a"},{"class":"hash","payload":"b"}]"#;
    for (header, body) in
        [(LINES, TWO.to_string()), (JSON, list.to_string()), (JSON, format!("{{\"jobs\":{list}}}"))]
    {
        let answer = batch(&app, header, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let ids = answer.json()["ids"].as_array().unwrap().clone();
        assert_eq!(ids.len(), 2);
        for (id, (class, payload)) in ids.iter().zip([("echo", "a"), ("hash", "b")]) {
            let path = format!("/api/v1/jobs/{}", id.as_str().unwrap());
            assert_eq!(get(&app, &path).await.json()["class"], class);
            assert_eq!(get(&app, &format!("{path}/payload")).await.text(), payload);
        }
    }
}

#[tokio::test]
async fn one_bad_job_refuses_all_and_each_fault_names_its_place() {
    let (app, _hand) = start();
    let answer = batch(&app, JSON, r#"[{"class":"echo"},{"class":"echo","timeout":7},3]"#).await;
    assert_eq!(answer.problem(), (422, "invalid".into()));
    let fields: Vec<String> = answer.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["field"].as_str().unwrap().into())
        .collect();
    assert_eq!(fields, ["[1].timeout", "[2]"]);
    assert_eq!(answer.json()["accepted"], false);
    assert!(get(&app, "/api/v1/jobs").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_batch_is_refused_in_words() {
    let (app, _hand) = start();
    let many = "{\"class\":\"echo\"}\n".repeat(10_001);
    for (header, body, field) in [
        (JSON, "[]", "jobs"),
        (LINES, "\n", "jobs"),
        (LINES, many.as_str(), "jobs"),
        (JSON, r#"{"jobs":7}"#, "jobs"),
        (JSON, "7", "body"),
        (JSON, r#"{"jobs":[],"final":{}}"#, "final"),
        (("content-type", "text/plain"), "x", "Content-Type"),
    ] {
        let answer = batch(&app, header, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body:.40}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["field"], field, "{body:.40}");
    }
}

#[tokio::test]
async fn a_batch_has_one_key_and_a_repeat_makes_nothing_new() {
    let (app, _hand) = start();
    let key = ("idempotency-key", "nightly");
    let first = call(&app, "POST /api/v1/jobs/batch", &[LINES, key], TWO).await;
    let again = call(&app, "POST /api/v1/jobs/batch", &[LINES, key], TWO).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.json()["ids"], again.json()["ids"]);
    let other = call(&app, "POST /api/v1/jobs/batch", &[LINES, key], "{\"class\":\"echo\"}").await;
    assert_eq!(other.problem(), (422, "key-reused".into()));
}
