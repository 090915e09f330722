//! `POST /jobs/batch`: several jobs with one acknowledgement, all or none.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use protocol::submit::{self, FieldError};
use protocol::{Answer, Batch, JobId, JobSpec, Request, limits};
use serde::Serialize;
use serde_json::Value;

use super::desk::Desk;
use super::params::{self, Params};
use super::problem::{self, Kind, Problem};
use super::{body, shown, warning};

/// Faults told of one batch; more are not looked for.
const FAULTS: usize = 100;

/// The answer: the jobs' ids in the order of the request. This version gives a batch no name of its own.
#[derive(Serialize)]
struct Taken {
    batch: Option<String>,
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

pub(super) async fn submit(State(desk): State<Desk>, request: HttpRequest) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Params::read(&parts.uri, &[]).map_err(Problem::not_accepted)?;
    let key = params::idempotency_key(&parts.headers).map_err(Problem::not_accepted)?;
    let read = read(&parts.headers, body, key.is_some()).await;
    let (specs, fingerprint) = read.map_err(Problem::not_accepted)?;
    let warning = warning::of_batch(&desk, &specs).await;
    let first = desk.mint_all(specs.len())?;
    let batch = Batch { first, specs, key, fingerprint };
    let answer = desk.request(Request::SubmitAll(batch)).await?;
    let Answer::AllAccepted { first, jobs, replayed } = answer else {
        return Err(problem::outcome_unknown(Some(first)));
    };
    if desk.is_stopped() {
        return Err(problem::outcome_unknown(Some(first)));
    }
    Ok(answered(first, jobs as usize, replayed, warning))
}

fn answered(first: JobId, jobs: usize, replayed: bool, warning: Option<String>) -> Response {
    let ids = first.following(jobs).map(|id| id.to_string()).collect();
    let mut response = shown::json(&Taken { batch: None, ids, warning });
    *response.status_mut() = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    if replayed {
        let yes = axum::http::HeaderValue::from_static("true");
        response.headers_mut().insert("idempotent-replayed", yes);
    }
    response
}

/// The jobs, and what tells this request from another one under the same key (only looked at when there is a key).
async fn read(
    headers: &HeaderMap,
    body: Body,
    has_key: bool,
) -> Result<(Vec<Arc<JobSpec>>, [u8; 32]), Problem> {
    let media_type = body::media_type(headers);
    let by_line = match &*media_type {
        "application/x-ndjson" => true,
        "application/json" => false,
        _ => {
            let detail = "must be application/json or application/x-ndjson";
            return Err(Problem::field(Kind::Invalid, "Content-Type", detail, None));
        }
    };
    let bytes = body::read(headers, body, "body", limits::BATCH_BODY_BYTES).await?;
    let items = if by_line { lines(&bytes)? } else { list(body::json(&bytes)?)? };
    if items.is_empty() || items.len() > limits::BATCH_JOBS {
        let detail = format!("has {} jobs; a batch has 1 to {}", items.len(), limits::BATCH_JOBS);
        return Err(Problem::field(Kind::Invalid, "jobs", detail, Some(limits::BATCH_JOBS as u64)));
    }
    let specs = specs(&items)?;
    let fingerprint = if has_key { submit::fingerprint("", &Value::Array(items)) } else { [0; 32] };
    Ok((specs, fingerprint))
}

/// One job a line; empty lines are none.
fn lines(bytes: &Bytes) -> Result<Vec<Value>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.take(limits::BATCH_JOBS + 1).map(body::json).collect()
}

fn list(value: Value) -> Result<Vec<Value>, Problem> {
    let wrong = |field: &str, detail: &str| Problem::field(Kind::Invalid, field, detail, None);
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(mut fields) => {
            let jobs = fields.remove("jobs");
            if let Some(name) = fields.keys().next() {
                let name: String = name.chars().take(200).collect();
                return Err(wrong(&name, "is not supported by this version"));
            }
            match jobs {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(wrong("jobs", "must be a list of jobs")),
            }
        }
        _ => Err(wrong("body", "must be a list of jobs, or an object with jobs")),
    }
}

fn specs(items: &[Value]) -> Result<Vec<Arc<JobSpec>>, Problem> {
    let (mut specs, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (place, item) in items.iter().enumerate() {
        let read = match item {
            Value::Object(fields) => submit::parse(fields),
            _ => {
                let (field, detail) = (String::new(), "must be a JSON object".to_string());
                Err(vec![FieldError { field, detail, limit: None }])
            }
        };
        match read {
            Ok(spec) => specs.push(Arc::new(spec)),
            Err(errors) => faults.extend(errors.into_iter().map(|error| placed(place, error))),
        }
        if faults.len() >= FAULTS {
            break;
        }
    }
    if faults.is_empty() { Ok(specs) } else { Err(Problem::fields(Kind::Invalid, faults)) }
}

/// A fault with the place of its job: `[17].timeout`.
fn placed(place: usize, error: FieldError) -> FieldError {
    let dot = if error.field.is_empty() { "" } else { "." };
    FieldError { field: format!("[{place}]{dot}{}", error.field), ..error }
}
