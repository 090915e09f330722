//! One job: as it is, what it was given, what it printed, why it stands where it stands.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::{AttemptRef, Job, JobId, limits};
use serde::Serialize;
use tokio::time::Instant;

use super::desk::{Awaited, Desk, aged};
use super::follow::{self, Wish};
use super::limits::CONFIRM_PATIENCE;
use super::params::{Params, job_id};
use super::problem::{self, Kind, Problem};
use super::shown::{self, Extent};
use super::{nodes, peers};
use crate::ask::View;

/// A job this node holds, and how old the news may be (none: confirmed just now).
struct Found {
    job: Arc<Job>,
    view: View,
    age_ms: Option<u64>,
}

impl Found {
    fn answer(&self, response: Response) -> Response {
        match self.age_ms {
            Some(age_ms) => aged(response, age_ms),
            None => response,
        }
    }
}

/// Finds a job. Confirmed by a majority where one can be reached; else a known job with its age, and no word about an unknown one.
async fn find(desk: &Desk, id: JobId, stale: bool) -> Result<Found, Problem> {
    let since = Instant::now();
    let confirmed = if stale { None } else { desk.confirmed(CONFIRM_PATIENCE).await };
    if let Some(view) = confirmed {
        return known(desk, view, id, None).await?.map_err(|view| problem::unknown_job(&view.ledger, id));
    }
    let view = desk.view().await?;
    let waited_ms = since.elapsed().as_millis() as u64;
    let age_ms = if stale { view.leaderless_ms } else { view.leaderless_ms.max(waited_ms) };
    if let Ok(found) = known(desk, view, id, Some(age_ms)).await? {
        return Ok(found);
    }
    // Somebody else may know it: only a majority can say that nobody does.
    let left = Duration::from_millis(limits::WRITE_PATIENCE_MS).saturating_sub(since.elapsed());
    match desk.confirmed(left).await {
        Some(view) => {
            known(desk, view, id, None).await?.map_err(|view| problem::unknown_job(&view.ledger, id))
        }
        None if desk.is_stopped() => Err(problem::stopped()),
        None => {
            Err(Problem::new(Kind::NoQuorum, "this node does not know the job, and no majority can be asked"))
        }
    }
}

/// The job, for doing something about its end. One that had not ended when this node last heard of it may have since: only a
/// majority can say that it has not.
pub(super) async fn ended_as_far_as_known(desk: &Desk, id: JobId) -> Result<Arc<Job>, Problem> {
    let found = find(desk, id, false).await?;
    if found.age_ms.is_some() && !found.job.state.is_terminal() {
        let detail = "no majority could be asked where the job stands; repeating is safe";
        return Err(Problem::new(Kind::NoQuorum, detail).not_accepted());
    }
    Ok(found.job)
}

/// The job as of this moment; else the moment itself.
async fn known(
    desk: &Desk,
    view: View,
    id: JobId,
    age_ms: Option<u64>,
) -> Result<Result<Found, View>, Problem> {
    Ok(match desk.job(&view, id).await? {
        Some(job) => Ok(Found { job, view, age_ms }),
        None => Err(view),
    })
}

pub(super) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let params = Params::read(&uri, &["stale", "wait"])?;
    let wait = params.wait()?.or_else(|| super::params::prefer_wait(&headers));
    let mut found = find(&desk, id, params.flag("stale")?).await?;
    if let Some(wait) = wait.filter(|_| !found.job.state.is_terminal()) {
        if matches!(desk.ended(id, wait).await, Awaited::Stopped) {
            return Err(problem::stopped());
        }
        let view = desk.view().await?;
        let age_ms = (view.leaderless_ms > 0).then_some(view.leaderless_ms).or(found.age_ms);
        let now = known(&desk, view, id, age_ms).await?;
        found = now.map_err(|view| problem::unknown_job(&view.ledger, id))?;
    }
    let shown = shown::job(&found.job, &found.view.ledger, Extent::Whole);
    let response = shown::json(&shown.with_progress(&found.job, &found.view.roster));
    Ok(found.answer(response))
}

pub(super) async fn payload(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["stale"])?;
    let found = find(&desk, job_id(&id)?, params.flag("stale")?).await?;
    let response = raw(found.job.spec.payload.clone());
    Ok(found.answer(response))
}

/// `GET /jobs/{id}/files/{name}`: a file of the result, else one that came with the job.
pub(super) async fn file(
    State(desk): State<Desk>,
    Path((id, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["stale"])?;
    let found = find(&desk, job_id(&id)?, params.flag("stale")?).await?;
    let made = found.job.result.as_ref().and_then(|outcome| outcome.files.get(&name));
    match made.or_else(|| found.job.spec.more.files.get(&name)) {
        Some(bytes) => Ok(found.answer(raw(bytes.clone()))),
        None => Err(Problem::new(Kind::NotFound, "the job has no such file")),
    }
}

/// `GET /jobs/{id}/output`: of an ended job its result; before, what came so far, from the node that runs it.
pub(super) async fn output(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let params = Params::read(request.uri(), &["stream", "attempt", "stale", "follow", "from"])?;
    let is_stderr = match params.get("stream") {
        None | Some("stdout") => false,
        Some("stderr") => true,
        Some(_) => return Err(Problem::field(Kind::Invalid, "stream", "must be stdout or stderr", None)),
    };
    let wanted = params.number("attempt", 1, u64::from(u32::MAX))?.map(|number| number as u32);
    let passed_on = peers::is_passed_on(request.headers());
    if params.flag("follow")? {
        let from = params.number("from", 0, u64::MAX)?.unwrap_or(0);
        if !passed_on {
            // That there is such a job is said before the stream begins.
            find(&desk, id, params.flag("stale")?).await?;
        }
        return follow::answer(desk, Wish { job: id, is_stderr, attempt: wanted, from, passed_on });
    }
    let found = find(&desk, id, params.flag("stale")?).await?;
    let decided = found.job.result.as_ref();
    let number = wanted.or_else(|| found.job.attempts.last().map(|attempt| attempt.number));
    let Some(attempt) = found.job.attempts.iter().find(|attempt| Some(attempt.number) == number) else {
        let none = Problem::new(Kind::NotFound, "the job has no such attempt");
        return if wanted.is_some() { Err(none) } else { Ok(found.answer(raw(Bytes::new()))) };
    };
    let pick = |(stdout, stderr): (Bytes, Bytes)| raw(if is_stderr { stderr } else { stdout });
    if let Some(outcome) = decided.filter(|_| wanted.is_none() || decides(&found.job, attempt.number)) {
        return Ok(found.answer(pick((outcome.output.clone(), outcome.stderr.clone()))));
    }
    let place = AttemptRef { job: id, attempt: attempt.number };
    if let Some(so_far) = desk.served.front.outputs.read(place) {
        return Ok(found.answer(pick(so_far)));
    }
    if wanted.is_some() && Some(attempt.number) != found.job.current().map(|current| current.number) {
        return Err(Problem::new(Kind::NotFound, "the output of this attempt was not kept"));
    }
    let elsewhere = found.view.ledger.member(attempt.node).filter(|_| attempt.node != found.view.node);
    let relayed = match elsewhere {
        Some(member) => peers::relay(&desk, &member.http, request).await.ok(),
        None => None,
    };
    let response = relayed.filter(|response| response.status().is_success());
    Ok(response.unwrap_or_else(|| found.answer(raw(Bytes::new()))))
}

/// Whether this attempt brought the job's result.
pub(super) fn decides(job: &Job, number: u32) -> bool {
    let deciding = job.attempts.iter().rev().find(|attempt| attempt.state.word() == job.state.word());
    deciding.is_some_and(|attempt| attempt.number == number)
}

/// Bytes of a user, never taken for a page.
fn raw(bytes: Bytes) -> Response {
    let kind = match std::str::from_utf8(&bytes) {
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], Body::from(bytes)).into_response()
}

#[derive(Serialize)]
struct WhyShown {
    state: &'static str,
    text: String,
    chosen: Option<String>,
    nodes: Vec<Candidate>,
}

#[derive(Serialize)]
struct Candidate {
    name: String,
    fits: bool,
    reasons: Vec<ReasonShown>,
    score: u64,
}

#[derive(Serialize)]
struct ReasonShown {
    code: &'static str,
    text: String,
}

pub(super) async fn why(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["stale"])?;
    let found = find(&desk, job_id(&id)?, params.flag("stale")?).await?;
    let why = nodes::why(&desk, &found.job, &found.view);
    let name = |id| shown::node_name(&found.view.ledger, id);
    let nodes = why.nodes.into_iter().map(|line| Candidate {
        name: name(line.node),
        fits: line.fits,
        reasons: line
            .reasons
            .into_iter()
            .map(|reason| ReasonShown { code: reason.code, text: reason.text })
            .collect(),
        score: line.score,
    });
    let shown = WhyShown {
        state: why.state.word(),
        text: why.text,
        chosen: why.chosen.map(name),
        nodes: nodes.collect(),
    };
    Ok(found.answer(shown::json(&shown)))
}
