//! How much there is of everything, counted along the way.

use alloc::collections::BTreeMap;

use super::Ledger;
use protocol::JobState;

impl Ledger {
    /// How many jobs there are in each state; every state is present. Ended ones are counted for ever, also when they are
    /// history that is forgotten.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<JobState, u64> {
        JobState::ALL.iter().zip(self.totals.by_state).map(|(state, count)| (*state, count)).collect()
    }

    /// Bytes of all jobs held, with their results: open ones, and those that ended last.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn open_jobs(&self) -> u64 {
        let open = JobState::ALL.iter().zip(self.totals.by_state).filter(|(state, _)| !state.is_terminal());
        open.map(|(_, count)| count).sum()
    }

    /// Bytes of those, with their results.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.totals.bytes - self.tail.bytes()
    }
}
