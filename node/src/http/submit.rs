//! `POST /jobs`: checked here, decided by the leader, answered only once a majority has it on disk.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use protocol::submit::{self, FieldError};
use protocol::{Answer, Job, JobId, JobSpec, JobState, Refusal, Request, Rev, limits};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::body;
use super::desk::{Awaited, Desk};
use super::params::{self, Params};
use super::problem::{self, Kind, Problem};
use super::shown::{self, Extent};
use super::warning;
use crate::ask::{Held, View};

/// A submission, read and checked.
struct Submission {
    spec: JobSpec,
    fingerprint: [u8; 32],
}

pub(super) async fn submit(State(desk): State<Desk>, request: HttpRequest) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let given = Params::read(&parts.uri, &["class", "wait"]).map_err(Problem::not_accepted)?;
    let wait = given.wait().map_err(Problem::not_accepted)?.or_else(|| params::prefer_wait(&parts.headers));
    let key = params::idempotency_key(&parts.headers).map_err(Problem::not_accepted)?;
    let read = read(&parts.headers, &parts.uri, given.get("class"), key.is_some(), body).await;
    let Submission { spec, fingerprint } = read.map_err(Problem::not_accepted)?;
    drop(given);
    drop(parts);
    take(&desk, Arc::new(spec), key.map(|key| (key, fingerprint)), wait).await
}

/// Has a job taken, under a key and what this request under it is told by if there is one, and waits for its end if asked.
pub(super) async fn take(
    desk: &Desk,
    spec: Arc<JobSpec>,
    key: Option<(String, [u8; 32])>,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    let (job, (key, fingerprint)) =
        (desk.mint()?, key.map_or((None, [0; 32]), |(key, mark)| (Some(key), mark)));
    let request = Request::Submit { job, spec: Arc::clone(&spec), key, fingerprint };
    let (Answer::Accepted { job: id, replayed }, held) = desk.decide(request).await? else {
        return Err(problem::outcome_unknown(Some(job)));
    };
    let unknown = || problem::outcome_unknown(Some(id));
    let mut held = match held {
        Some(held) => held,
        // A repeat of what is history by now; or this node is very late. In a box, as a request has one future for all that it
        // may come to, and a thousand requests are under way at once.
        None => Box::pin(desk.held_or_history(id)).await.unwrap_or_else(|| unseen(id, spec)),
    };
    if let Some(wait) = wait.filter(|wait| *wait > Duration::ZERO && !held.job.state.is_terminal()) {
        held = Box::pin(end_of(desk, id, wait, held)).await.ok_or_else(unknown)?;
    }
    if desk.is_stopped() {
        return Err(unknown());
    }
    let warning = match held.job.state {
        JobState::Queued => warning::of_one(desk, &held.job.spec).await,
        _ => None,
    };
    Ok(answered(&held, replayed, warning))
}

/// The job once it has ended, or as it is when the time is over. None: the node was stopped.
async fn end_of(desk: &Desk, id: JobId, wait: Duration, held: Held) -> Option<Held> {
    match desk.ended(id, wait).await {
        Awaited::Ended(ended) => Some(ended),
        Awaited::TimeOver => Some(desk.held(id).await.unwrap_or(held)),
        Awaited::Stopped => None,
    }
}

/// 201 (or 200 for a repeat) with the job as this node's ledger holds it.
fn answered(held: &Held, replayed: bool, warning: Option<String>) -> Response {
    let mut response = shown::json(&shown::held(held).with_warning(warning));
    *response.status_mut() = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/jobs/{}", held.job.id)) {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The job as it was acknowledged, for a node that is very late to apply it.
fn unseen(id: JobId, spec: Arc<JobSpec>) -> Held {
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let job = Job {
        id,
        spec,
        order: 0,
        state: JobState::Queued,
        reason: None,
        not_before_ms: None,
        not_before_wall_ms: None,
        submitted_wall_ms: now_ms,
        started_wall_ms: None,
        finished_wall_ms: None,
        attempts: Vec::new(),
        failures: 0,
        lost: 0,
        result: None,
        ending: None,
        rev: Rev::default(),
    };
    Held { job: Arc::new(job), members: Arc::default() }
}

async fn read(
    headers: &HeaderMap,
    uri: &Uri,
    class: Option<&str>,
    // Only a request with a key is ever compared with another.
    has_key: bool,
    body: Body,
) -> Result<Submission, Problem> {
    let query = uri.query().unwrap_or("");

    match &*body::media_type(headers) {
        "application/json" => {
            let bytes = body::read(headers, body, "body", limits::JSON_BODY_BYTES).await?;
            if class.is_some() {
                let detail = "is only for a body that is the payload itself, not for application/json";
                return Err(Problem::field(Kind::Invalid, "class", detail, None));
            }
            let value = body::json(&bytes)?;
            let Value::Object(fields) = &value else {
                return Err(Problem::field(Kind::Invalid, "body", "must be a JSON object", None));
            };
            let spec = submit::parse(fields).map_err(problem::submission)?;
            let fingerprint = if has_key { submit::fingerprint(query, &value) } else { [0; 32] };
            Ok(Submission { spec, fingerprint })
        }
        "application/x-ndjson" => {
            let detail = "application/x-ndjson is for batches; one job is application/json";
            Err(Problem::field(Kind::Invalid, "Content-Type", detail, None))
        }
        _ => {
            let Some(class) = class else { return Err(no_class()) };
            let payload = body::read(headers, body, "payload", limits::PAYLOAD_BYTES).await?;
            let hash = |payload: &[u8]| json!(<[u8; 32]>::from(Sha256::digest(payload)));
            let fingerprint = if has_key { submit::fingerprint(query, &hash(&payload)) } else { [0; 32] };
            let spec = submit::raw(class, body::own(payload)).map_err(problem::submission)?;
            Ok(Submission { spec, fingerprint })
        }
    }
}

fn no_class() -> Problem {
    let detail = "is required in the query (?class=echo) unless the body is application/json";
    Problem::fields(
        Kind::Invalid,
        vec![FieldError { field: "class".to_string(), detail: detail.to_string(), limit: None }],
    )
}

/// `POST /jobs/{id}/cancel`.
pub(super) async fn cancel(
    State(desk): State<Desk>,
    axum::extract::Path(id): axum::extract::Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = params::job_id(&id)?;
    params::idempotency_key(&headers)?;
    let shown = |(view, job): (View, Arc<Job>)| shown::json(&shown::job(&job, &view.ledger, Extent::Whole));
    match desk.request(Request::Cancel { job: id }).await {
        Ok(_) => {
            let found = desk.applied(id, |job| job.state.is_terminal()).await;
            found.map(shown).ok_or_else(|| problem::outcome_unknown(Some(id)))
        }
        // Cancelled before: that is what was asked for. The leader does not know jobs that are history.
        Err(problem) if matches!(problem.kind, Kind::Ended | Kind::NotFound) => {
            match desk.applied(id, |job| job.state.is_terminal()).await {
                Some(found) if found.1.state == JobState::Cancelled => Ok(shown(found)),
                Some(_) => Err(problem::refused(Refusal::Ended { job: id }, Some(id))),
                None if problem.kind == Kind::NotFound => {
                    Err(problem::unknown_job(&desk.view().await?.ledger, id))
                }
                None => Err(problem),
            }
        }
        Err(problem) => Err(problem),
    }
}
