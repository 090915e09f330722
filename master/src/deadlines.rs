//! Which jobs wait for their time, earliest first.

use alloc::collections::{BTreeMap, BTreeSet};

use protocol::JobId;

/// The pauses that are under way, in cluster time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    by_time: BTreeSet<(u64, JobId)>,
    of: BTreeMap<JobId, u64>,
}

impl Deadlines {
    pub(crate) fn set(&mut self, job: JobId, at_ms: u64) {
        self.remove(job);
        self.of.insert(job, at_ms);
        self.by_time.insert((at_ms, job));
    }

    pub(crate) fn remove(&mut self, job: JobId) {
        if let Some(at_ms) = self.of.remove(&job) {
            self.by_time.remove(&(at_ms, job));
        }
    }

    /// The next job whose time has come; it is forgotten here.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<JobId> {
        let (at_ms, job) = *self.by_time.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.remove(job);
        Some(job)
    }
}
