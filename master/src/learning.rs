//! What follows from an applied entry. Only here answers to submissions and dispatches come into being. Each job an entry
//! touched is compared with the ledger as it is now, so that it does not matter which command did what.

use alloc::vec::Vec;

use crate::hearing::{attempt_of, verdict_on};
use crate::held::Held;
use crate::ledger::{Effect, Ledger, is_noted};
use crate::master::{Asker, Master};
use crate::roster::{Peer, Slot};
use protocol::{Answer, AttemptRef, Fact, JobId, JobState, NodeId, Refusal, ToNode, Verdict, What};

impl Master {
    /// Takes in what an applied entry brought about; `ledger` is already after it.
    pub fn applied(&mut self, ledger: &Ledger, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Fact(fact) => self.fact(ledger, fact),
                Effect::Decided { origin, job, jobs, answer } => {
                    let asker = Asker { gateway: origin.gateway, boot: origin.boot, number: origin.number };
                    self.adopting.remove(&asker);
                    if self.submits.remove(&asker) && !self.applies_soon(origin.gateway) {
                        self.answer(asker, answer.clone());
                    }
                    for job in job.following(*jobs) {
                        self.queue.arrived(job);
                        self.compare(ledger, job);
                    }
                }
                Effect::Void { job: Some(job), .. } => {
                    self.compare(ledger, *job);
                    self.settle(ledger, *job);
                }
                Effect::Void { job: None, .. } => {
                    self.ask_again(ledger, None);
                    self.drained(ledger, None);
                }
            }
        }
    }

    fn fact(&mut self, ledger: &Ledger, fact: &Fact) {
        match &fact.what {
            What::Assigned { attempt, node } => self.assigned(ledger, *attempt, *node),
            What::Joined { node, .. } => {
                let now_ms = self.now_ms;
                let peer = self.peers.entry(*node).or_insert_with(|| Peer::new(*node, now_ms));
                peer.member_boot = ledger.member(*node).map(|member| member.boot);
                peer.drain(ledger.is_draining(*node));
                self.queue.wake();
                self.take_back(ledger, *node);
                self.ask_again(ledger, Some(*node));
            }
            What::Left { node } => {
                self.peers.remove(node);
                self.comparing.forget(*node);
                self.queue.release_all();
                self.take_back(ledger, *node);
                self.drained(ledger, Some(*node));
            }
            What::Drained { node, draining } => {
                if let Some(peer) = self.peers.get_mut(node) {
                    peer.drain(*draining);
                }
                self.queue.wake();
                self.drained(ledger, Some(*node));
            }
            What::Opened => self.opening = false,
            _ => {}
        }
        if let Some(job) = fact.what.job() {
            self.compare(ledger, job);
            self.settle(ledger, job);
        }
    }

    /// An attempt is committed: only now it may leave.
    fn assigned(&mut self, ledger: &Ledger, attempt: AttemptRef, node: NodeId) {
        let planned = self.planned.get(&attempt.job).copied();
        if let Some(planned) = planned.filter(|planned| planned.attempt == attempt.attempt) {
            self.planned.remove(&attempt.job);
            self.turnstile.gone(attempt.job);
            if planned.node != node {
                self.free(planned.node, attempt);
            }
        }
        let Some(known) = attempt_of(ledger, attempt) else { return };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if known.boot != peer.boot || !peer.shown.alive {
            // It started anew, or went silent, while this was on its way.
            peer.free(attempt);
            self.take_back(ledger, node);
            return;
        }
        let spec = ledger.terms(attempt.job);
        // Where it was submitted by the same entry, the slot that was planned is gone by now: the same one is found again.
        let planned = peer.slots().get(&attempt).and_then(Slot::pool_number);
        let pool = planned.or_else(|| peer.pool_taken(spec?));
        peer.occupy(attempt, Slot::new(spec, false, peer.answered, self.now_ms).in_pool(pool));
        #[cfg(feature = "mutants")]
        if self.settings.mutant == Some(crate::Mutant::OverCapacity) {
            peer.free(attempt);
        }
        self.dispatch(ledger, node, attempt);
    }

    /// Brings what we remember of a job in line with the ledger.
    pub(crate) fn compare(&mut self, ledger: &Ledger, id: JobId) {
        let held = ledger.jobs.get(&id);
        let (job, state) = (held.and_then(Held::changed), held.map(Held::state));
        let mut gone = None;
        if let Some(planned) = self.planned.get(&id).copied() {
            let attempts = job.map_or(0, |job| job.attempts.len());
            let waits = state == Some(JobState::Queued) || self.queue.arriving(id).is_some();
            let same_start = ledger.member(planned.node).is_some_and(|member| member.boot == planned.boot);
            let taken = same_start && !ledger.is_draining(planned.node);
            // Where its `Assign` would still be carried out, it is on its way; else it did, or will do, nothing.
            if !(waits && attempts + 1 == planned.attempt as usize && taken) {
                self.planned.remove(&id);
                gone = self.turnstile.gone(id);
                self.free(planned.node, AttemptRef { job: id, attempt: planned.attempt });
            }
        }
        match state {
            Some(JobState::Queued) => {
                self.deadlines.remove(id);
                if !self.planned.contains_key(&id) {
                    self.queue.insert(ledger, id);
                }
            }
            None if self.queue.arriving(id).is_some() => {}
            _ => {
                self.queue.remove(ledger, id);
                self.undecided.remove(&id);
                match job.and_then(|job| job.not_before_ms) {
                    Some(not_before_ms) => self.deadlines.set(id, not_before_ms),
                    None => self.deadlines.remove(id),
                }
            }
        }
        let share = gone.as_ref().or_else(|| held?.terms().more.limits.as_ref());
        self.share_freed(ledger, share);
    }

    /// Frees a slot that was only planned, unless the very attempt is committed there.
    fn free(&mut self, node: NodeId, attempt: AttemptRef) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.slots().get(&attempt).is_some_and(|slot| slot.planned) {
            peer.free(attempt);
            self.queue.wake();
        }
    }

    /// Says what became of a job to those who wait for word of it.
    fn settle(&mut self, ledger: &Ledger, id: JobId) {
        let all = AttemptRef { job: id, attempt: 0 }..=AttemptRef { job: id, attempt: u32::MAX };
        let current = ledger.changed_job(id).and_then(|job| job.current()).map(|attempt| attempt.number);
        let ended: Vec<AttemptRef> = self.requeueing.range(all.clone()).copied().collect();
        for attempt in ended.iter().filter(|attempt| Some(attempt.attempt) != current) {
            self.requeueing.remove(attempt);
        }
        let awaited: Vec<(AttemptRef, NodeId)> =
            self.results.range(all).map(|(a, node)| (*a, *node)).collect();
        for (attempt, node) in awaited {
            let verdict = match attempt_of(ledger, attempt) {
                Some(known) if !is_noted(known) && known.node == node => continue,
                // It became another node's while its result was on its way: whoever has it brings it again.
                Some(known) if !is_noted(known) => {
                    self.results.remove(&attempt);
                    continue;
                }
                Some(known) => verdict_on(known),
                // It came so late that its job has left the ledger.
                None => Verdict::Forgotten,
            };
            self.results.remove(&attempt);
            self.send(node, ToNode::Settled { attempt, verdict });
        }
        let state = ledger.state(id);
        #[cfg(feature = "mutants")]
        if self.breaks(crate::Mutant::SlotFreedByJobsEnd) && state.is_some_and(JobState::is_terminal) {
            let all = AttemptRef { job: id, attempt: 0 }..=AttemptRef { job: id, attempt: u32::MAX };
            for peer in self.peers.values_mut() {
                let slots: Vec<AttemptRef> = peer.slots().range(all.clone()).map(|(held, _)| *held).collect();
                for held in slots {
                    peer.free(held);
                }
            }
            self.queue.wake();
        }
        if state.is_none_or(JobState::is_terminal) {
            for asker in self.cancels.remove(&id).unwrap_or_default() {
                let answer = match state {
                    None => Answer::Refused(Refusal::NotFound),
                    Some(JobState::Cancelled) => Answer::Done,
                    Some(_) => Answer::Refused(Refusal::Ended { job: id }),
                };
                self.answer(asker, answer);
            }
        }
    }
}
