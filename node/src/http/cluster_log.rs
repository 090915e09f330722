//! Facts of the ledger as log records (`source` `cluster`), kept apart from the ledger so that `/logging` needs no leader, no quorum
//! and no stage: while the node is stopped it shows what was known.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use logdb::{ClusterSource, Record};
use protocol::limits::FACTS_KEPT;

use super::desk::Desk;
use crate::ask::View;
use crate::narrate::cluster_record;

/// The records, and where fresh ones come from.
#[derive(Clone)]
pub(super) struct ClusterLog {
    desk: Desk,
    records: Arc<Mutex<VecDeque<Record>>>,
}

impl ClusterLog {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, records: Arc::default() }
    }

    /// For the log's router. Each call also asks for news, which the next call (a follower's) then sees.
    pub(super) fn source(&self) -> ClusterSource {
        let log = self.clone();
        Arc::new(move |after, limit| {
            let asking = log.clone();
            tokio::spawn(async move { asking.ask().await });
            let records = log.records();
            let begin = records.partition_point(|record| record.seq <= after);
            records.iter().skip(begin).take(limit).cloned().collect()
        })
    }

    async fn ask(&self) {
        if self.desk.is_stopped() {
            return;
        }
        if let Ok(view) = self.desk.view().await {
            self.take(&view);
        }
    }

    fn take(&self, view: &View) {
        let mut records = self.records();
        let known = records.back().map_or(0, |record| record.seq);
        records.extend(of_view(view, known));
        let surplus = records.len().saturating_sub(FACTS_KEPT);
        records.drain(..surplus);
    }

    fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kept facts above `number` as records, in order.
pub(super) fn of_view(view: &View, number: u64) -> impl Iterator<Item = Record> + '_ {
    view.ledger.facts_after(number).map(|fact| cluster_record(fact, &|id| view.ledger.member(id)))
}

/// Brings the records up to date before a reader of `source=cluster` gets them.
pub(super) async fn refresh(State(log): State<ClusterLog>, request: Request, next: Next) -> Response {
    if request.uri().query().is_some_and(|query| query.contains("source=cluster")) {
        log.ask().await;
    }
    next.run(request).await
}
