//! Jobs that ended last: still in the ledger, so that late results, cancels and repeats are judged alike on every node.
//! First out is who ended first; what is out is history, which the ledger does not hold.

use crate::shards::Shards;
use protocol::JobId;

/// The ends of jobs, numbered from 1 without holes, of which the last ones are still known by their jobs.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    jobs: Shards<u64, JobId>,
    /// Number of the oldest end whose job is here.
    first: u64,
    /// Number of the newest end; 0: none yet.
    last: u64,
    /// Bytes of the jobs here.
    bytes: u64,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self { jobs: Shards::new(), first: 1, last: 0, bytes: 0 }
    }

    /// One more job has ended.
    pub(crate) fn push(&mut self, job: JobId, bytes: u64) {
        self.last += 1;
        self.bytes += bytes;
        self.jobs.insert(self.last, job);
    }

    /// Number of the oldest end whose job is here, and of the newest end.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    pub(crate) fn take_back_range(&mut self, (first, last): (u64, u64)) {
        (self.first, self.last) = (first, last);
    }

    /// Takes a job back as a snapshot has it. False: it is none of these.
    pub(crate) fn take_back(&mut self, number: u64, job: JobId, bytes: u64) -> bool {
        self.bytes += bytes;
        let new = self.jobs.get(&number).is_none();
        self.jobs.insert(number, job);
        new && (self.first..=self.last).contains(&number)
    }

    /// Number of the newest end; 0: none yet.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> u64 {
        self.jobs.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A job here takes other room than before.
    pub(crate) fn weighs(&mut self, before_bytes: u64, after_bytes: u64) {
        self.bytes = self.bytes - before_bytes + after_bytes;
    }

    /// Whether more is here than may be, or something that is forgotten.
    pub(crate) fn is_over(&self, keep_jobs: u64, keep_bytes: u64, forgotten: u64) -> bool {
        self.len() > keep_jobs || self.bytes > keep_bytes || (self.first <= forgotten && self.len() > 0)
    }

    /// The job that ended first of those here.
    pub(crate) fn oldest(&self) -> Option<JobId> {
        self.jobs.get(&self.first).copied()
    }

    /// Lets that job go.
    pub(crate) fn pop(&mut self, bytes: u64) {
        if self.jobs.remove(&self.first).is_some() {
            self.first += 1;
            self.bytes -= bytes;
        }
    }
}
