//! Who belongs to the cluster and who votes in it. Voters are 1, 3 or 5, never an even number; everybody else is a
//! learner and works just the same. One change at a time, none while joint. In this version voters never get fewer.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::REMIND_MS;
use crate::master::{Asker, Master, Output};
use protocol::limits::MEMBERS;
use protocol::{Answer, Change, Command, Member, NodeId, Refusal};

impl Master {
    /// Hears who votes and who learns now, and who is in sync with us (ourselves included): whose log matches near its
    /// end, heard lately. To be called when something of it changed, and each second.
    pub fn configuration(
        &mut self,
        ledger: &Ledger,
        voters: &[NodeId],
        learners: &[NodeId],
        joint: bool,
        caught_up: &BTreeSet<NodeId>,
    ) {
        self.voters = voters.to_vec();
        if joint {
            return;
        }
        let needed = self.settings.expect.min(self.settings.voters).max(1);
        if voters.len() >= needed && voters.iter().all(|voter| caught_up.contains(voter)) {
            self.open(ledger);
        }
        let mut wished: BTreeSet<NodeId> = voters.iter().copied().collect();
        let now: BTreeSet<NodeId> = learners.iter().copied().collect();
        let members: Vec<NodeId> = ledger.members().map(|member| member.id).collect();
        let ready = members.iter().filter(|id| now.contains(id) && caught_up.contains(id));
        let ready: Vec<NodeId> = ready.copied().collect();
        if voters.len() % 2 == 1 && voters.len() + 2 <= self.settings.voters && ready.len() >= 2 {
            wished.extend(&ready[..2]);
        }
        let rest: BTreeSet<NodeId> = members.into_iter().filter(|id| !wished.contains(id)).collect();
        if wished.len() == voters.len() && rest == now {
            self.wished = None;
            return;
        }
        let (voters, learners): (Vec<_>, Vec<_>) = (wished.into_iter().collect(), rest.into_iter().collect());
        let said = self.wished.as_ref().is_some_and(|(v, l, at_ms)| {
            (v, l) == (&voters, &learners) && self.now_ms.saturating_sub(*at_ms) < REMIND_MS
        });
        if !said {
            self.wished = Some((voters.clone(), learners.clone(), self.now_ms));
            self.outputs.push(Output::Members { voters, learners });
        }
    }

    /// A node asks to be a member, or tells a new start or address. The silent bearer of its name is retired with it.
    pub(crate) fn join(&mut self, ledger: &Ledger, asker: Asker, member: Member) {
        if is_known(ledger, &member) {
            self.answer(asker, Answer::Done);
            return;
        }
        let known = ledger.member(member.id);
        if known.is_some_and(|known| known.boot > member.boot) {
            self.answer(asker, Answer::Refused(Refusal::Stale));
            return;
        }
        let bearer = ledger.member_named(&member.name).map(|bearer| bearer.id).filter(|id| *id != member.id);
        if bearer.is_some_and(|bearer| self.keeps_name(bearer)) {
            self.answer(asker, Answer::Refused(Refusal::NameTaken { name: member.name }));
            return;
        }
        if known.is_none() && bearer.is_none() && ledger.members().count() >= MEMBERS {
            let text = format!("the cluster has {MEMBERS} members, which is its limit");
            self.answer(asker, Answer::Refused(Refusal::Impossible(text)));
            return;
        }
        if let Some((_, askers)) = self.joins.get_mut(&member.id).filter(|(asked, _)| *asked == member) {
            if !askers.contains(&asker) {
                askers.push(asker);
            }
            return;
        }
        if let Some(bearer) = bearer {
            self.push(Command::Configure(Change::Leave(bearer)));
        }
        self.push(Command::Configure(Change::Member(member.clone())));
        let mut askers = self.joins.remove(&member.id).map_or_else(Vec::new, |(_, askers)| askers);
        askers.push(asker);
        self.joins.insert(member.id, (member, askers));
    }

    /// A name belongs to its bearer while that is alive, votes, or may yet show itself.
    fn keeps_name(&self, bearer: NodeId) -> bool {
        let alive = self.peers.get(&bearer).is_some_and(|peer| peer.shown.alive);
        alive || bearer == self.settings.me || self.voters.is_empty() || self.voters.contains(&bearer)
    }

    /// Answers those who asked to join as far as it is so now; where a change did nothing, their wish is looked at anew.
    pub(crate) fn ask_again(&mut self, ledger: &Ledger, joined: Option<NodeId>) {
        let waiting: Vec<NodeId> =
            self.joins.keys().copied().filter(|id| joined.is_none_or(|j| j == *id)).collect();
        for id in waiting {
            let Some((member, askers)) = self.joins.remove(&id) else { continue };
            for asker in askers {
                self.join(ledger, asker, member.clone());
            }
        }
    }
}

/// Whether the ledger has exactly this, but for the number that it gave.
fn is_known(ledger: &Ledger, member: &Member) -> bool {
    ledger.member(member.id).is_some_and(|known| Member { number: member.number, ..known.clone() } == *member)
}
