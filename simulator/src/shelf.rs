//! A node's pretend archive: ended jobs, written behind the apply. A crash takes what was not safe; replaying the log
//! writes it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::{Fact, Job, JobId, What};

use crate::chance::Chance;

/// What one node keeps of jobs that have ended.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    jobs: BTreeMap<JobId, Arc<Job>>,
    /// Up to this end it has forgotten: of its own or with what it took over from a peer that was ahead.
    forgotten: u64,
}

impl Shelf {
    /// A fact that the node tells, with its job as the whole entry left it.
    pub(crate) fn hear(&mut self, fact: &Fact, job: Option<&Arc<Job>>) {
        if let What::Forgotten { upto } = &fact.what {
            self.forgotten = self.forgotten.max(*upto);
            self.jobs.retain(|_, job| job.ending.is_some_and(|ending| ending.number > *upto));
        }
        if let Some(job) = job.filter(|job| job.state.is_terminal()) {
            self.jobs.insert(job.id, Arc::clone(job));
        }
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id)
    }

    /// What a peer has, as pages fetched from it.
    pub(crate) fn take_over(&mut self, other: Self) {
        self.jobs.extend(other.jobs);
        self.forgotten = self.forgotten.max(other.forgotten);
    }

    /// Ends up to this number are not to be looked for here.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The end of a start: what was written last may be lost, but for what the newest snapshot holds (a snapshot counts only
    /// when that is safe, because the log before it goes).
    pub(crate) fn crash(&mut self, applied: u64, in_snapshot: u64, chance: &mut Chance) {
        let safe = applied.saturating_sub(chance.below(200)).max(in_snapshot);
        self.jobs.retain(|_, job| job.rev.index <= safe);
    }
}
