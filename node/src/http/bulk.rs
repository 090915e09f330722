//! `POST /jobs/retry` and `POST /jobs/cancel`: whatever fits a filter, newest acceptance first, at most so many a call.
//!
//! The jobs are chosen here, from this node's own state after a majority confirmed it; the leader hears of each of them by
//! its id. So a call is no single step: one that ends with an error may have done a part, and is repeated.
//! A retry under an `Idempotency-Key` gives each job that fits one key, made of that and of the job's id. However often the
//! call is repeated, a job is retried under it once, and what it made itself it leaves alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use futures_util::future::join_all;
use master::Ledger;
use protocol::submit::fingerprint;
use protocol::{Answer, Job, JobId, JobState, Request};
use serde::Serialize;
use serde_json::json;

use super::desk::Desk;
use super::jobs::{cursor, read_cursor, read_filter};
use super::limits::{
    APPLY_PATIENCE, BULK_AT_ONCE, BULK_AT_ONCE_BYTES, BULK_JOBS, BULK_TIME, CONFIRM_PATIENCE,
};
use super::params::{self, Params};
use super::problem::{self, Kind, Problem};
use super::{retry, shown};
use crate::archive::{self, Archive, Filter, Listed};
use crate::ask::View;

const FILTERS: [&str; 5] = ["state", "class", "label", "submitter", "q"];
const KNOWN: [&str; 7] = ["state", "class", "label", "submitter", "q", "limit", "after"];
/// What may be cancelled: whatever has not ended.
const OPEN: [JobState; 4] = [JobState::Scheduled, JobState::Blocked, JobState::Queued, JobState::Running];

/// The answer: ids, in the order of the list, and where the next call goes on.
#[derive(Serialize)]
struct Done {
    ids: Vec<String>,
    next: Option<String>,
}

/// Which jobs a call is for.
struct Choice {
    filter: Filter,
    below: Option<u64>,
    limit: usize,
    /// What tells this filter from another one under the same key.
    words: String,
}

/// What became of one job.
struct Retried {
    id: JobId,
    is_new: bool,
}

pub(super) async fn retry(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let until = Instant::now() + BULK_TIME;
    let choice = Choice::read(&uri, &retry::STATES)?;
    let key = params::idempotency_key(&headers)?;
    let view = confirmed(&desk, CONFIRM_PATIENCE).await?;
    let archive = desk.served.front.history.now();
    if archive.as_ref().is_some_and(|archive| !archive.is_complete()) {
        return Err(problem::incomplete());
    }
    let (jobs, mut next) = choice.jobs(&view, archive, until).await?;
    let own = |listed: &Listed| key.as_deref().is_some_and(|key| is_made_by(key, &view.ledger, &listed.job));
    let jobs: Vec<Listed> = jobs.into_iter().filter(|listed| !own(listed)).collect();
    let mut done: Vec<Retried> = Vec::new();
    let mut left = jobs.as_slice();
    while let Some(last) = parts(&mut left) {
        let one = |listed: &Listed| retry_one(&desk, &view, listed.job.id, key.as_deref(), &choice.words);
        for retried in join_all(last.iter().map(one)).await {
            done.extend(retried.map_err(|problem| in_part(problem, done.len()))?);
        }
        if !left.is_empty() && Instant::now() >= until {
            next = last.last().map(|listed| listed.job.order);
            break;
        }
    }
    let is_new = done.iter().any(|retried| retried.is_new);
    let mut response = answer(&desk, done.iter().map(|retried| retried.id), next).await?;
    if !done.is_empty() && !is_new {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

pub(super) async fn cancel(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let until = Instant::now() + BULK_TIME;
    let choice = Choice::read(&uri, &OPEN)?;
    params::idempotency_key(&headers)?;
    let view = confirmed(&desk, CONFIRM_PATIENCE).await?;
    // What is open is in every ledger.
    let (jobs, mut next) = choice.jobs(&view, None, until).await?;
    drop(view);
    let mut done = Vec::new();
    let mut left = jobs.as_slice();
    while let Some(last) = parts(&mut left) {
        for cancelled in join_all(last.iter().map(|listed| cancel_one(&desk, listed.job.id))).await {
            done.extend(cancelled.map_err(|problem| in_part(problem, done.len()))?);
        }
        if !left.is_empty() && Instant::now() >= until {
            next = last.last().map(|listed| listed.job.order);
            break;
        }
    }
    answer(&desk, done.into_iter(), next).await
}

impl Choice {
    /// A filter has to be named, and no state that the call is not for.
    fn read(uri: &Uri, states: &[JobState]) -> Result<Self, Problem> {
        let params = Params::read(uri, &KNOWN)?;
        let words = || states.iter().map(|state| state.word()).collect::<Vec<_>>().join(", ");
        if FILTERS.iter().all(|name| params.get(name).is_none_or(str::is_empty)) {
            let detail = format!("or another filter is required: one of {}", FILTERS.join(", "));
            return Err(Problem::field(Kind::Invalid, "state", detail, None));
        }
        let mut filter = read_filter(&params)?;
        if filter.states.iter().any(|state| !states.contains(state)) {
            let detail = format!("must be one of {} here", words());
            return Err(Problem::field(Kind::Invalid, "state", detail, None));
        }
        if filter.states.is_empty() {
            filter.states = states.to_vec();
        }
        let limit = params.number("limit", 1, BULK_JOBS as u64)?.map_or(BULK_JOBS, |limit| limit as usize);
        let below = params.get("after").map(read_cursor).transpose()?;
        let words = format!("{filter:?}");
        Ok(Self { filter, below, limit, words })
    }

    /// The jobs that fit, and where to go on: page after page, until there are enough or the time is over.
    async fn jobs(
        &self,
        view: &View,
        archive: Option<Archive>,
        until: Instant,
    ) -> Result<(Vec<Listed>, Option<u64>), Problem> {
        let (mut jobs, mut below) = (Vec::new(), self.below);
        loop {
            let (ledger, filter) = (view.ledger.clone(), self.filter.clone());
            let wanted = self.limit - jobs.len();
            let page = archive::page(ledger, archive.clone(), filter, below, wanted).await;
            let page = page.map_err(|error| problem::history(&error))?;
            jobs.extend(page.jobs);
            below = page.next;
            if below.is_none() || jobs.len() >= self.limit || Instant::now() >= until {
                return Ok((jobs, below));
            }
        }
    }
}

/// Takes the next jobs that are asked for at once off the rest; none: there are no more.
fn parts<'a>(left: &mut &'a [Listed]) -> Option<&'a [Listed]> {
    let mut bytes = 0;
    let fits = |listed: &&Listed| {
        bytes += listed.payload_bytes;
        bytes <= BULK_AT_ONCE_BYTES
    };
    let many = left.iter().take(BULK_AT_ONCE).take_while(fits).count().max(1).min(left.len());
    let (part, rest) = left.split_at(many);
    *left = rest;
    (many > 0).then_some(part)
}

async fn confirmed(desk: &Desk, patience: Duration) -> Result<View, Problem> {
    match desk.confirmed(patience).await {
        Some(view) => Ok(view),
        None if desk.is_stopped() => Err(problem::stopped()),
        None => {
            let detail = "no majority could be asked which jobs there are; repeating is safe";
            Err(Problem::new(Kind::NoQuorum, detail).not_accepted())
        }
    }
}

/// Answers once this node knows of what was done, so that whoever looks here next sees it.
async fn answer(
    desk: &Desk,
    ids: impl Iterator<Item = JobId>,
    next: Option<u64>,
) -> Result<Response, Problem> {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if !ids.is_empty() {
        desk.confirmed(APPLY_PATIENCE).await;
    }
    if desk.is_stopped() {
        return Err(problem::outcome_unknown(None));
    }
    Ok(shown::json(&Done { ids, next: next.map(cursor) }))
}

/// The key of one job's retry. No user's key has such a character.
fn key_of(key: &str, of: JobId) -> String {
    format!("\u{1}retry {of} {key}")
}

/// Whether a call under this key made this job: then it is not for the same call again.
fn is_made_by(key: &str, ledger: &Ledger, job: &Job) -> bool {
    let of = job.spec.more.retry_of;
    of.is_some_and(|of| ledger.job_of_key(&key_of(key, of)) == Some(job.id))
}

/// None: it is past its retention by now.
async fn retry_one(
    desk: &Desk,
    view: &View,
    id: JobId,
    key: Option<&str>,
    words: &str,
) -> Result<Option<Retried>, Problem> {
    let Some(job) = desk.job(view, id).await? else { return Ok(None) };
    let (job, of) = (desk.mint()?, job);
    let request = Request::Submit {
        job,
        spec: Arc::new(retry::again(&of)),
        key: key.map(|key| key_of(key, id)),
        fingerprint: fingerprint("retry", &json!(words)),
    };
    match desk.request(request).await? {
        Answer::Accepted { job, replayed } => Ok(Some(Retried { id: job, is_new: !replayed })),
        _ => Err(problem::outcome_unknown(Some(job))),
    }
}

/// None: it had ended by itself.
async fn cancel_one(desk: &Desk, id: JobId) -> Result<Option<JobId>, Problem> {
    match desk.request(Request::Cancel { job: id }).await {
        Ok(_) => Ok(Some(id)),
        Err(problem) if matches!(problem.kind, Kind::Ended | Kind::NotFound) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The call ended before it was through: of it as a whole nobody can say that nothing remains.
fn in_part(problem: Problem, done: usize) -> Problem {
    problem.in_part(&format!(
        "at least {done} jobs of this call were done; repeat it with the same Idempotency-Key"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(query: &str, states: &[JobState]) -> Result<Choice, Problem> {
        Choice::read(&format!("/api/v1/jobs/retry{query}").parse().unwrap(), states)
    }

    #[test]
    fn a_filter_must_be_named_and_fit_what_is_done() {
        assert_eq!(choice("?class=sh", &retry::STATES).ok().unwrap().filter.states, retry::STATES);
        assert_eq!(choice("?state=queued,running", &OPEN).ok().unwrap().filter.states.len(), 2);
        assert_eq!(choice("?label=a=b&limit=7", &OPEN).ok().unwrap().limit, 7);
        for bad in
            ["", "?limit=5", "?class=", "?state=succeeded", "?state=running", "?class=a&limit=10001", "?x=y"]
        {
            assert!(choice(bad, &retry::STATES).is_err(), "{bad}");
        }
    }
}
