//! Errors as users see them: `application/problem+json`, one word a kind. For containers that are no nodes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// One error, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    accepted: Option<bool>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
}

impl Problem {
    /// `kind` is its word in the public surface (`/problems/KIND`).
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, status, title, detail: detail.into(), accepted: None }
    }

    /// 400: a parameter or body cannot be read.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// 403: another site is behind the request.
    #[must_use]
    pub fn cross_site(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross-site", "The request comes from another site", detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// 405.
    #[must_use]
    pub fn wrong_method(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not by this method", detail)
    }

    /// 503: the soft crash.
    #[must_use]
    pub fn stopped() -> Self {
        let detail = "this container was stopped; GET /stop brings it back";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "This container is stopped", detail)
    }

    /// 503: the log store does not say.
    #[must_use]
    pub fn log_store_away(detail: impl Into<String>) -> Self {
        let title = "The log store cannot be asked";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "log-store-away", title, detail)
    }

    /// Nothing of the request remains, and nothing will come of it.
    #[must_use]
    pub fn not_accepted(self) -> Self {
        Self { accepted: Some(false), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: format!("/problems/{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            accepted: self.accepted,
        };
        let text = match serde_json::to_string(&body) {
            Ok(text) => text,
            Err(error) => unreachable!("texts and numbers are always JSON: {error}"),
        };
        let kind = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, kind)], text).into_response()
    }
}
