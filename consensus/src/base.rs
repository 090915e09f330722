//! The point that a log goes on from: everything up to it is in a snapshot, not in entries.

use raft::eraftpb::{ConfState, Snapshot};
use serde::{Deserialize, Serialize};

use crate::limits::{MEMBERS_MAX, NUMBER_MAX};
use crate::{Entry, Peer};

/// Every log of a cluster without a real snapshot starts after this pretended one.
pub(crate) const FIRST_INDEX: u64 = 1;
pub(crate) const FIRST_TERM: u64 = 1;

/// A place in the agreed order and who the members were there: what a snapshot must say beside the state itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Everything up to this index is in the snapshot.
    pub index: u64,
    /// Term of the entry at that index.
    pub term: u64,
    pub(crate) voters: Vec<Peer>,
    pub(crate) learners: Vec<Peer>,
    /// While a joint change is under way: who voted before it.
    pub(crate) outgoing: Vec<Peer>,
    /// Of those, who becomes a learner when it is over.
    pub(crate) learners_next: Vec<Peer>,
    pub(crate) auto_leave: bool,
}

impl Base {
    /// Where every log of the cluster that `founder` founded begins: index 1, term 1, this one voter.
    pub fn founded(founder: Peer) -> Self {
        Self { index: FIRST_INDEX, term: FIRST_TERM, voters: vec![founder], ..Self::default() }
    }

    /// Where a log begins anew by hand: at this place of it, whoever voted before, `survivor` votes alone.
    pub fn recovered(index: u64, term: u64, survivor: Peer) -> Self {
        Self { index, term, voters: vec![survivor], ..Self::default() }
    }

    /// A real snapshot stands behind it.
    pub fn is_real(&self) -> bool {
        self.index > FIRST_INDEX
    }

    pub(crate) fn of(index: u64, term: u64, conf: &ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids: Vec<Peer> = ids.iter().copied().map(Peer).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            index,
            term,
            voters: sorted(&conf.voters),
            learners: sorted(&conf.learners),
            outgoing: sorted(&conf.voters_outgoing),
            learners_next: sorted(&conf.learners_next),
            auto_leave: conf.auto_leave,
        }
    }

    pub(crate) fn conf(&self) -> ConfState {
        let ids = |peers: &[Peer]| peers.iter().map(|peer| peer.0).collect();
        ConfState {
            voters: ids(&self.voters),
            learners: ids(&self.learners),
            voters_outgoing: ids(&self.outgoing),
            learners_next: ids(&self.learners_next),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }

    /// Whether this node is among the members. (Who is in `learners_next` is in `outgoing` too.)
    pub(crate) fn names(&self, id: Peer) -> bool {
        [&self.voters, &self.learners, &self.outgoing].iter().any(|ids| ids.contains(&id))
    }

    /// As the engine sends it: the state's bytes go another way.
    pub(crate) fn into_engine(self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.index;
        metadata.term = self.term;
        metadata.set_conf_state(self.conf());
        snapshot
    }

    pub(crate) fn from_engine(snapshot: &Snapshot) -> Self {
        let metadata = snapshot.get_metadata();
        Self::of(metadata.index, metadata.term, metadata.get_conf_state())
    }

    /// Why this cannot be: the engine stops the process over members that make no sense.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let lists = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let apart = |a: &[Peer], b: &[Peer]| a.iter().all(|id| !b.contains(id));
        let unique = |ids: &[Peer]| ids.windows(2).all(|pair| pair[0] < pair[1]);
        if self.index == 0 || self.term == 0 || self.index > NUMBER_MAX || self.term > NUMBER_MAX {
            return Some("names no place in a log");
        }
        if self.voters.is_empty() || lists.iter().map(|ids| ids.len()).sum::<usize>() > 2 * MEMBERS_MAX {
            return Some("has no voter or too many members");
        }
        if !lists.iter().all(|ids| unique(ids) && !ids.contains(&Peer(0))) {
            return Some("has members that are not sorted, or nobody among them");
        }
        let learners = apart(&self.learners, &self.voters) && apart(&self.learners, &self.outgoing);
        let next = self.learners_next.iter().all(|id| self.outgoing.contains(id))
            && apart(&self.learners_next, &self.voters);
        if !learners || !next || (self.outgoing.is_empty() && self.auto_leave) {
            return Some("has members that are two things at once");
        }
        None
    }

    /// Whether a log's entries go on from here without a hole.
    pub(crate) fn is_followed_by(&self, entries: &[Entry]) -> bool {
        entries.first().is_none_or(|first| first.index <= self.index + 1)
    }
}
