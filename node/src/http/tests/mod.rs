//! The whole router against a pretended stage that holds a real ledger.

mod bad_input;
mod batches;
mod events;
mod guards;
mod history;
mod jobs;
mod logs;
mod retries;
mod stage;
mod views;
mod writes;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use logdb::door::Guarded;
use serde_json::Value;
use tower::ServiceExt;

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and word of a problem, checked to be one.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        assert!(!json["detail"].as_str().unwrap().is_empty() && !json["title"].as_str().unwrap().is_empty());
        let word = json["type"].as_str().unwrap().strip_prefix("/problems/").unwrap();
        (self.status.as_u16(), word.to_string())
    }
}

async fn send(app: &Guarded, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// `METHOD PATH`, headers, body.
async fn call(app: &Guarded, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(app, request.body(body.into()).unwrap()).await
}

async fn get(app: &Guarded, path: &str) -> Answer {
    call(app, &format!("GET {path}"), &[], Body::empty()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn submit(app: &Guarded, json: &str) -> Answer {
    call(app, "POST /api/v1/jobs", &[JSON], json.to_string()).await
}
