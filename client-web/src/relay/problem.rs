//! Errors the relay itself has to tell; everything else is the answer of a node, as it came.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// One error.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    word: &'static str,
    title: &'static str,
    status: StatusCode,
    detail: String,
    accepted: Option<bool>,
    id: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, word: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { word, title, status, detail: detail.into(), accepted: None, id: None }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    pub(crate) fn full(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "full", "Too much waits already", detail)
    }

    /// Nobody took it.
    pub(crate) fn no_node() -> Self {
        let detail = "no node answers; repeating is safe";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-quorum", "No majority can be reached", detail)
    }

    /// It was handed to a node that did not say what became of it. `key` repeats it.
    pub(crate) fn outcome_unknown(id: Option<String>, key: Option<&str>) -> Self {
        let detail = match key {
            Some(key) => format!(
                "the request may have been carried out: repeat it with the Idempotency-Key {key}, or ask for the id if there is one"
            ),
            None => "the request may have been carried out: look before repeating it".to_string(),
        };
        let title = "The outcome is not known";
        Self { id, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", title, detail) }
    }

    /// Nothing of it remains, and nothing will come of it.
    pub(crate) fn not_accepted(self) -> Self {
        Self { accepted: Some(false), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("/problems/{}", self.word),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(accepted) = self.accepted {
            body["accepted"] = accepted.into();
        }
        if let Some(id) = self.id {
            body["id"] = id.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
