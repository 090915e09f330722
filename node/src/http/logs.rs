//! Log lines as records: `GET /logs`, which the log store answers, and `GET /jobs/{id}/logs`, a job's story from the log store, the
//! ledger's facts and this node's own lines, newest first.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use logdb::Record;
use serde::Serialize;

use super::desk::Desk;
use super::limits::LOG_RECORDS;
use super::params::{Params, job_id};
use super::problem::{self, Kind, Problem};
use super::{cluster_log, shown};
use crate::narrate::cluster_record;

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

/// What the log store has.
pub(super) async fn of_all(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Response {
    match &desk.log_store {
        Some(store) => store.logs(query.as_deref()).await,
        None => {
            let detail = "this node knows no log store: start it with --logdb, or ask /logging";
            Problem::new(Kind::NotFound, detail).into_response()
        }
    }
}

pub(super) async fn of_job(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let limit = Params::read(&uri, &["limit"])?.number("limit", 1, LOG_RECORDS as u64)?;
    let limit = limit.map_or(LOG_RECORDS, |limit| limit as usize);
    let view = desk.view().await?;
    // Lines may still be on their way to the store: what this node holds itself is told in any case.
    let stored = match &desk.log_store {
        Some(store) => store.of_job(id, limit).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let own = desk.served.log.after(0, usize::MAX).into_iter();
    let archive = desk.served.front.history.now();
    let job = match desk.job(&view, id).await {
        // It may be among what this node has not fetched yet; then a part of its story is here.
        Err(_) if archive.as_ref().is_some_and(|archive| !archive.is_complete()) => None,
        found => found?,
    };
    let older = match archive {
        Some(archive) => archive.facts_of(id, job.as_deref(), LOG_RECORDS).await,
        None => Ok(Vec::new()),
    };
    let older = older.map_err(|error| problem::history(&error))?;
    let older = older.iter().map(|fact| cluster_record(fact, &|id| view.ledger.member(id)));
    let mut told = BTreeSet::new();
    let mut items: Vec<Arc<Record>> = cluster_log::of_view(&view, 0)
        .chain(older)
        .map(Arc::new)
        .chain(own)
        .chain(stored.into_iter().map(Arc::new))
        .filter(|record| record.job == Some(id) && told.insert((Arc::clone(&record.source), record.seq)))
        .collect();
    if items.is_empty() && job.is_none() {
        desk.job(&view, id).await?;
        return Err(problem::unknown_job(&view.ledger, id));
    }
    // Sources count for themselves: time brings them together, and within one the number decides.
    items.sort_by_key(|record| Reverse((record.time_ms, record.seq)));
    items.truncate(limit);
    Ok(shown::json(&Page { items, next: None, prev: None, behind: Vec::new() }))
}
