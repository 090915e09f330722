//! What is between apply and archive: batches in order, readable by anybody, let go once they are written.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Fact, Job, JobId};

use super::limits::{
    BACKLOG_BYTES, BACKLOG_RELIEVED_BYTES, BATCH_ITEMS, FACT_BYTES, LAG_BYTES, WRITE_BATCHES, WRITE_BYTES,
};

/// What some entries brought about, whole entries only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Jobs that have ended, as they are after those entries; a later one replaces an earlier one.
    pub(crate) jobs: Vec<Arc<Job>>,
    pub(crate) facts: Vec<Arc<Fact>>,
    /// Index of the last of those entries.
    pub(crate) applied: u64,
    /// Numbers of the newest end and of the newest fact after it.
    pub(crate) last_end: u64,
    pub(crate) last_fact: u64,
    /// Numbers of the last end and of the last fact that are forgotten, where that is known.
    pub(crate) forgotten: u64,
    pub(crate) forgotten_facts: u64,
    /// It is what a ledger or a peer holds, not what entries did: nothing in it counts as written before.
    pub(crate) is_whole: bool,
    pub(crate) bytes: u64,
}

impl Batch {
    /// Takes in a fact, and its job when that has ended with it or before it.
    pub(crate) fn hear(&mut self, fact: &Arc<Fact>, job: Option<&Arc<Job>>) {
        self.bytes += FACT_BYTES;
        self.facts.push(Arc::clone(fact));
        // What one entry did to a job in several steps is kept once, with the last of them.
        if let Some(job) = job.filter(|job| job.state.is_terminal() && job.rev == fact.rev) {
            self.put(Arc::clone(job));
        }
    }

    pub(crate) fn put(&mut self, job: Arc<Job>) {
        let result = job.result.as_ref().map_or(0, |result| result.output.len() + result.stderr.len());
        self.bytes += job.spec.weight_bytes() + result as u64;
        self.jobs.push(job);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.facts.is_empty()
    }

    /// Adds what came after it, unless it is large already.
    fn take_in(&mut self, later: Self) -> Result<(), Self> {
        let is_large = self.jobs.len() + self.facts.len() >= BATCH_ITEMS;
        if is_large || self.is_whole || later.is_whole {
            return Err(later);
        }
        self.jobs.extend(later.jobs);
        self.facts.extend(later.facts);
        self.bytes += later.bytes;
        (self.applied, self.last_end, self.last_fact) = (later.applied, later.last_end, later.last_fact);
        Ok(())
    }
}

/// The batches that are not written yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    batches: VecDeque<Arc<Batch>>,
    bytes: u64,
    /// Above its bound, and not relieved yet.
    is_full: bool,
    /// Index of the last entry heard of.
    applied: u64,
    pub(super) is_closing: bool,
}

impl Backlog {
    pub(super) fn push(&mut self, batch: Batch) {
        self.applied = self.applied.max(batch.applied);
        if batch.is_empty() && !batch.is_whole {
            return;
        }
        self.bytes += batch.bytes;
        self.is_full |= self.bytes > BACKLOG_BYTES;
        // The last batch can grow while nobody else looks at it.
        let left = match self.batches.back_mut().and_then(Arc::get_mut) {
            Some(last) => last.take_in(batch).err(),
            None => Some(batch),
        };
        self.batches.extend(left.map(Arc::new));
    }

    /// The archive lags as far behind as it may without need.
    pub(super) fn is_much(&self) -> bool {
        self.bytes >= LAG_BYTES
    }

    /// The oldest batches, for one transaction; they stay until [`Backlog::written`].
    pub(super) fn next(&self) -> Vec<Arc<Batch>> {
        let mut bytes = 0;
        let fits = |batch: &&Arc<Batch>| {
            let first = bytes == 0;
            bytes += batch.bytes.max(1);
            first || bytes <= WRITE_BYTES
        };
        self.batches.iter().take(WRITE_BATCHES).take_while(fits).cloned().collect()
    }

    pub(super) fn written(&mut self, batches: usize) {
        for batch in self.batches.drain(..batches.min(self.batches.len())) {
            self.bytes -= batch.bytes;
        }
        self.is_full &= self.bytes > BACKLOG_RELIEVED_BYTES;
    }

    /// All of it, as it is now.
    pub(super) fn all(&self) -> Vec<Arc<Batch>> {
        self.batches.iter().cloned().collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied
    }
}

/// The newest state of a job among batches.
pub(super) fn find(batches: &[Arc<Batch>], id: JobId) -> Option<Arc<Job>> {
    batches.iter().rev().flat_map(|batch| batch.jobs.iter().rev()).find(|job| job.id == id).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::ended;
    use super::*;

    fn batch(order: u64, payload: usize) -> Batch {
        let mut job = ended(order, order);
        Arc::make_mut(&mut job.spec).payload = vec![0; payload].into();
        let mut batch = Batch { applied: order, last_end: order, ..Batch::default() };
        batch.put(Arc::new(job));
        batch
    }

    #[test]
    fn it_is_full_over_its_bytes_until_it_is_relieved() {
        let mut backlog = Backlog::default();
        let large = 1 << 20;
        for order in 1..=257 {
            assert_eq!(backlog.is_full(), order > 256, "before {order}");
            // A reader holds each, so that each stays a batch of its own.
            backlog.push(batch(order, large));
            std::mem::forget(backlog.all());
        }
        assert!(backlog.is_full() && backlog.bytes() > BACKLOG_BYTES);
        backlog.written(10);
        assert!(backlog.is_full(), "a little room is not enough");
        backlog.written(60);
        assert!(!backlog.is_full());
        backlog.written(1_000);
        assert_eq!((backlog.bytes(), backlog.all().len(), backlog.applied()), (0, 0, 257));
    }

    #[test]
    fn small_batches_become_one_and_what_is_being_read_stays_as_it_is() {
        let mut backlog = Backlog::default();
        backlog.push(batch(1, 1));
        backlog.push(batch(2, 1));
        let read = backlog.next();
        assert_eq!((read.len(), read[0].jobs.len(), read[0].applied), (1, 2, 2));
        backlog.push(batch(3, 1));
        assert_eq!((read[0].jobs.len(), backlog.all().len()), (2, 2));
        assert_eq!(find(&backlog.all(), ended(3, 3).id).map(|job| job.order), Some(3));
        backlog.written(1);
        assert_eq!(find(&backlog.all(), ended(1, 1).id), None);
    }

    #[test]
    fn one_transaction_is_bounded_in_bytes_but_takes_one_batch_at_least() {
        let mut backlog = Backlog::default();
        for order in 1..=3 {
            backlog.push(batch(order, 10 << 20));
            std::mem::forget(backlog.all());
        }
        assert_eq!(backlog.next().len(), 1);
    }
}
