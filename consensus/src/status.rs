//! A look at the mind.

use crate::Peer;

/// Part a node plays in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Listens (voters without lead, and learners).
    Follower,
    /// Asks whether an election would be won, without raising the term.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Won the election. Acts only after [`crate::Step::Leading`].
    Leader,
}

/// The state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: Peer,
    /// Current term.
    pub term: u64,
    /// Who leads it, as far as is known.
    pub leader: Option<Peer>,
    /// Part of this node.
    pub role: Role,
    /// Highest committed index known.
    pub commit: u64,
    /// Highest index carried out.
    pub applied: u64,
    /// Where the log ends.
    pub last_index: u64,
    /// Who votes, sorted.
    pub voters: Vec<Peer>,
    /// Who only listens, sorted; during a joint change also voters about to leave.
    pub learners: Vec<Peer>,
    /// A joint change is under way.
    pub joint: bool,
    /// Only at a leader, sorted: (member, highest index known to be stored there, heard from since the last quorum check).
    pub progress: Vec<(Peer, u64, bool)>,
}
