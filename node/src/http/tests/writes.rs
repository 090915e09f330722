//! `POST /jobs` and `POST /jobs/{id}/cancel`.

use axum::http::StatusCode;
use protocol::{JobId, Outcome, Reason, Refusal};

use super::stage::{Plan, start};
use super::{Answer, JSON, call, get, submit};
use crate::ask::Told;

const ECHO: &str = r#"{"class":"echo","payload":"hi"}"#;

#[tokio::test]
async fn an_accepted_job_is_201_with_its_place_and_all_headers() {
    let (app, _hand) = start();
    let answer = submit(&app, ECHO).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let job = answer.json();
    let id = job["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{id}"));
    for (name, value) in [("node", "n1"), ("leader", "n1"), ("term", "3"), ("index", "2")] {
        assert_eq!(answer.header(&format!("x-understudy-{name}")), value, "{name}");
    }
    assert_eq!((job["class"].as_str(), job["state"].as_str()), (Some("echo"), Some("queued")));
    assert_eq!(
        (&job["payload_bytes"], &job["result"], &job["rev"]),
        (&2.into(), &().into(), &"0.2.0".into())
    );
    assert!(job["submitted_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&app, answer.header("location")).await.json()["id"], job["id"]);
}

#[tokio::test]
async fn any_other_body_is_the_payload_itself() {
    let (app, _hand) = start();
    let answer =
        call(&app, "POST /api/v1/jobs?class=hash", &[("content-type", "text/plain")], "\u{1}raw").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let id = answer.json()["id"].as_str().unwrap().to_string();
    let payload = get(&app, &format!("/api/v1/jobs/{id}/payload")).await;
    assert_eq!((payload.text().as_str(), payload.header("x-content-type-options")), ("\u{1}raw", "nosniff"));
    let none = call(&app, "POST /api/v1/jobs", &[], "raw").await;
    assert_eq!(none.problem(), (422, "invalid".into()));
    assert_eq!(none.json()["errors"][0]["field"], "class");
}

#[tokio::test]
async fn a_repeat_with_the_same_key_is_the_same_job_and_another_body_is_refused() {
    let (app, _hand) = start();
    let key = ("idempotency-key", "order 17");
    let first = call(&app, "POST /api/v1/jobs", &[JSON, key], ECHO).await;
    let again = call(&app, "POST /api/v1/jobs", &[JSON, key], r#"{"payload":"hi","class":"echo"}"#).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = call(&app, "POST /api/v1/jobs", &[JSON, key], r#"{"class":"echo"}"#).await;
    assert_eq!(other.problem(), (422, "key-reused".into()));
    assert_eq!(other.json()["id"], first.json()["id"]);
    assert_eq!(get(&app, "/api/v1/jobs").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_way_not_to_be_accepted_has_its_status_and_says_whether_repeating_is_safe() {
    let (app, hand) = start();
    let safe = serde_json::json!(false);
    let unsaid = serde_json::Value::Null;
    let cases = [
        (Plan::Tell(Told::NoQuorum { handed_over: false }), 503, "no-quorum", &safe),
        (Plan::Tell(Told::NoQuorum { handed_over: true }), 503, "outcome-unknown", &unsaid),
        (Plan::Tell(Told::Busy), 429, "full", &safe),
        (Plan::Drop, 503, "outcome-unknown", &unsaid),
    ];
    for (plan, status, word, accepted) in cases {
        hand.plan(plan);
        let answer = submit(&app, ECHO).await;
        assert_eq!(answer.problem(), (status, word.to_string()));
        assert_eq!(&answer.json()["accepted"], accepted, "{word}");
        let has_id = answer.json()["id"].as_str().is_some_and(|id| id.parse::<JobId>().is_ok());
        assert_eq!(has_id, word == "outcome-unknown", "{}", answer.text());
        assert_eq!(answer.header("retry-after"), if status == 429 { "1" } else { "" });
    }
}

#[tokio::test]
async fn each_refusal_of_the_leader_has_its_status() {
    let (app, hand) = start();
    let cases = [
        (Refusal::Starting, 503, "starting"),
        (Refusal::NotLeader, 503, "no-quorum"),
        (Refusal::Stale, 503, "no-quorum"),
        (Refusal::Full, 429, "full"),
        (Refusal::KeyReused { job: JobId(7) }, 422, "key-reused"),
        (Refusal::Impossible("no".into()), 422, "invalid"),
        (Refusal::NotNow("no".into()), 503, "no-quorum"),
    ];
    for (refusal, status, word) in cases {
        hand.refuse(refusal);
        let answer = submit(&app, ECHO).await;
        assert_eq!(answer.problem(), (status, word.to_string()));
        if status == 503 || status == 429 {
            assert_eq!(answer.json()["accepted"], false, "{word}");
        }
    }
}

#[tokio::test]
async fn waiting_answers_when_the_job_has_ended() {
    let (app, hand) = start();
    let mut events = hand.front.events.subscribe();
    let runs = hand.clone();
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            match event {
                crate::ask::Event::Job { job, .. } if job.attempts.is_empty() => runs.run(job.id, b"42\n"),
                _ => {}
            }
        }
    });
    let answer = call(&app, "POST /api/v1/jobs?wait=60s", &[JSON], ECHO).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let job = answer.json();
    assert_eq!((job["state"].as_str(), job["result"]["output"].as_str()), (Some("succeeded"), Some("42\n")));
    assert_eq!((&job["attempts"][0]["node"], &job["attempts"][0]["number"]), (&"n2".into(), &1.into()));
    let preferred = call(&app, "POST /api/v1/jobs", &[JSON, ("prefer", "wait=60")], ECHO).await;
    assert_eq!(preferred.json()["state"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_time_is_over_and_when_the_node_is_stopped() {
    let (app, hand) = start();
    let answer = call(&app, "POST /api/v1/jobs?wait=200ms", &[JSON], ECHO).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (StatusCode::CREATED, Some("queued")));
    let waits = app.clone();
    let waiting = tokio::spawn(async move { call(&waits, "POST /api/v1/jobs?wait=5m", &[JSON], ECHO).await });
    let mut events = hand.front.events.subscribe();
    events.recv().await.unwrap();
    hand.front.valve.turn(true);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.problem(), (503, "outcome-unknown".into()));
    assert!(answer.json()["id"].is_string() && answer.json()["accepted"].is_null());
}

#[tokio::test]
async fn cancelling_twice_is_one_cancelling_and_an_ended_job_stays_as_it_is() {
    let (app, hand) = start();
    let open = hand.accept(5, "sleep", b"1");
    let line = format!("POST /api/v1/jobs/{open}/cancel");
    for _ in 0..2 {
        let answer = call(&app, &line, &[], "").await;
        assert_eq!((answer.status, answer.json()["state"].as_str()), (StatusCode::OK, Some("cancelled")));
    }
    let done = hand.accept(6, "sleep", b"1");
    hand.run(done, b"1");
    let answer = call(&app, &format!("POST /api/v1/jobs/{done}/cancel"), &[], "").await;
    assert_eq!(answer.problem(), (409, "ended".into()));
    let failed = hand.accept(7, "sleep", b"x");
    hand.assign(failed);
    hand.finish(failed, Outcome::failure(Reason::Exit, "no number".into()));
    let unknown = call(&app, &format!("POST /api/v1/jobs/{}/cancel", JobId(99)), &[], "").await;
    assert_eq!(unknown.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn a_submission_takes_the_shortcut_and_whatever_else_goes_there_does_not() {
    let (app, _hand) = start();
    // What a router answers has its length in the head already; without one it is written by whoever sends it.
    let is_routed = |answer: &Answer| answer.headers.contains_key("content-length");
    let raw = call(&app, "POST /api/v1/jobs?class=echo", &[], "x").await;
    let json = submit(&app, r#"{"class":"echo","payload":"x"}"#).await;
    let refused = submit(&app, r#"{"class":""}"#).await;
    assert_eq!([&raw, &json, &refused].map(|answer| answer.status.as_u16()), [201, 201, 422]);
    for answer in [&raw, &json, &refused] {
        assert!(!is_routed(answer) && answer.header("x-understudy-node") == "n1", "{:?}", answer.headers);
    }
    let list = get(&app, "/api/v1/jobs").await;
    let other = call(&app, "PUT /api/v1/jobs", &[], "x").await;
    assert_eq!(
        [&list, &other].map(|answer| (answer.status.as_u16(), is_routed(answer))),
        [(200, true), (405, true)]
    );
}
