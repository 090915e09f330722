//! Idempotency keys: one key is one job (`key_is_one_job`). Keys of open jobs are all kept; of ended jobs the newest, also
//! when the job has left the ledger, until it is forgotten.

use alloc::sync::Arc;

use crate::shards::Shards;
use protocol::JobId;
use serde::{Deserialize, Serialize};

/// Which job a key made, and of which request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) job: JobId,
    pub(crate) fingerprint: [u8; 32],
}

/// A key of an ended job, in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndedKey {
    place: u64,
    pub(crate) key: Arc<str>,
    /// Number of the job's end.
    number: u64,
}

/// All remembered keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    records: Shards<Arc<str>, KeyRecord>,
    /// Keys of ended jobs with the number of the job's end, by when they ended.
    ended: Shards<u64, (Arc<str>, u64)>,
    /// The oldest and the next place in `ended`.
    first: u64,
    next: u64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { records: Shards::new(), ended: Shards::new(), first: 0, next: 0 }
    }

    pub(crate) fn get(&self, key: &Arc<str>) -> Option<&KeyRecord> {
        self.records.get(key)
    }

    pub(crate) fn insert(&mut self, key: Arc<str>, record: KeyRecord) {
        self.records.insert(key, record);
    }

    /// The job of this key has ended, as the how-manieth: from here on it is one of at most `keep`.
    pub(crate) fn ended(&mut self, key: Arc<str>, number: u64, keep: usize) {
        self.ended.insert(self.next, (key, number));
        self.next += 1;
        while self.ended.len() > keep {
            self.drop_oldest();
        }
    }

    /// All of them, in no order that means anything.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Arc<str>, KeyRecord)> + '_ {
        self.records.iter().map(|(key, record)| (Arc::clone(key), record.clone()))
    }

    /// Keys of ended jobs with their places, by when they ended.
    pub(crate) fn ended_records(&self) -> impl Iterator<Item = EndedKey> + '_ {
        (self.first..self.next).filter_map(|place| {
            let (key, number) = self.ended.get(&place)?;
            Some(EndedKey { place, key: Arc::clone(key), number: *number })
        })
    }

    /// The oldest and the next place among those.
    pub(crate) fn ended_range(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    pub(crate) fn take_back_range(&mut self, (first, next): (u64, u64)) {
        (self.first, self.next) = (first, next);
    }

    pub(crate) fn take_back_ended(&mut self, EndedKey { place, key, number }: EndedKey) {
        self.ended.insert(place, (key, number));
    }

    /// Ends up to this number are forgotten, and the keys of those jobs with them.
    pub(crate) fn forget(&mut self, upto: u64) {
        while self.ended.get(&self.first).is_some_and(|(_, number)| *number <= upto) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((oldest, _)) = self.ended.remove(&self.first) {
            self.records.remove(&oldest);
        }
        self.first += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn ended_len(&self) -> usize {
        self.ended.len()
    }
}
