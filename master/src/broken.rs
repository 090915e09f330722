//! Rules of applying, broken on purpose: the simulator shows that each of them is found.

use alloc::sync::Arc;

use crate::apply::Turn;
use protocol::{AttemptRef, AttemptState, Job, JobId, JobState, NodeId, Outcome, What};

impl Turn<'_> {
    /// Forgets a lost attempt, so that the next one bears its number.
    pub(crate) fn number_again(&mut self, id: JobId, number: u32) -> u32 {
        let queued = |job: &&Arc<Job>| job.state == JobState::Queued && !job.attempts.is_empty();
        if !self.ledger.breaks(crate::LedgerMutant::SameAttemptNumber)
            || self.changed_job(id).filter(queued).is_none()
        {
            return number;
        }
        let rev = self.rev();
        self.ledger.change(id, rev, |job| job.attempts.truncate(job.attempts.len() - 1));
        number - 1
    }

    pub(crate) fn overwrite(&mut self, id: JobId, number: u32, node: NodeId, outcome: &Arc<Outcome>) {
        let attempt = AttemptRef { job: id, attempt: number };
        let state = JobState::Succeeded;
        self.change(id, What::Finished { attempt, node, state, reason: None }, |job| {
            job.state = state;
            job.reason = None;
            job.result = Some(Arc::clone(outcome));
            if let Some(attempt) = job.attempts.get_mut(number as usize - 1) {
                attempt.state = AttemptState::Succeeded;
            }
        });
    }
}
