//! A ledger on its way back from a snapshot: jobs put in where they were, and what is counted for ever.

use alloc::sync::Arc;

use super::{Ledger, bytes_of};
use crate::held::Held;
use protocol::{Job, JobState};

impl Ledger {
    /// Takes a job back as a snapshot has it, in the order of acceptance. False: it leaves a hole, or is there already.
    pub(crate) fn take_back(&mut self, job: Arc<Job>, key: Option<Arc<str>>, accepted_ms: u64) -> bool {
        let bytes = bytes_of(&job);
        let ending = job.ending.as_ref();
        let fits = self.order.take_back(job.order, job.id)
            && self.jobs.get(&job.id).is_none()
            && ending.is_none_or(|ending| self.tail.take_back(ending.number, job.id, bytes));
        self.totals.bytes += bytes;
        self.index(&job, true);
        if !job.state.is_terminal() {
            self.recodex.opened(&job.spec, job.id);
        }
        let id = job.id;
        self.jobs.insert(id, Held::take_back(job, &mut self.terms, key, accepted_ms));
        fits
    }

    /// Jobs in each state and bytes of ended ones, counted for ever.
    pub(crate) fn ever(&self) -> ([u64; JobState::ALL.len()], u64) {
        (self.totals.by_state, self.totals.ended_bytes)
    }

    pub(crate) fn take_back_ever(&mut self, (by_state, ended_bytes): ([u64; JobState::ALL.len()], u64)) {
        self.totals.by_state = by_state;
        self.totals.ended_bytes = ended_bytes;
    }
}
