//! What is asked in every turn and must cost nothing.

use super::Consensus;

impl Consensus {
    /// Entries of this node's log that are not known to be committed.
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        let log = &self.raw.raft.raft_log;
        log.last_index().saturating_sub(log.committed)
    }

    /// Whether entries are committed and on this node's disk that no [`crate::Step::Apply`] has brought yet; the next
    /// [`Consensus::turn`] does. What is committed by the others alone waits for this disk.
    #[must_use]
    pub fn has_unapplied(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.committed.min(log.persisted) > log.applied
    }

    /// Bytes of the commands this node has proposed as the leader and that are not known to be committed, about.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> usize {
        self.raw.raft.uncommitted_size()
    }
}
