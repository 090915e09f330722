//! What comes out of a turn.

use crate::{Base, Entry, HardState, Message, Peer};

/// Everything there is to do now. Carry out `steps` in order and at once, send `send`, hand `write` to the disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// To the peers, now. Losing any of them is allowed.
    pub send: Vec<Message>,
    /// To the disk, strictly first in, first out.
    pub write: Vec<Write>,
    /// To the state machine, in this order.
    pub steps: Vec<Step>,
}

impl Turn {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty() && self.write.is_empty() && self.steps.is_empty()
    }
}

/// One write: after it is synced, call [`crate::Consensus::persisted`] with its number. Only writes that need a sync are
/// made: a commit index that moved alone rides along with the next one, or comes by itself when the cluster is quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Rising, with gaps.
    pub number: u64,
    /// A snapshot, safe on disk already, took the place of all entries so far: the log goes on from there.
    pub base: Option<Base>,
    /// The new hard state, when it changed.
    pub hard: Option<HardState>,
    /// Entries; the first one replaces every older entry at its index and above.
    pub entries: Vec<Entry>,
}

/// One thing for the body to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A committed command, never empty. Indices rise, with gaps where entries were not commands.
    Apply(Entry),
    /// The members changed. While a joint change is under way a voter that is about to leave is listed as a learner: it
    /// must still be reached. Both lists are sorted.
    Members {
        /// Index of the entry that did it.
        index: u64,
        /// Who votes.
        voters: Vec<Peer>,
        /// Who only listens.
        learners: Vec<Peer>,
    },
    /// From here on this node leads: the first entry of its own term is applied, so it knows everything acknowledged.
    Leading {
        /// The term it leads.
        term: u64,
        /// Index of that first entry.
        index: u64,
    },
    /// This node does not lead, or no longer. Also comes before each `Leading`, with no leader.
    Following {
        /// The current term.
        term: u64,
        /// Who leads, as far as is known.
        leader: Option<Peer>,
    },
    /// This node lacks entries that the leader does not keep any more: fetch the snapshot at this base from that peer,
    /// check it, make it durable, then call [`crate::Consensus::snapshot_ready`]; or, when it cannot be had,
    /// [`crate::Consensus::snapshot_failed`].
    Fetch {
        /// Who has it.
        from: Peer,
        /// Which one.
        base: Base,
    },
    /// The state machine is to be as the snapshot at this base has it: a fetched one took the place of the log. Only after
    /// [`crate::Consensus::snapshot_ready`]; `Members` follows.
    Restored {
        /// Which one.
        base: Base,
    },
    /// A linearizable read may be answered now: all that it must see came as `Apply` before. May be an answer to a read of
    /// an earlier start of this node: ignore a context that is not open.
    Read {
        /// As given to [`crate::Consensus::read`].
        context: u64,
    },
}
