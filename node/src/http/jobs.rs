//! `GET /jobs`: this node's own state, newest first by acceptance, a page at a time.

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use protocol::{JobState, limits};
use serde::Serialize;

use super::desk::{Desk, aged};
use super::limits::PAGE_JOBS_DEFAULT;
use super::params::Params;
use super::problem::{self, Kind, Problem};
use super::shown::{self, JobShown};
use crate::archive::{self, Archive, Filter};

const KNOWN: [&str; 7] = ["state", "class", "label", "submitter", "q", "limit", "after"];

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<JobShown<'a>>,
    next: Option<String>,
    rev: String,
}

pub(super) async fn list(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &KNOWN)?;
    let filter = read_filter(&params)?;
    let most = limits::PAGE_JOBS as u64;
    let limit = params.number("limit", 1, most)?.map_or(PAGE_JOBS_DEFAULT, |limit| limit as usize);
    let below = params.get("after").map(read_cursor).transpose()?;
    let view = desk.view().await?;
    let archive = desk.served.front.history.now();
    let is_complete = archive.as_ref().is_none_or(Archive::is_complete);
    let page = archive::page(view.ledger.clone(), archive, filter, below, limit).await;
    let page = page.map_err(|error| problem::history(&error))?;
    let items = page.jobs.iter().map(|listed| shown::listed(listed, &view)).collect();
    let next = page.next.map(cursor);
    let mut response = shown::json(&Page { items, next, rev: view.ledger.rev().to_string() });
    if !is_complete {
        let incomplete = HeaderValue::from_static("incomplete");
        response.headers_mut().insert("x-understudy-history", incomplete);
    }
    Ok(if view.leaderless_ms > 0 { aged(response, view.leaderless_ms) } else { response })
}

/// Leads on below this place in the order of acceptance.
pub(super) fn cursor(below: u64) -> String {
    format!("o{below:x}")
}

pub(super) fn read_cursor(text: &str) -> Result<u64, Problem> {
    text.strip_prefix('o')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Problem::field(Kind::Invalid, "after", "must be the `next` of an earlier page", None))
}

pub(super) fn read_filter(params: &Params) -> Result<Filter, Problem> {
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
        if labels.len() == limits::LABELS {
            let most = limits::LABELS as u64;
            return Err(Problem::field(Kind::Invalid, "label", "comes too often", Some(most)));
        }
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| Problem::field(Kind::Invalid, "label", "must be name=value", None))?;
        labels.push((name.to_string(), value.to_string()));
    }
    Ok(Filter {
        states,
        class: params.get("class").map(str::to_string),
        labels,
        submitter: params.get("submitter").map(str::to_string),
        text: params.get("q").filter(|text| !text.is_empty()).map(str::to_lowercase),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        assert_eq!(read_cursor(&cursor(42)).ok(), Some(42));
        for bad in ["", "o", "42", "o+2a", "o10000000000000000"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
