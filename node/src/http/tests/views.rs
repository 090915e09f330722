//! Views and messages over HTTP.

use serde_json::{Value, json};

use super::stage::start;
use super::{JSON, call, get};
use crate::news::{MESSAGE_VALUE_BYTES, WORD_BYTES};

#[tokio::test]
async fn what_is_said_is_in_the_view_as_it_was_said() {
    let (app, _hand) = start();
    assert_eq!(get(&app, "/api/v1/views").await.json(), json!({}));
    let said = r#"{"kind":"weather","name":"hall-2","value": {"b":[1,null],"a":21.50}}"#;
    let answer = call(&app, "POST /api/v1/messages", &[JSON], said).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let receipt = answer.json();
    assert_eq!((&receipt["node"], &receipt["topic"]), (&json!("n1"), &json!("msg/weather/hall-2")));
    assert_eq!(receipt["number"], 1);
    let all = get(&app, "/api/v1/views").await;
    assert_eq!(all.text(), r#"{"n1":{"msg/weather/hall-2":{"b":[1,null],"a":21.50}}}"#);
    for node in ["n1", "self"] {
        let one = get(&app, &format!("/api/v1/views/{node}/msg/weather/hall-2")).await;
        assert_eq!(
            (one.text().as_str(), one.header("x-understudy-age")),
            (r#"{"b":[1,null],"a":21.50}"#, "0")
        );
    }
    let one = get(&app, "/api/v1/views/n1/msg%2Fweather%2Fhall-2").await;
    assert_eq!(one.status, 200);
}

#[tokio::test]
async fn what_is_not_known_is_404() {
    let (app, _hand) = start();
    for path in ["/api/v1/views/n1/common", "/api/v1/views/nobody/state", "/api/v1/views/n1/msg/a/b"] {
        assert_eq!(get(&app, path).await.problem(), (404, "not-found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_meant_is_refused_by_field_and_limit() {
    let (app, _hand) = start();
    let long = "k".repeat(WORD_BYTES + 1);
    let large = json!("v".repeat(MESSAGE_VALUE_BYTES)).to_string();
    for (body, field, limit) in [
        ("[]".to_string(), "body", Value::Null),
        ("{}".to_string(), "kind", WORD_BYTES.into()),
        (json!({"kind": "k", "value": 1}).to_string(), "name", WORD_BYTES.into()),
        (json!({"kind": "k", "name": "n"}).to_string(), "value", Value::Null),
        (json!({"kind": long, "name": "n", "value": 1}).to_string(), "kind", WORD_BYTES.into()),
        (json!({"kind": "k", "name": "a/b", "value": 1}).to_string(), "name", WORD_BYTES.into()),
        (json!({"kind": "k", "name": "..", "value": 1}).to_string(), "name", WORD_BYTES.into()),
        (json!({"kind": "k", "name": "", "value": 1}).to_string(), "name", WORD_BYTES.into()),
        (json!({"kind": 7, "name": "n", "value": 1}).to_string(), "kind", WORD_BYTES.into()),
        (json!({"kind": "k", "name": "n", "value": 1, "to": 1}).to_string(), "to", Value::Null),
        (format!(r#"{{"kind":"k","name":"n","value":{large}}}"#), "value", MESSAGE_VALUE_BYTES.into()),
    ] {
        let answer = call(&app, "POST /api/v1/messages", &[JSON], body.clone()).await;
        assert_eq!(answer.problem(), (422, "invalid".into()), "{body:.80}");
        let errors = answer.json()["errors"].clone();
        let error = errors.as_array().unwrap().iter().find(|error| error["field"] == field);
        assert_eq!(error.unwrap_or_else(|| panic!("{errors}"))["limit"], limit, "{body:.80}");
    }
    for kind in ["common", "static", "dynamic", "state"] {
        let body = json!({"kind": kind, "name": "n", "value": 1}).to_string();
        assert_eq!(call(&app, "POST /api/v1/messages", &[JSON], body).await.problem().0, 422, "{kind}");
    }
    let deep = format!(r#"{{"kind":"k","name":"n","value":{}}}"#, "[".repeat(1_000));
    assert_eq!(call(&app, "POST /api/v1/messages", &[JSON], deep).await.problem().0, 400);
    assert_eq!(get(&app, "/api/v1/views").await.json(), json!({}), "nothing of all that was said");
}

#[tokio::test]
async fn a_repeated_key_says_a_message_once() {
    let (app, _hand) = start();
    let say = async |value: u32| {
        let body = json!({"kind": "k", "name": "n", "value": value}).to_string();
        call(&app, "POST /api/v1/messages", &[JSON, ("idempotency-key", "one")], body).await
    };
    let first = say(1).await.json();
    assert_eq!(say(1).await.json(), first);
    assert_eq!(say(2).await.problem(), (422, "key-reused".into()));
}

#[tokio::test]
async fn another_site_and_a_stopped_node_say_nothing() {
    let (app, hand) = start();
    let body = r#"{"kind":"k","name":"n","value":1}"#;
    let foreign = call(&app, "POST /api/v1/messages", &[JSON, ("origin", "http://evil.example")], body).await;
    assert_eq!(foreign.problem(), (403, "cross-site".into()));
    hand.front.valve.turn(true);
    for line in ["POST /api/v1/messages", "GET /api/v1/views"] {
        assert_eq!(call(&app, line, &[JSON], body).await.problem(), (503, "stopped".into()));
    }
}
