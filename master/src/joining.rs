//! Who belongs to the cluster, and whose a name is.

use alloc::format;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::master::{Asker, Master};
use protocol::limits::MEMBERS;
use protocol::{Answer, Change, Command, Member, NodeId, Refusal};

/// How the bearer of a name stands when another node wants it.
enum Bearer {
    /// It is alive: the name is taken.
    Alive,
    /// It is silent, but may yet show itself.
    MayReturn,
    /// It is retired in favour of the newcomer.
    Lost,
}

impl Master {
    /// A node asks to be a member, or tells a new start or address. The silent bearer of its name is retired with it: where
    /// that one votes, it does so, silent, until a learner that has caught up takes its place.
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
        match bearer.map(|bearer| self.bearer(bearer)) {
            Some(Bearer::Alive) => {
                self.answer(asker, Answer::Refused(Refusal::NameTaken { name: member.name }));
                return;
            }
            Some(Bearer::MayReturn) => {
                let text = format!("the bearer of the name {} may come back yet", member.name);
                self.answer(asker, Answer::Refused(Refusal::NotNow(text)));
                return;
            }
            Some(Bearer::Lost) | None => {}
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

    /// A voter is given as long as before it is replaced; a learner is lost with its lease.
    fn bearer(&self, bearer: NodeId) -> Bearer {
        let alive = self.peers.get(&bearer).is_some_and(|peer| peer.shown.alive);
        if alive || bearer == self.settings.me {
            return Bearer::Alive;
        }
        let silent_ms = self.electorate.silence_ms(bearer, self.now_ms);
        let waits = self.electorate.votes(bearer) && silent_ms < self.settings.replace_after_ms;
        if waits || !self.electorate.is_known() { Bearer::MayReturn } else { Bearer::Lost }
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
