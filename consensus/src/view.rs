//! The readable log: what the engine reads back of entries it has handed over for writing.
//!
//! ```text
//!      start            snapshot                     last
//!        ▼                 ▼                          ▼
//!        │ margin: entries │ entries after the snapshot│
//! ```
//!
//! It starts after a point that is no entry any more. The snapshot is the newest one that is safe on this node's disk; a
//! peer that lacks entries from before `start` gets that instead. The margin between the two is for peers that are only a
//! little behind.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::limits::ENTRY_OVERHEAD_BYTES;
use crate::{Base, Peer};

pub(crate) struct View {
    start_index: u64,
    start_term: u64,
    opened: RaftState,
    snapshot: Base,
    entries: VecDeque<Entry>,
    /// Bytes of all entries, with what each costs beside its data.
    bytes: u64,
    /// Somebody needs a snapshot that names it as a member, and ours is older than that.
    wanted: Cell<bool>,
}

fn cost(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len()) as u64 + ENTRY_OVERHEAD_BYTES
}

impl View {
    /// `snapshot` holds everything up to its index; `entries` have no hole, and the first one goes on from there or from
    /// before.
    pub(crate) fn new(snapshot: Base, hard: HardState, entries: Vec<Entry>) -> Self {
        let mut this = Self {
            start_index: snapshot.index,
            start_term: snapshot.term,
            opened: RaftState::new(hard, snapshot.conf()),
            snapshot,
            bytes: 0,
            entries: VecDeque::new(),
            wanted: Cell::new(false),
        };
        let mut entries = entries.into_iter().peekable();
        if let Some(first) = entries.next_if(|first| first.index <= this.start_index) {
            // Only its term is needed: that what follows fits.
            (this.start_index, this.start_term) = (first.index, first.term);
        }
        this.append(entries.collect());
        this
    }

    /// Index of the last entry, or of the start.
    pub(crate) fn last(&self) -> u64 {
        self.start_index + self.entries.len() as u64
    }

    /// The newest snapshot that this node has.
    pub(crate) fn snapshot_base(&self) -> &Base {
        &self.snapshot
    }

    /// Says once whether a peer waits for a newer snapshot.
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    /// Takes entries over; the first one replaces everything from its index on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.start_index && first.index <= self.last() + 1,
            "the engine hands over entries without a hole"
        );
        // Fits: the log is in memory.
        let keep = (first.index - self.start_index - 1) as usize;
        self.bytes -= self.entries.iter().skip(keep).map(cost).sum::<u64>();
        self.entries.truncate(keep);
        self.bytes += entries.iter().map(cost).sum::<u64>();
        self.entries.extend(entries);
    }

    /// A newer snapshot is safe: entries before it may go, but for the last `margin_bytes` of them.
    pub(crate) fn compact(&mut self, snapshot: Base, margin_bytes: u64) {
        self.snapshot = snapshot;
        self.trim(margin_bytes);
    }

    /// Lets entries before the snapshot go, but for the last `margin_bytes` of them.
    pub(crate) fn trim(&mut self, margin_bytes: u64) {
        let after = self.entries.iter().rev().take_while(|entry| entry.index > self.snapshot.index);
        let mut before = self.bytes - after.map(cost).sum::<u64>();
        while before > margin_bytes {
            let Some(first) = self.entries.pop_front() else { return };
            before -= cost(&first);
            self.bytes -= cost(&first);
            (self.start_index, self.start_term) = (first.index, first.term);
        }
    }

    /// A leader's snapshot takes the place of the whole log.
    pub(crate) fn replace(&mut self, snapshot: Base) {
        self.entries.clear();
        self.bytes = 0;
        (self.start_index, self.start_term) = (snapshot.index, snapshot.term);
        self.snapshot = snapshot;
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.start_index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

impl Storage for View {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.opened.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.start_index {
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
        if index == self.start_index {
            return Ok(self.start_term);
        }
        if index < self.start_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.at(index).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let real = self.snapshot.is_real() && self.snapshot.index >= request_index;
        if real && self.snapshot.names(Peer(to)) {
            return Ok(self.snapshot.clone().into_engine());
        }
        // While the whole log is there nobody can need one. Who is not named in it would refuse it. The engine then leaves
        // the peer as it is, and asks again at its next sign of life.
        self.wanted.set(self.start_index > crate::base::FIRST_INDEX);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
