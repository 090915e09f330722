//! What is asked in every turn and must cost nothing.

use super::Consensus;

impl Consensus {
    /// Entries of this node's log that are not known to be committed.
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        let log = &self.raw.raft.raft_log;
        log.last_index().saturating_sub(log.committed)
    }
}
