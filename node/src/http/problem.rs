//! Errors as users see them: `application/problem+json`, one word a kind, with the field and the limit that were broken.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::submit::FieldError;
use protocol::{JobId, Refusal};
use serde::Serialize;

/// The kinds of errors of the public surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    CrossSite,
    ChaosOff,
    NotFound,
    MethodNotAllowed,
    Ended,
    NameTaken,
    TooLarge,
    WrongHost,
    Invalid,
    KeyReused,
    Full,
    Broken,
    Stopped,
    Starting,
    NoQuorum,
    OutcomeUnknown,
}

impl Kind {
    /// Its word, its status, its title.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::CrossSite => ("cross-site", StatusCode::FORBIDDEN, "The request comes from another site"),
            Self::ChaosOff => ("chaos-off", StatusCode::FORBIDDEN, "Stopping nodes is not enabled here"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not by this method")
            }
            Self::Ended => ("ended", StatusCode::CONFLICT, "The job has ended"),
            Self::NameTaken => ("name-taken", StatusCode::CONFLICT, "A live node bears this name"),
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
            Self::WrongHost => ("wrong-host", StatusCode::MISDIRECTED_REQUEST, "This is not that host"),
            Self::Invalid => {
                ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "The request asks for the impossible")
            }
            Self::KeyReused => {
                ("key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The key was used for another request")
            }
            Self::Full => ("full", StatusCode::TOO_MANY_REQUESTS, "Too much waits already"),
            Self::Broken => ("broken", StatusCode::INTERNAL_SERVER_ERROR, "This node made a mistake"),
            Self::Stopped => ("stopped", StatusCode::SERVICE_UNAVAILABLE, "This node is stopped"),
            Self::Starting => ("starting", StatusCode::SERVICE_UNAVAILABLE, "The cluster is starting"),
            Self::NoQuorum => ("no-quorum", StatusCode::SERVICE_UNAVAILABLE, "No majority can be reached"),
            Self::OutcomeUnknown => {
                ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "The outcome is not known")
            }
        }
    }
}

/// One error, ready to be answered.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    accepted: Option<bool>,
    id: Option<JobId>,
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
    id: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), accepted: None, id: None }
    }

    /// One field is wrong.
    pub(super) fn field(kind: Kind, field: &str, detail: impl Into<String>, limit: Option<u64>) -> Self {
        Self::fields(kind, vec![FieldError { field: field.to_string(), detail: detail.into(), limit }])
    }

    /// Several fields are wrong.
    pub(super) fn fields(kind: Kind, errors: Vec<FieldError>) -> Self {
        let told: Vec<String> = errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect();
        Self { errors, ..Self::new(kind, told.join("; ")) }
    }

    /// Faults of a submission: too large when that is all that is wrong.
    pub(super) fn submission(errors: Vec<FieldError>) -> Self {
        let only_size = errors.iter().all(|e| e.field == "payload" && e.limit.is_some());
        Self::fields(if only_size { Kind::TooLarge } else { Kind::Invalid }, errors)
    }

    /// It may or may not become true.
    pub(super) fn outcome_unknown(id: Option<JobId>) -> Self {
        let detail = match id {
            Some(_) => {
                "the request may have been accepted: ask for this id, or repeat it with the same Idempotency-Key"
            }
            None => "the request may have been carried out: look, or repeat it",
        };
        Self { id, ..Self::new(Kind::OutcomeUnknown, detail) }
    }

    /// Nothing of it remains, and nothing will come of it.
    pub(super) fn not_accepted(self) -> Self {
        Self { accepted: Some(false), ..self }
    }

    pub(super) fn stopped() -> Self {
        Self::new(
            Kind::Stopped,
            "this node was stopped; GET /stop or POST /api/v1/nodes/self/resume brings it back",
        )
    }

    /// The leader said no.
    pub(super) fn refused(refusal: Refusal, id: Option<JobId>) -> Self {
        match refusal {
            Refusal::NotLeader | Refusal::Stale => {
                Self::new(Kind::NoQuorum, "no leader took the request").not_accepted()
            }
            Refusal::Starting => {
                Self::new(Kind::Starting, "too few voters have been in sync yet; writes open when they are")
                    .not_accepted()
            }
            Refusal::Full => {
                Self::new(Kind::Full, "the queue is at its bound; try again later").not_accepted()
            }
            Refusal::KeyReused { job } => Self {
                id: Some(job),
                ..Self::new(Kind::KeyReused, "this Idempotency-Key made another job from another request")
            },
            Refusal::NameTaken { name } => {
                Self::new(Kind::NameTaken, format!("a live node already bears the name {name:?}"))
            }
            Refusal::NotFound => Self { id, ..Self::new(Kind::NotFound, "no such job is known") },
            Refusal::Ended { job } => {
                Self { id: Some(job), ..Self::new(Kind::Ended, "the job has ended already") }
            }
            Refusal::Impossible(why) => Self::new(Kind::Invalid, why),
        }
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
            id: self.id.map(|id| id.to_string()),
        };
        let mut response = (status, super::shown::json(&body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.kind, Kind::Full) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
