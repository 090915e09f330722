//! Why something was not done.

use crate::Peer;

/// Something handed in cannot be used. The mind is unchanged and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting is out of range.
    #[error("opening consensus: {0}")]
    Settings(String),
    /// What the disk kept contradicts itself.
    #[error("opening consensus from the log: {0}")]
    Restored(String),
    /// The message is for another node.
    #[error("taking a message for node {to}: this is node {this}")]
    NotForUs {
        /// Whom it names.
        to: Peer,
        /// Who we are.
        this: Peer,
    },
    /// An answer from a node that is no member.
    #[error("taking an answer of node {from}: it is no member")]
    Stranger {
        /// Who sent it.
        from: Peer,
    },
    /// A field of a message cannot be.
    #[error("taking a message of node {from}: field `{field}` {why}")]
    Malformed {
        /// Who sent it.
        from: Peer,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A leader counts on entries that this node does not have: its disk lost what it had confirmed.
    #[error(
        "taking a heartbeat: the leader says that index {claimed} was stored here, the log ends at {last}; the disk lost what it \
         had confirmed, so this node has to join as a new one (`understudy repair`)"
    )]
    BeyondLog {
        /// The index that the leader takes for stored here.
        claimed: u64,
        /// Where the log ends.
        last: u64,
    },
}

/// A request that is right in itself was not accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only the leader does this (for a read: no leader is known).
    #[error("not leader")]
    NotLeader,
    /// A bound is reached, a handover is under way, or a membership change is pending: try again later.
    #[error("busy")]
    Busy,
    /// It can never be accepted: an empty or oversized command, or members that make no cluster.
    #[error("invalid request")]
    Invalid,
}
