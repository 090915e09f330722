//! `POST /jobs/{id}/retry`: a job that gave up, or was cancelled, once more: as a new job that names the old one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use protocol::submit::fingerprint;
use protocol::{Job, JobSpec, JobState, More};
use serde_json::json;

use super::desk::Desk;
use super::params::{self, Params};
use super::problem::{Kind, Problem};
use super::{job, submit};

/// What may be retried: whatever ended without success.
pub(super) const STATES: [JobState; 2] = [JobState::Failed, JobState::Cancelled];

pub(super) async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = params::job_id(&id)?;
    let wait = Params::read(&uri, &["wait"])?.wait()?.or_else(|| params::prefer_wait(&headers));
    let key = params::idempotency_key(&headers)?;
    let job = job::ended_as_far_as_known(&desk, id).await?;
    if !STATES.contains(&job.state) {
        let detail = format!(
            "only a job that failed or was cancelled can be retried; this one is {}",
            job.state.word()
        );
        return Err(Problem::new(Kind::Ended, detail).about(Some(id)).not_accepted());
    }
    let mark = fingerprint("retry", &json!(id.to_string()));
    submit::take(&desk, Arc::new(again(&job)), key.map(|key| (key, mark)), wait).await
}

/// What that job asked for, asked for anew.
pub(super) fn again(job: &Job) -> JobSpec {
    let asked = &*job.spec;
    JobSpec { more: More { retry_of: Some(job.id), ..asked.more.clone() }, ..asked.clone() }
}
