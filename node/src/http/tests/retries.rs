//! `POST /jobs/{id}/retry`, `/jobs/retry`, `/jobs/cancel`.

use axum::body::Body;
use logdb::door::Guarded;
use protocol::{JobId, Outcome, Reason, Refusal};
use serde_json::{Value, json};

use super::stage::{Hand, start};
use super::{Answer, call, get, submit};

/// A job that has failed.
async fn failed(app: &Guarded, hand: &Hand, class: &str, payload: &str) -> String {
    let asked = json!({"class": class, "payload": payload, "max_attempts": 1, "labels": {"of": payload}});
    let answer = submit(app, &asked.to_string()).await;
    let id = answer.json()["id"].as_str().unwrap().to_string();
    let job: JobId = id.parse().unwrap();
    hand.assign(job);
    hand.finish(job, Outcome::failure(Reason::Exit, "exit code 1".to_string()));
    id
}

async fn post(app: &Guarded, path: &str, key: &str) -> Answer {
    let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("idempotency-key", key)] };
    call(app, &format!("POST /api/v1{path}"), headers, Body::empty()).await
}

fn ids(answer: &Answer) -> Vec<String> {
    let ids = answer.json()["ids"].as_array().unwrap_or_else(|| panic!("{}", answer.text())).clone();
    ids.iter().map(|id| id.as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_retry_is_a_new_job_that_names_the_old_one_and_one_key_is_one_retry() {
    let (app, hand) = start();
    let old = failed(&app, &hand, "echo", "x").await;
    let path = format!("/jobs/{old}/retry");
    let (first, again) = (post(&app, &path, "k").await, post(&app, &path, "k").await);
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200), "{}", first.text());
    let job = first.json();
    assert_eq!((&job["id"], again.header("idempotent-replayed")), (&again.json()["id"], "true"));
    assert_eq!(
        (&job["retry_of"], &job["state"], &job["class"]),
        (&json!(old), &json!("queued"), &json!("echo"))
    );
    assert_eq!(job["labels"], json!({"of": "x"}));
    let id = job["id"].as_str().unwrap().to_string();
    assert_eq!(get(&app, &format!("/api/v1/jobs/{id}/payload")).await.text(), "x");
    assert_eq!(first.header("location"), format!("/api/v1/jobs/{id}"));
    let other = failed(&app, &hand, "echo", "y").await;
    assert_eq!(post(&app, &format!("/jobs/{other}/retry"), "k").await.problem(), (422, "key-reused".into()));
    assert_eq!(
        post(&app, &format!("/jobs/{id}/retry"), "").await.problem(),
        (409, "ended".into()),
        "it waits"
    );
    let done: JobId = id.parse().unwrap();
    hand.run(done, b"x");
    let succeeded = post(&app, &format!("/jobs/{id}/retry"), "").await;
    assert_eq!(succeeded.problem(), (409, "ended".into()));
    assert!(succeeded.text().contains("this one is succeeded"), "{}", succeeded.text());
    assert_eq!(
        post(&app, "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/retry", "").await.problem(),
        (404, "not-found".into())
    );
}

#[tokio::test]
async fn all_that_fit_are_retried_once_under_one_key_and_none_of_what_that_made() {
    let (app, hand) = start();
    let mut old = Vec::new();
    for n in 0..5 {
        old.push(failed(&app, &hand, "echo", &n.to_string()).await);
    }
    let other = failed(&app, &hand, "hash", "5").await;
    let path = "/jobs/retry?state=failed&class=echo";
    let first = post(&app, path, "k").await;
    let made = ids(&first);
    assert_eq!((first.status.as_u16(), made.len(), &first.json()["next"]), (200, 5, &Value::Null));
    let mut of = Vec::new();
    for id in &made {
        let job = get(&app, &format!("/api/v1/jobs/{id}")).await.json();
        of.push(job["retry_of"].as_str().unwrap().to_string());
    }
    old.reverse();
    assert_eq!(of, old, "newest first, and not {other}");
    // What the call made fails as well: under the same key it is not for it.
    for id in &made {
        let job: JobId = id.parse().unwrap();
        hand.assign(job);
        hand.finish(job, Outcome::failure(Reason::Exit, "again".to_string()));
    }
    let again = post(&app, path, "k").await;
    assert_eq!((ids(&again), again.header("idempotent-replayed")), (made.clone(), "true"));
    assert_eq!(post(&app, "/jobs/retry?class=echo", "k").await.problem(), (422, "key-reused".into()));
    // Under another key it is: what it made and what that was made of.
    assert_eq!(ids(&post(&app, path, "other").await).len(), 10);
}

#[tokio::test]
async fn bulk_calls_go_part_by_part() {
    let (app, hand) = start();
    for n in 0..5 {
        failed(&app, &hand, "echo", &n.to_string()).await;
    }
    let (mut made, mut after) = (Vec::new(), String::new());
    loop {
        let answer = post(&app, &format!("/jobs/retry?label=of=3&label=of=3&limit=2{after}"), "a").await;
        made.extend(ids(&answer));
        match answer.json()["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(made.len(), 1, "one of five bears the label");
    let (mut made, mut after, mut calls) = (Vec::new(), String::new(), 0);
    loop {
        let answer = post(&app, &format!("/jobs/retry?state=failed&limit=2{after}"), "b").await;
        made.extend(ids(&answer));
        calls += 1;
        match answer.json()["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    made.sort();
    made.dedup();
    assert_eq!((made.len(), calls), (5, 3));
}

#[tokio::test]
async fn all_open_jobs_that_fit_are_cancelled_and_others_left() {
    let (app, hand) = start();
    let waits = hand.accept(1, "echo", b"");
    let runs = hand.accept(2, "echo", b"");
    hand.assign(runs);
    let (other, done) = (hand.accept(3, "hash", b""), hand.accept(4, "echo", b""));
    hand.run(done, b"");
    let answer = post(&app, "/jobs/cancel?class=echo", "k").await;
    assert_eq!(ids(&answer), [runs, waits].map(|id| id.to_string()), "{}", answer.text());
    let state = async |id: JobId| get(&app, &format!("/api/v1/jobs/{id}")).await.json()["state"].clone();
    assert_eq!([state(waits).await, state(runs).await], ["cancelled", "cancelled"]);
    assert_eq!([state(other).await, state(done).await], ["queued", "succeeded"]);
    assert_eq!(
        ids(&post(&app, "/jobs/cancel?class=echo", "k").await),
        Vec::<String>::new(),
        "nothing is left"
    );
}

#[tokio::test]
async fn a_bulk_call_without_a_filter_or_with_a_state_that_makes_no_sense_is_refused() {
    let (app, hand) = start();
    let open = hand.accept(1, "echo", b"");
    let bad =
        ["cancel", "retry", "cancel?limit=3", "cancel?state=failed", "retry?state=running", "retry?state=x"];
    for path in bad {
        let answer = post(&app, &format!("/jobs/{path}"), "").await;
        assert_eq!(answer.problem(), (422, "invalid".into()), "{path}");
        assert_eq!(answer.json()["errors"][0]["field"], "state", "{path}");
    }
    let bad =
        ["retry?class=a&limit=0", "cancel?class=a&limit=10001", "retry?class=a&after=x", "retry?label=x"];
    for path in bad {
        assert_eq!(post(&app, &format!("/jobs/{path}"), "").await.problem().0, 422, "{path}");
    }
    assert_eq!(get(&app, &format!("/api/v1/jobs/{open}")).await.json()["state"], "queued");
}

#[tokio::test]
async fn a_bulk_call_that_ends_on_its_way_says_so() {
    let (app, hand) = start();
    failed(&app, &hand, "echo", "1").await;
    hand.refuse(Refusal::Full);
    let answer = post(&app, "/jobs/retry?state=failed", "k").await;
    assert_eq!(answer.problem(), (429, "full".into()));
    assert_eq!(answer.json()["accepted"], Value::Null, "of the whole nobody knows");
    assert!(answer.text().contains("repeat it with the same Idempotency-Key"), "{}", answer.text());
}
