//! Who votes. Voters are 1, 3 or 5, never an even number; everybody else is a learner and works just the same.
//!
//! ```text
//!   a voter silent for `replace_after`, or retired ─┬─ a learner is ready ──▶ takes its place, in one joint change
//!                                                   ├─ five voters, two lost ▶ the other three go on as three
//!                                                   └─ else ────────────────▶ nothing changes
//!   nobody lost, fewer voters than wished, two learners ready ──▶ both vote
//! ```
//! One change at a time, none while joint; after a voter was replaced none for [`CHANGE_PAUSE_MS`], unless one more loss
//! would stop the cluster. Silence is counted in this leader's own ticks, and begins when it takes the lead.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::{CHANGE_PAUSE_MS, REMIND_MS, TRANSFERS};
use crate::master::{Asker, Master, Output};
use protocol::limits::LIVENESS_MS;
use protocol::{Answer, NodeId, Refusal};

/// How the consensus stands, as its leader sees it.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who only listens.
    pub learners: Vec<NodeId>,
    /// A change is under way.
    pub joint: bool,
    /// Who was heard on the consensus link lately, ourselves included.
    pub heard: BTreeSet<NodeId>,
    /// Whose log matches ours near its end, ourselves included.
    pub caught_up: BTreeSet<NodeId>,
    /// Whose log is a moment behind ours at most, ourselves included.
    pub keeps_up: BTreeSet<NodeId>,
}

/// What a leader remembers of voters and learners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Electorate {
    now: Configuration,
    /// Cluster time at which each of them was last heard on the consensus link.
    heard_ms: BTreeMap<NodeId, u64>,
    /// Cluster time at which a voter last had to go.
    changed_ms: Option<u64>,
    /// What was asked of the consensus, and when.
    wished: Option<(Vec<NodeId>, Vec<NodeId>, u64)>,
    /// Transfers that wait for somebody fit: who asked, for whom, and when.
    transfers: Vec<(Asker, Option<NodeId>, u64)>,
}

impl Electorate {
    /// Whether the consensus has told who votes.
    pub(crate) fn is_known(&self) -> bool {
        !self.now.voters.is_empty()
    }

    pub(crate) fn voters(&self) -> &[NodeId] {
        &self.now.voters
    }

    pub(crate) fn votes(&self, node: NodeId) -> bool {
        self.now.voters.contains(&node)
    }

    /// Milliseconds of cluster time since it was heard on the consensus link.
    pub(crate) fn silence_ms(&self, node: NodeId, now_ms: u64) -> u64 {
        self.heard_ms.get(&node).map_or(0, |heard_ms| now_ms.saturating_sub(*heard_ms))
    }

    /// All silence begins anew: it was this node that heard nothing.
    pub(crate) fn forget_silence(&mut self, now_ms: u64) {
        self.heard_ms.values_mut().for_each(|heard_ms| *heard_ms = now_ms);
    }

    fn take(&mut self, now: &Configuration, now_ms: u64) {
        for node in now.voters.iter().chain(&now.learners) {
            let heard_ms = self.heard_ms.entry(*node).or_insert(now_ms);
            if now.heard.contains(node) {
                *heard_ms = now_ms;
            }
        }
        self.heard_ms.retain(|node, _| now.voters.contains(node) || now.learners.contains(node));
        if self.now.voters.iter().any(|voter| !now.voters.contains(voter)) {
            self.changed_ms = Some(now_ms);
        }
        self.now = now.clone();
    }

    /// Whether the voters may change: a pause after the last loss, unless one more would stop the cluster.
    fn may_change(&self, now_ms: u64) -> bool {
        let voters = &self.now.voters;
        let live = voters.iter().filter(|voter| self.silence_ms(**voter, now_ms) < LIVENESS_MS).count();
        let one_more_loss_stops_all = live <= voters.len() / 2 + 1;
        let pause_is_over =
            self.changed_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= CHANGE_PAUSE_MS);
        one_more_loss_stops_all || pause_is_over
    }
}

impl Master {
    /// Hears how the consensus stands, and asks it for other voters or learners where the rules of this page want them. To
    /// be called each tick, and when something of it changed.
    pub fn configuration(&mut self, ledger: &Ledger, now: &Configuration) {
        self.electorate.take(now, self.now_ms);
        if now.joint {
            return;
        }
        let needed = self.settings.expect.min(self.settings.voters).max(1);
        let in_sync = |voter: &NodeId| now.caught_up.contains(voter) && now.heard.contains(voter);
        if now.voters.len() >= needed && now.voters.iter().all(in_sync) {
            self.open(ledger);
        }
        let wished = self.wished_voters(ledger);
        let members = ledger.members().map(|member| member.id);
        let rest: BTreeSet<NodeId> = members.filter(|id| !wished.contains(id)).collect();
        let (voters, learners): (Vec<_>, Vec<_>) = (wished.into_iter().collect(), rest.into_iter().collect());
        if voters == now.voters && learners == now.learners {
            self.electorate.wished = None;
            return;
        }
        let said = self.electorate.wished.as_ref().is_some_and(|(v, l, at_ms)| {
            (v, l) == (&voters, &learners) && self.now_ms.saturating_sub(*at_ms) < REMIND_MS
        });
        if !said {
            self.electorate.wished = Some((voters.clone(), learners.clone(), self.now_ms));
            self.outputs.push(Output::Members { voters, learners });
        }
    }

    /// Whether this node applies what is committed within moments, and so learns answers by itself.
    pub(crate) fn applies_soon(&self, node: NodeId) -> bool {
        node == self.settings.me || self.electorate.now.keeps_up.contains(&node)
    }

    /// Who shall vote, by the rules at the head of this page.
    fn wished_voters(&self, ledger: &Ledger) -> BTreeSet<NodeId> {
        let electorate = &self.electorate;
        let voters = &electorate.now.voters;
        let mut wished: BTreeSet<NodeId> = voters.iter().copied().collect();
        if !electorate.may_change(self.now_ms) {
            return wished;
        }
        let ready = self.ready(ledger);
        let lost = self.lost(ledger);
        if let Some(first) = lost.first() {
            match ready.first() {
                Some(heir) => {
                    wished.remove(first);
                    wished.insert(*heir);
                }
                None if voters.len() == 5 && lost.len() >= 2 => {
                    wished.retain(|voter| !lost[..2].contains(voter));
                }
                None => {}
            }
        } else if voters.len() % 2 == 1 && voters.len() + 2 <= self.settings.voters && ready.len() >= 2 {
            wished.extend(&ready[..2]);
        }
        wished
    }

    /// Learners that could vote from now on, in the order of joining.
    fn ready(&self, ledger: &Ledger) -> Vec<NodeId> {
        let learns = |id: &NodeId| self.electorate.now.learners.contains(id);
        ledger.members().map(|member| member.id).filter(learns).filter(|id| self.is_sound(*id)).collect()
    }

    /// Voters that are to be replaced: those that are no members any more, then the ones silent for the longest.
    fn lost(&self, ledger: &Ledger) -> Vec<NodeId> {
        let silence_ms = |id: NodeId| match ledger.member(id) {
            None => u64::MAX,
            Some(_) => self.electorate.silence_ms(id, self.now_ms),
        };
        let others = self.electorate.now.voters.iter().copied().filter(|id| *id != self.settings.me);
        let mut lost: Vec<NodeId> =
            others.filter(|id| silence_ms(*id) >= self.settings.replace_after_ms).collect();
        lost.sort_by_key(|id| (u64::MAX - silence_ms(*id), *id));
        lost
    }

    /// Whether this node's log is as good as ours, and the node itself is here to stay.
    fn is_sound(&self, id: NodeId) -> bool {
        let here = |peer: &crate::roster::Peer| peer.fit() && !peer.is_leaving();
        self.electorate.now.caught_up.contains(&id)
            && self.electorate.silence_ms(id, self.now_ms) < LIVENESS_MS
            && self.peers.get(&id).is_some_and(here)
    }

    /// A user, or this node itself, wants another leader.
    pub(crate) fn transfer(&mut self, asker: Asker, to: Option<NodeId>) {
        let me = self.settings.me;
        if to == Some(me) {
            self.answer(asker, Answer::Done);
            return;
        }
        if to.is_some_and(|to| !self.electorate.votes(to)) {
            let text = "only a voter can take the lead".to_string();
            self.answer(asker, Answer::Refused(Refusal::Impossible(text)));
            return;
        }
        if !self.try_transfer(asker, to) {
            // Whoever has just come to lead has not heard everybody yet.
            self.electorate.transfers.push((asker, to, self.now_ms));
            if self.electorate.transfers.len() > TRANSFERS {
                let (asker, to, _) = self.electorate.transfers.remove(0);
                self.refuse_transfer(asker, to);
            }
        }
    }

    /// Transfers that found nobody fit so far: once a tick.
    pub(crate) fn look_at_transfers(&mut self) {
        for (asker, to, asked_ms) in core::mem::take(&mut self.electorate.transfers) {
            if self.try_transfer(asker, to) {
            } else if self.now_ms.saturating_sub(asked_ms) >= LIVENESS_MS {
                self.refuse_transfer(asker, to);
            } else {
                self.electorate.transfers.push((asker, to, asked_ms));
            }
        }
    }

    fn try_transfer(&mut self, asker: Asker, to: Option<NodeId>) -> bool {
        let mut heirs = self.heirs();
        heirs.retain(|id| to.is_none_or(|to| to == *id));
        let is_one = !heirs.is_empty();
        if is_one {
            self.answer(asker, Answer::Done);
            self.outputs.push(Output::Transfer { to: heirs });
        }
        is_one
    }

    fn refuse_transfer(&mut self, asker: Asker, to: Option<NodeId>) {
        let who = if to.is_some() { "it" } else { "every other voter, if there is one," };
        let text = format!("{who} is silent, about to leave, or has not caught up");
        self.answer(asker, Answer::Refused(Refusal::NotNow(text)));
    }

    /// This node is about to end, or can lead no longer. False: no other voter is fit to.
    pub fn hand_over(&mut self) -> bool {
        let heirs = self.heirs();
        let is_one = !heirs.is_empty();
        if is_one {
            self.outputs.push(Output::Transfer { to: heirs });
        }
        is_one
    }

    /// Other voters that are fit to lead.
    fn heirs(&self) -> Vec<NodeId> {
        let others = self.electorate.now.voters.iter().copied().filter(|id| *id != self.settings.me);
        others.filter(|id| self.is_sound(*id)).collect()
    }
}
