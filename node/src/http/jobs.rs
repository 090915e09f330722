//! `GET /jobs`: this node's own state, newest first by acceptance, a page at a time.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use protocol::{Job, JobState, limits};
use serde::Serialize;

use super::desk::{Desk, aged};
use super::limits::{PAGE_JOBS_DEFAULT, SCAN_JOBS};
use super::params::Params;
use super::problem::{Kind, Problem};
use super::shown::{self, Extent, JobShown};

const KNOWN: [&str; 7] = ["state", "class", "label", "submitter", "q", "limit", "after"];

/// What a list is narrowed by: each kind of wish must fit, of several states one.
struct Filter {
    states: Vec<JobState>,
    class: Option<String>,
    labels: Vec<(String, String)>,
    submitter: Option<String>,
    text: Option<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<JobShown<'a>>,
    next: Option<String>,
    rev: String,
}

pub(super) async fn list(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &KNOWN)?;
    let filter = Filter::read(&params)?;
    let most = limits::PAGE_JOBS as u64;
    let limit = params.number("limit", 1, most)?.map_or(PAGE_JOBS_DEFAULT, |limit| limit as usize);
    let below = params.get("after").map(read_cursor).transpose()?;
    let view = desk.view().await?;
    let mut jobs = Vec::new();
    let mut next = None;
    for (looked, job) in view.ledger.newest(below).enumerate() {
        if jobs.len() == limit || looked == SCAN_JOBS {
            next = jobs_seen_until(job.order);
            break;
        }
        if filter.fits(job) {
            jobs.push(job);
        }
    }
    let items = jobs.iter().map(|job| shown::job(job, &view.ledger, Extent::Listed)).collect();
    let response = shown::json(&Page { items, next, rev: view.ledger.rev().to_string() });
    Ok(if view.leaderless_ms > 0 { aged(response, view.leaderless_ms) } else { response })
}

/// The cursor that leads on with the job of this order.
fn jobs_seen_until(order: u64) -> Option<String> {
    Some(format!("o{:x}", order.saturating_add(1)))
}

fn read_cursor(text: &str) -> Result<u64, Problem> {
    text.strip_prefix('o')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Problem::field(Kind::Invalid, "after", "must be the `next` of an earlier page", None))
}

impl Filter {
    fn read(params: &Params) -> Result<Self, Problem> {
        let mut states = Vec::new();
        for word in params.all("state").flat_map(|list| list.split(',')) {
            let state = JobState::ALL.into_iter().find(|state| state.word() == word);
            states.push(state.ok_or_else(|| {
                let words: Vec<&str> = JobState::ALL.iter().map(|state| state.word()).collect();
                Problem::field(Kind::Invalid, "state", format!("must be one of {}", words.join(", ")), None)
            })?);
        }
        let mut labels = Vec::new();
        for label in params.all("label") {
            let (name, value) = label
                .split_once('=')
                .ok_or_else(|| Problem::field(Kind::Invalid, "label", "must be name=value", None))?;
            labels.push((name.to_string(), value.to_string()));
        }
        Ok(Self {
            states,
            class: params.get("class").map(str::to_string),
            labels,
            submitter: params.get("submitter").map(str::to_string),
            text: params.get("q").filter(|text| !text.is_empty()).map(str::to_lowercase),
        })
    }

    fn fits(&self, job: &Job) -> bool {
        let spec = &job.spec;
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.class.as_ref().is_none_or(|class| *class == spec.class)
            && self.submitter.as_ref().is_none_or(|submitter| *submitter == spec.submitter)
            && self.labels.iter().all(|(name, value)| spec.labels.get(name) == Some(value))
            && self.text.as_ref().is_none_or(|text| mentions(job, text))
    }
}

/// `q` looks at id, class, labels and submitter, whatever the case.
fn mentions(job: &Job, text: &str) -> bool {
    let has = |field: &str| field.to_lowercase().contains(text);
    has(&job.id.to_string())
        || has(&job.spec.class)
        || has(&job.spec.submitter)
        || job.spec.labels.iter().any(|(name, value)| has(&format!("{name}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = jobs_seen_until(41).unwrap();
        assert_eq!(read_cursor(&cursor).ok(), Some(42));
        for bad in ["", "o", "42", "o+2a", "o10000000000000000"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
