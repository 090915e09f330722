//! Errors as users see them: `application/problem+json`, one word a kind, with the field and the limit that were broken.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::submit::FieldError;
use serde::Serialize;

/// The kinds of errors of the public surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: a parameter or body cannot be read.
    Malformed,
    /// 401: the token is missing, or wrong.
    Unauthorized,
    /// 403: not for this caller.
    Forbidden,
    /// 403: another site is behind the request.
    CrossSite,
    /// 403: `/stop` is not enabled.
    ChaosOff,
    /// 404: there is no such thing.
    NotFound,
    /// 405: not by this method.
    MethodNotAllowed,
    /// 409: the job has ended.
    Ended,
    /// 409: a live node bears the name.
    NameTaken,
    /// 410: it is past its retention.
    Forgotten,
    /// 413: the request is too large.
    TooLarge,
    /// 421: the request is meant for another host.
    WrongHost,
    /// 422: what is asked for makes no sense.
    Invalid,
    /// 422: the key was used for another request.
    KeyReused,
    /// 429: too much waits already.
    Full,
    /// 429: too many wrong tokens.
    RateLimited,
    /// 500: a fault of ours.
    Broken,
    /// 503: the soft crash.
    Stopped,
    /// 503: the cluster is not there yet.
    Starting,
    /// 503: no majority can be reached.
    NoQuorum,
    /// 503: nobody knows what became of it.
    OutcomeUnknown,
    /// 503: the log store does not say.
    LogStoreAway,
}

impl Kind {
    /// Its word, its status, its title.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        let away = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "The token is missing or wrong"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This is not for you"),
            Self::CrossSite => ("cross-site", StatusCode::FORBIDDEN, "The request comes from another site"),
            Self::ChaosOff => ("chaos-off", StatusCode::FORBIDDEN, "Stopping is not enabled here"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not by this method")
            }
            Self::Ended => ("ended", StatusCode::CONFLICT, "The job has ended"),
            Self::NameTaken => ("name-taken", StatusCode::CONFLICT, "A live node bears this name"),
            Self::Forgotten => ("forgotten", StatusCode::GONE, "It is past its retention"),
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
            Self::WrongHost => ("wrong-host", StatusCode::MISDIRECTED_REQUEST, "This is not that host"),
            Self::Invalid => {
                ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "The request asks for the impossible")
            }
            Self::KeyReused => {
                ("key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The key was used for another request")
            }
            Self::Full => ("full", StatusCode::TOO_MANY_REQUESTS, "Too much waits already"),
            Self::RateLimited => ("rate-limited", StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens"),
            Self::Broken => ("broken", StatusCode::INTERNAL_SERVER_ERROR, "A mistake was made here"),
            Self::Stopped => ("stopped", away, "This container is stopped"),
            Self::Starting => ("starting", away, "The cluster is starting"),
            Self::NoQuorum => ("no-quorum", away, "No majority can be reached"),
            Self::OutcomeUnknown => ("outcome-unknown", away, "The outcome is not known"),
            Self::LogStoreAway => ("log-store-away", away, "The log store cannot be asked"),
        }
    }
}

/// One error, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    accepted: Option<bool>,
    id: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Problem {
    /// One of this kind; `detail` says what is wrong with this very request.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), accepted: None, id: None }
    }

    /// One field is wrong.
    #[must_use]
    pub fn field(kind: Kind, field: &str, detail: impl Into<String>, limit: Option<u64>) -> Self {
        Self::fields(kind, vec![FieldError { field: field.to_string(), detail: detail.into(), limit }])
    }

    /// Several fields are wrong.
    #[must_use]
    pub fn fields(kind: Kind, errors: Vec<FieldError>) -> Self {
        let told: Vec<String> = errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect();
        Self { errors, ..Self::new(kind, told.join("; ")) }
    }

    /// The soft crash of a container, called by this word (`node`, `container`).
    #[must_use]
    pub fn stopped(word: &str) -> Self {
        let back = "GET /stop or POST /api/v1/nodes/self/resume brings it back";
        Self::new(Kind::Stopped, format!("this {word} was stopped; {back}"))
    }

    /// It is about the job with this id.
    #[must_use]
    pub fn about(self, id: Option<impl ToString>) -> Self {
        Self { id: id.map(|id| id.to_string()), ..self }
    }

    /// A part of the request was carried out, whatever became of the rest.
    #[must_use]
    pub fn in_part(self, words: &str) -> Self {
        Self { detail: format!("{}; {words}", self.detail), accepted: None, ..self }
    }

    /// Nothing of the request remains, and nothing will come of it.
    #[must_use]
    pub fn not_accepted(self) -> Self {
        Self { accepted: Some(false), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (word, status, title) = self.kind.parts();
        let body = Body {
            kind: format!("/problems/{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            accepted: self.accepted,
            id: self.id.as_deref(),
        };
        let text = match serde_json::to_string(&body) {
            Ok(text) => text,
            Err(error) => unreachable!("texts and numbers are always JSON: {error}"),
        };
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], text).into_response();
        let (name, value) = match self.kind {
            Kind::Full => (header::RETRY_AFTER, "1"),
            Kind::RateLimited => (header::RETRY_AFTER, "6"),
            Kind::Unauthorized => (header::WWW_AUTHENTICATE, "Bearer realm=\"understudy\""),
            _ => return response,
        };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}
