//! Looking up single jobs. Most questions need less than the whole job, and a waiting one is made up anew each time it is
//! asked for.

use alloc::sync::Arc;

use super::Ledger;
use crate::held::Held;
use protocol::{Job, JobId, JobSpec, JobState};

impl Ledger {
    /// A job by its id: every open one, and those that ended last.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<Arc<Job>> {
        self.jobs.get(&id).map(|held| held.job(id))
    }

    /// Whether [`Ledger::job`] has it.
    #[must_use]
    pub fn holds(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some()
    }

    /// The job if anything has happened to it since it was accepted: whatever has an attempt. Costs less than
    /// [`Ledger::job`].
    #[must_use]
    pub fn changed_job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id)?.changed()
    }

    /// The job that was made under this key, while the key is remembered.
    #[must_use]
    pub fn job_of_key(&self, key: &str) -> Option<JobId> {
        self.keys.get(&Arc::from(key)).map(|record| record.job)
    }

    /// Where a job stands.
    #[must_use]
    pub fn state(&self, id: JobId) -> Option<JobState> {
        self.jobs.get(&id).map(Held::state)
    }

    /// What a job asks for, for whoever chooses its place: the payload may be missing in it.
    #[must_use]
    pub fn terms(&self, id: JobId) -> Option<&Arc<JobSpec>> {
        self.jobs.get(&id).map(Held::terms)
    }

    /// Bytes of a job's payload; 0 when it is not held.
    #[must_use]
    pub fn payload_bytes(&self, id: JobId) -> usize {
        self.jobs.get(&id).map_or(0, Held::payload_bytes)
    }

    /// Copies a job's payload, so that it keeps nothing else in memory that it was a part of. It stays what it is.
    pub fn unshare(&mut self, id: JobId) {
        if let Some(held) = self.jobs.get_mut(&id) {
            held.unshare();
        }
    }

    /// A job's place in the order of acceptance ([`Job::order`]).
    #[must_use]
    pub fn order_of(&self, id: JobId) -> Option<u64> {
        self.jobs.get(&id).map(Held::order)
    }

    /// Who was accepted as the how-manieth, if it is held here.
    #[must_use]
    pub fn accepted_as(&self, order: u64) -> Option<JobId> {
        self.order.get(order)
    }

    /// Cluster time at which a job was accepted.
    #[must_use]
    pub fn accepted_clock_ms(&self, id: JobId) -> Option<u64> {
        self.jobs.get(&id).map(|held| held.accepted_ms)
    }

    /// Jobs held here from the newest acceptance back, below the given [`Job::order`] (exclusive) when there is one.
    pub fn newest(&self, below_order: Option<u64>) -> impl Iterator<Item = Arc<Job>> + '_ {
        self.order.newest_below(below_order.unwrap_or(u64::MAX)).filter_map(|id| self.job(id))
    }
}
