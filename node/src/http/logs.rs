//! `GET /jobs/{id}/logs`: this node's view of a job's story, the ledger's facts and its own lines, newest first.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use logdb::Record;
use serde::Serialize;

use super::desk::Desk;
use super::limits::LOG_RECORDS;
use super::params::{Params, job_id};
use super::problem::{Kind, Problem};
use super::{cluster_log, shown};

#[derive(Serialize)]
struct Page {
    items: Vec<Arc<Record>>,
    next: Option<String>,
    prev: Option<String>,
    behind: Vec<Behind>,
}

/// A source of which lines are missing; none while a node tells only what it holds itself.
#[derive(Serialize)]
struct Behind {
    source: String,
    missing: u64,
}

pub(super) async fn of_job(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let limit = Params::read(&uri, &["limit"])?.number("limit", 1, LOG_RECORDS as u64)?;
    let view = desk.view().await?;
    let own = desk.served.log.after(0, usize::MAX).into_iter();
    let mut items: Vec<Arc<Record>> = cluster_log::of_view(&view, 0)
        .map(Arc::new)
        .chain(own)
        .filter(|record| record.job == Some(id))
        .collect();
    if items.is_empty() && view.ledger.job(id).is_none() {
        return Err(Problem::new(Kind::NotFound, "this node knows no such job and no line about it"));
    }
    // Sources count for themselves: time brings them together, and within one the number decides.
    items.sort_by_key(|record| Reverse((record.time_ms, record.seq)));
    items.truncate(limit.map_or(LOG_RECORDS, |limit| limit as usize));
    Ok(shown::json(&Page { items, next: None, prev: None, behind: Vec::new() }))
}
