//! What a consensus mind is made from.

use crate::{Base, Entry, Error, HardState, Peer};

/// Who this node is and how its time is cut.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node. Never 0, and never used again once its disk was lost.
    pub id: Peer,
    /// Source of all chance in here: election timeouts are drawn from (seed, id, term).
    pub seed: u64,
    /// A leader sends heartbeats every so many ticks. At least 1.
    pub heartbeat_ticks: usize,
    /// A follower stands for election after `election_ticks` to `2 * election_ticks - 1` ticks of silence. More than
    /// `heartbeat_ticks`.
    pub election_ticks: usize,
    /// A deliberate fault (simulator only). Without the cargo feature `mutants` the type has no value, so this is `None`;
    /// the field is always there so that a literal compiles the same whichever features a workspace build unites.
    pub mutant: Option<Mutant>,
}

/// A deliberate fault that a good checker must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Messages that promise something leave before that is on disk.
    #[cfg(feature = "mutants")]
    MessagesBeforeSync,
    /// A voter gives its vote to everybody who asks in a term.
    #[cfg(feature = "mutants")]
    VotesTwice,
    /// `Leading` comes with the election, not with the first applied entry of the own term.
    #[cfg(feature = "mutants")]
    LeadBeforeOwnEntry,
}

impl Mutant {
    pub(crate) fn sends_before_sync(this: Option<Mutant>) -> bool {
        match this {
            None => false,
            #[cfg(feature = "mutants")]
            Some(mutant) => mutant == Mutant::MessagesBeforeSync,
            #[cfg(not(feature = "mutants"))]
            Some(never) => match never {},
        }
    }

    pub(crate) fn votes_twice(this: Option<Mutant>) -> bool {
        match this {
            None => false,
            #[cfg(feature = "mutants")]
            Some(mutant) => mutant == Mutant::VotesTwice,
            #[cfg(not(feature = "mutants"))]
            Some(never) => match never {},
        }
    }

    pub(crate) fn leads_at_once(this: Option<Mutant>) -> bool {
        match this {
            None => false,
            #[cfg(feature = "mutants")]
            Some(mutant) => mutant == Mutant::LeadBeforeOwnEntry,
            #[cfg(not(feature = "mutants"))]
            Some(never) => match never {},
        }
    }
}

/// What the disk kept. A new node has only the founder's id.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Where the newest snapshot stands; without one [`Base::founded`]. Members after it come from the log.
    pub base: Base,
    /// The last hard state, if any was written.
    pub hard: Option<HardState>,
    /// Entries without a hole: up to the end of the log, from the one after the base on or from an earlier one.
    pub entries: Vec<Entry>,
}

impl Restored {
    /// The hard state to start from, if everything fits together.
    pub(crate) fn check(&self, config: &Config) -> Result<HardState, Error> {
        let base = &self.base;
        if config.id == Peer(0) {
            return Err(Error::Settings("the id of this node must not be 0".into()));
        }
        if let Some(fault) = base.fault() {
            return Err(Error::Restored(format!("the base at index {} {fault}", base.index)));
        }
        let mut hard = self.hard.unwrap_or(HardState { term: base.term, vote: None, commit: base.index });
        if hard.term < base.term {
            // It was brought by a leader of this term, and the node ended before it wrote that down.
            (hard.term, hard.vote) = (base.term, None);
        }
        hard.commit = hard.commit.max(base.index);
        if !base.is_followed_by(&self.entries) {
            let first = self.entries.first().map_or(0, |entry| entry.index);
            return Err(Error::Restored(format!("entry {first} does not go on from {}", base.index)));
        }
        let first =
            self.entries.first().map_or((base.index, base.term), |e| (e.index - 1, e.term.min(base.term)));
        let (mut index, mut term) = first;
        for entry in &self.entries {
            index += 1;
            if entry.index != index {
                return Err(Error::Restored(format!("entry {} stands where {index} belongs", entry.index)));
            }
            if entry.term < term || entry.term > hard.term {
                return Err(Error::Restored(format!("entry {index} has term {} out of order", entry.term)));
            }
            if index == base.index && entry.term != base.term {
                return Err(Error::Restored(format!("entry {index} is not the one of the snapshot")));
            }
            term = entry.term;
        }
        if hard.commit > index {
            return Err(Error::Restored(format!(
                "index {} is committed, the log ends at {index}",
                hard.commit
            )));
        }
        Ok(hard)
    }
}
