//! What a consensus mind is made from.

use crate::{Entry, HardState, Peer};

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
    /// The node that founded the cluster. Every node starts from the same pretended snapshot: index 1, term 1, this one
    /// voter; all later members come from the log.
    pub founder: Peer,
    /// The last hard state, if any was written.
    pub hard: Option<HardState>,
    /// All entries from index 2 on, without a hole.
    pub entries: Vec<Entry>,
}
