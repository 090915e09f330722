//! The readable log: what the engine reads back of entries it has handed over for writing.
//!
//! It starts after a point that is no entry any more (`base`): today always the pretended snapshot at index 1, later the
//! newest real snapshot; then `compact` moves it and nothing else changes.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::limits::ENTRY_OVERHEAD_BYTES;

pub(crate) struct View {
    base_index: u64,
    base_term: u64,
    start: RaftState,
    entries: VecDeque<Entry>,
}

impl View {
    /// `conf` are the members at the base.
    pub(crate) fn new(base_index: u64, base_term: u64, conf: ConfState, hard: HardState) -> Self {
        Self { base_index, base_term, start: RaftState::new(hard, conf), entries: VecDeque::new() }
    }

    /// Index of the last entry, or of the base.
    pub(crate) fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    /// Takes entries over; the first one replaces everything from its index on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base_index && first.index <= self.last() + 1,
            "the engine hands over entries without a hole"
        );
        // Fits: the log is in memory.
        self.entries.truncate((first.index - self.base_index - 1) as usize);
        self.entries.extend(entries);
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base_index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

impl Storage for View {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.start.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let bound = max_size.into().unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        let mut bytes = 0_u64;
        for entry in (low..high).filter_map(|index| self.at(index)) {
            bytes = bytes.saturating_add(entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES);
            if bytes > bound && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.at(index).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // Nothing is compacted, so nobody can need one; the engine then leaves the peer as it is.
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
