//! The nouns of the log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One node of the cluster, by its id. Never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer(pub u64);

impl Peer {
    /// `None` for the engine's 0, which means nobody.
    pub(crate) fn some(id: u64) -> Option<Peer> {
        (id != 0).then_some(Peer(id))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a node must remember over a crash beside the entries: forgetting a vote could make two leaders of one term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// Highest term heard of.
    pub term: u64,
    /// Whom this node voted for in that term.
    pub vote: Option<Peer>,
    /// Highest index known to be committed. May lag behind: it is only ever learned again.
    pub commit: u64,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A command of the body; empty data marks the first entry of a leader's term.
    Normal,
    /// A change of the members; its data is this room's own.
    Members,
}

/// One place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Term of the leader that made it.
    pub term: u64,
    /// Its place: 2, 3, 4 … (index 1 is the pretended snapshot that every node of a cluster starts from).
    pub index: u64,
    /// Command or change of members.
    pub kind: Kind,
    /// The command. Cloning shares the bytes.
    pub data: Bytes,
}
