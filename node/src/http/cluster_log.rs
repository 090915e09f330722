//! Facts of the ledger as log records (`source` `cluster`): old ones from history, the last ones kept apart from the ledger so that
//! `/logging` needs no leader, no quorum and no stage: while the node is stopped it shows what was known.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logdb::{ClusterPage, ClusterSource, Record};
use protocol::Member;
use protocol::limits::FACTS_KEPT;

use super::desk::Desk;
use crate::ask::View;
use crate::narrate::cluster_record;

/// The records, and where fresh and old ones come from.
#[derive(Clone)]
pub(super) struct ClusterLog {
    desk: Desk,
    kept: Arc<Mutex<Kept>>,
}

/// The last records, and the members that were known with them.
#[derive(Default)]
struct Kept {
    records: VecDeque<Record>,
    members: Arc<Vec<Member>>,
}

impl ClusterLog {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, kept: Arc::default() }
    }

    /// For the log's router.
    pub(super) fn source(&self) -> ClusterSource {
        let log = self.clone();
        Arc::new(move |after, limit| {
            let log = log.clone();
            Box::pin(async move {
                log.ask().await;
                log.page(after, limit).await
            })
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
        let mut kept = self.kept();
        let known = kept.records.back().map_or(0, |record| record.seq);
        kept.records.extend(of_view(view, known));
        let surplus = kept.records.len().saturating_sub(FACTS_KEPT);
        kept.records.drain(..surplus);
        kept.members = Arc::new(view.ledger.members().cloned().collect());
    }

    async fn page(&self, after: Option<u64>, limit: usize) -> ClusterPage {
        let (first, last, members) = {
            let kept = self.kept();
            let seq = |record: Option<&Record>| record.map_or(0, |record| record.seq);
            (seq(kept.records.front()), seq(kept.records.back()), Arc::clone(&kept.members))
        };
        let mut page = ClusterPage { first, last, records: Vec::new() };
        let history = self.desk.served.front.history.now();
        if let Some(history) = &history {
            // Where history cannot be read now, what is kept here is told all the same.
            let oldest = history.first_fact().await.ok().flatten();
            page.first = oldest.map_or(first, |oldest| oldest.min(first));
        }
        if let (Some(history), Some(after)) = (&history, after)
            && after.saturating_add(1) < first
        {
            let Ok(older) = history.facts_after(after, limit).await else { return page };
            let upto = older.start + older.facts.len() as u64;
            let member = |id| members.iter().find(|member| member.id == id);
            let older = older.facts.iter().filter(|fact| fact.number < first);
            page.records.extend(older.map(|fact| cluster_record(fact, &member)));
            // What lies between is missing here for now: it is not jumped over.
            if upto < first {
                return page;
            }
        }
        let left = limit - page.records.len().min(limit);
        let kept = self.kept();
        let begin = match after {
            Some(after) => kept.records.partition_point(|record| record.seq <= after),
            None => kept.records.len().saturating_sub(left),
        };
        page.records.extend(kept.records.iter().skip(begin).take(left).cloned());
        page
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kept facts above `number` as records, in order.
pub(super) fn of_view(view: &View, number: u64) -> impl Iterator<Item = Record> + '_ {
    view.ledger.facts_after(number).map(|fact| cluster_record(fact, &|id| view.ledger.member(id)))
}
