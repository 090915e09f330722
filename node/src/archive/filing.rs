//! The owner loop's hand on the archive: gathers what a turn brought about and hands it over at its end.

use std::sync::Arc;

use master::Ledger;
use protocol::{Fact, Job};

use super::{Archive, Batch, History};

/// What one turn has brought about so far, and where it goes.
pub(crate) struct Filing {
    archive: Archive,
    history: History,
    batch: Batch,
    /// Index of the last entry that was handed over, and the number of the last fact.
    filed: u64,
    last_fact: u64,
    is_full: bool,
}

impl Filing {
    /// From here on HTTP finds this archive too.
    pub(crate) fn new(archive: Archive, history: History) -> Self {
        history.set(Some(archive.clone()));
        Self { archive, history, batch: Batch::default(), filed: 0, last_fact: 0, is_full: false }
    }

    /// A start begins with this ledger. One that is ahead of the archive has gone past what was never seen here.
    pub(crate) fn begin(&mut self, ledger: &Ledger) {
        (self.filed, self.last_fact) = (ledger.applied(), ledger.last_fact());
        if ledger.applied() > self.archive.progress().borrow().applied {
            self.archive.restored(ledger);
        }
    }

    /// The ledger recorded something; the job is as the whole entry left it.
    pub(crate) fn hear(&mut self, fact: &Arc<Fact>, job: Option<&Arc<Job>>) {
        self.batch.hear(fact, job);
    }

    /// A turn is over. When the archive has fallen too far behind, or has caught up again, this says so.
    pub(crate) fn file(&mut self, ledger: &Ledger) -> Option<bool> {
        let before = self.is_full;
        if ledger.applied() != self.filed {
            self.filed = ledger.applied();
            let mut batch = std::mem::take(&mut self.batch);
            if self.last_fact + batch.facts.len() as u64 != ledger.last_fact() {
                // It was replaced by a later one: what it holds is kept, what it has gone past is missing from now on.
                self.archive.restored(ledger);
            }
            self.last_fact = ledger.last_fact();
            (batch.applied, batch.last_end, batch.last_fact) =
                (ledger.applied(), ledger.last_end(), ledger.last_fact());
            self.is_full = self.archive.push(batch);
        } else if self.is_full {
            self.is_full = self.archive.is_full();
        }
        (self.is_full != before).then_some(self.is_full)
    }

    /// This start is over: what waits is forgotten, the log has it.
    pub(crate) async fn close(&self) {
        self.history.set(None);
        self.archive.close().await;
    }
}
