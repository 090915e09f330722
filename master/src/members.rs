//! Who belongs to the cluster, in the order of joining.

use alloc::collections::{BTreeMap, BTreeSet};

use protocol::limits::MEMBERS;
use protocol::{Member, NodeId};

/// The members. The founder is number 1; a number is never given twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    by_id: BTreeMap<NodeId, Member>,
    by_number: BTreeMap<u32, NodeId>,
    given: u32,
    /// Those that get no new attempts.
    draining: BTreeSet<NodeId>,
}

impl Members {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Member> {
        self.iter().find(|member| member.name == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> + '_ {
        self.by_number.values().filter_map(|id| self.by_id.get(id))
    }

    /// Adds it, or takes over a later start or another address. Says whether anything changed: not for an earlier start,
    /// for another member's name, for what is known already, nor past [`MEMBERS`].
    pub(crate) fn join(&mut self, wished: &Member) -> bool {
        if self.named(&wished.name).is_some_and(|bearer| bearer.id != wished.id) {
            return false;
        }
        let number = match self.by_id.get(&wished.id) {
            Some(known) if wished.boot < known.boot => return false,
            Some(known) => known.number,
            None if self.by_id.len() >= MEMBERS => return false,
            None => self.given + 1,
        };
        let member = Member { number, ..wished.clone() };
        if self.by_id.get(&wished.id) == Some(&member) {
            return false;
        }
        self.given = self.given.max(number);
        self.by_number.insert(number, member.id);
        self.by_id.insert(member.id, member);
        true
    }

    /// Numbers given so far.
    pub(crate) fn given(&self) -> u32 {
        self.given
    }

    /// Takes all of them back as a snapshot has them. False: two have one number, or one was never given.
    pub(crate) fn take_back(&mut self, given: u32, members: alloc::vec::Vec<Member>) -> bool {
        self.given = given;
        members.into_iter().all(|member| {
            let new = self.by_number.insert(member.number, member.id).is_none() && member.number <= given;
            self.by_id.insert(member.id, member).is_none() && new
        })
    }

    /// Whether it gets no new attempts. Stays so over its restarts, until it is taken back or the node is no member any more.
    pub(crate) fn is_draining(&self, id: NodeId) -> bool {
        self.draining.contains(&id)
    }

    /// Those that get no new attempts, by id.
    pub(crate) fn draining(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.draining.iter().copied()
    }

    /// Says whether that is news of a member.
    pub(crate) fn drain(&mut self, id: NodeId, draining: bool) -> bool {
        if !self.by_id.contains_key(&id) {
            return false;
        }
        if draining { self.draining.insert(id) } else { self.draining.remove(&id) }
    }

    /// Says whether it was one.
    pub(crate) fn leave(&mut self, id: NodeId) -> bool {
        let Some(member) = self.by_id.remove(&id) else { return false };
        self.draining.remove(&id);
        self.by_number.remove(&member.number);
        true
    }

    pub(crate) fn check(&self) {
        assert!(self.by_id.len() == self.by_number.len(), "members are indexed by number");
        let mut names: alloc::vec::Vec<&str> = self.iter().map(|m| m.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() == self.by_id.len(), "no two members bear one name");
        assert!(self.draining.iter().all(|id| self.by_id.contains_key(id)), "only members are drained");
    }
}
