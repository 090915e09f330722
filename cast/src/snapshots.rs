//! Snapshots: when the ledger is copied for one, and when one from a peer takes its place.

use consensus::Base;
use master::Ledger;

use crate::Output;
use crate::cast::Cast;
use crate::digests::Digests;

impl Cast {
    /// The ledger as it is now, for a snapshot, and the place that it stands at. It costs nothing but pointers. Between
    /// turns only. [`crate::Input::SnapshotSafe`] when it is on disk.
    pub fn begin_snapshot(&mut self) -> (Base, Ledger) {
        (self.consensus.begin_snapshot(), self.ledger.clone())
    }

    /// Bytes of commands applied since the newest snapshot.
    #[must_use]
    pub fn bytes_after_snapshot(&self) -> u64 {
        self.consensus.bytes_after_snapshot()
    }

    /// A member can be brought up only by a newer snapshot than there is: says so once.
    #[must_use]
    pub fn newer_snapshot_wanted(&self) -> bool {
        self.consensus.newer_snapshot_wanted()
    }

    /// Where the newest snapshot on this node's disk stands; without one, where the log began.
    #[must_use]
    pub fn snapshot(&self) -> &Base {
        self.consensus.snapshot()
    }

    pub(crate) fn snapshot_fetched(&mut self, index: u64, ledger: Box<Ledger>) {
        self.retire_fetched();
        self.fetched = Some((index, ledger));
        self.consensus.snapshot_ready(index);
    }

    /// Consensus took a snapshot in place of its log: the ledger in it is this node's from here on.
    pub(crate) fn restore(&mut self, index: u64) {
        match self.fetched.take_if(|(fetched, _)| *fetched == index) {
            Some((_, ledger)) => {
                let before = std::mem::replace(&mut self.ledger, ledger.bounded(self.settings.bounds));
                self.sharing.forget();
                self.digests = Digests::from(self.ledger.applied(), self.ledger.digest());
                self.outputs.push(Output::Retired(Box::new(before)));
                self.outputs.push(Output::Restored { index, last_fact: self.ledger.last_fact() });
                self.outputs.push(Output::Members);
                self.obey_drain();
                // The leader's address may have been in none of the entries so far.
                self.name_leader();
            }
            None => {
                let text = format!("taking the snapshot at index {index}: its ledger is not here");
                self.outputs.push(Output::Fatal(text));
            }
        }
    }

    /// A fetched ledger that consensus does not wait for any more goes.
    pub(crate) fn retire_unwanted(&mut self) {
        if self.fetched.is_some()
            && self.consensus.awaited_snapshot() != self.fetched.as_ref().map(|(i, _)| *i)
        {
            self.retire_fetched();
        }
    }

    fn retire_fetched(&mut self) {
        self.outputs.extend(self.fetched.take().map(|(_, ledger)| Output::Retired(ledger)));
    }
}
