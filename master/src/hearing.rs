//! What nodes say to the leader: users' requests, workers' full lists, results.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ledger::{Ledger, is_noted};
use crate::limits::{PEERS, WAITING_BYTES};
use crate::master::{Asker, Master};
use crate::roster::{Heard, Peer, Slot};
use protocol::recodex::Order;
use protocol::{
    Answer, Answered, Attempt, AttemptRef, AttemptState, Boot, Command, Dispatch, End, Forward, JobId,
    JobState, LossCause, NodeId, Origin, Outcome, Refusal, Report, Request, ToMaster, ToNode, Verdict,
};

impl Master {
    /// Takes in what a node says. A message of an earlier start or session is dropped; sessions of one start have to
    /// rise, and with a higher one the numbering of reports and answers begins anew.
    pub fn heard(&mut self, ledger: &Ledger, from: NodeId, boot: Boot, session: u64, message: ToMaster) {
        if !self.peers.contains_key(&from) && self.peers.len() >= PEERS {
            return;
        }
        let now_ms = self.now_ms;
        let peer = self.peers.entry(from).or_insert_with(|| Peer::new(from, now_ms));
        let Some(restarted) = peer.admit(boot, session, now_ms) else { return };
        if restarted {
            let ended = Asker { gateway: from, boot, number: 0 };
            self.submits.retain(|asker| asker.gateway != from || *asker >= ended);
            self.adopting.retain(|asker, _| asker.gateway != from || *asker >= ended);
            self.take_back(ledger, from);
            self.queue.release_all();
        }
        match message {
            ToMaster::Forward(forward) => self.forward(ledger, from, boot, forward),
            ToMaster::Report(report) => self.report(ledger, from, &report),
            ToMaster::Result { attempt, outcome } => self.result(ledger, from, attempt, outcome),
        }
    }

    fn forward(&mut self, ledger: &Ledger, gateway: NodeId, boot: Boot, forward: Forward) {
        let Forward { number, floor, request } = forward;
        let asker = Asker { gateway, boot, number };
        let origin = Origin { gateway, boot, number, floor };
        let starting = !ledger.is_open() && !matches!(request, Request::Join(_) | Request::Transfer { .. });
        match request {
            _ if starting => self.answer(asker, Answer::Refused(Refusal::Starting)),
            Request::Submit { job, spec, key, fingerprint } => {
                self.submit(ledger, asker, Command::Submit { job, spec, key, fingerprint, origin }, &origin);
            }
            Request::SubmitAll(batch) => {
                let batch = Arc::new(batch);
                self.submit(ledger, asker, Command::SubmitAll { batch, origin }, &origin);
            }
            Request::Cancel { job } => self.cancel(ledger, asker, job),
            Request::Join(member) => self.join(ledger, asker, member),
            Request::Transfer { to } => self.transfer(asker, to),
            Request::Drain { node, draining } => self.drain_node(ledger, asker, node, draining),
            Request::Recodex(order) => self.order(ledger, asker, order, origin),
        }
    }

    fn submit(&mut self, ledger: &Ledger, asker: Asker, command: Command, origin: &Origin) {
        if let Some(answer) = ledger.decided(origin) {
            self.answer(asker, answer);
        } else if self.submits.contains(&asker) {
            // It is on its way.
        } else if let Some(refusal) = self.not_for_anybody(ledger, &command) {
            self.answer(asker, Answer::Refused(refusal));
        } else if self.burdened || self.waiting_bytes >= WAITING_BYTES {
            self.answer(asker, Answer::Refused(Refusal::Full));
        } else if let Some(what) = self.shortage(ledger) {
            self.answer(asker, Answer::Refused(Refusal::Short(what)));
        } else {
            self.submits.insert(asker);
            self.push(command);
        }
    }

    /// Why an evaluation is refused before anything is proposed: no worker that is there could ever have it, or none is taken.
    fn not_for_anybody(&self, ledger: &Ledger, command: &Command) -> Option<Refusal> {
        let Command::Submit { spec, .. } = command else { return None };
        let asked = spec.more.recodex.as_ref()?;
        if ledger.evaluation(&asked.id).is_some() {
            return None;
        }
        let is_for_nobody = self.unsatisfiable(spec) == Some(true);
        match ledger.is_frozen() {
            true => Some(Refusal::Frozen),
            false => is_for_nobody.then_some(Refusal::NoWorker),
        }
    }

    /// An order goes into the log as it is, once.
    fn order(&mut self, ledger: &Ledger, asker: Asker, order: Order, origin: Origin) {
        if let Some(answer) = ledger.decided(&origin) {
            self.answer(asker, answer);
        } else if self.submits.insert(asker) {
            if let Order::Adopt { attempt, .. } = &order {
                self.adopting.insert(asker, *attempt);
            }
            self.push(Command::Recodex { order, origin });
        }
    }

    fn cancel(&mut self, ledger: &Ledger, asker: Asker, job: JobId) {
        match ledger.state(job) {
            Some(JobState::Cancelled) => self.answer(asker, Answer::Done),
            Some(state) if state.is_terminal() => self.answer(asker, Answer::Refused(Refusal::Ended { job })),
            // That there is no such job only the log can say: another node may lead by now and have acknowledged it.
            None | Some(_) => {
                let first = !self.cancels.contains_key(&job);
                let askers = self.cancels.entry(job).or_default();
                if !askers.contains(&asker) {
                    askers.push(asker);
                }
                if first {
                    self.push(Command::Cancel { job });
                }
            }
        }
    }

    /// Answers a gateway, unless it has started anew since it asked.
    pub(crate) fn answer(&mut self, asker: Asker, answer: Answer) {
        if self.peers.get(&asker.gateway).is_some_and(|peer| peer.boot == asker.boot) {
            self.send(asker.gateway, ToNode::Forwarded { number: asker.number, answer });
        }
    }

    fn report(&mut self, ledger: &Ledger, from: NodeId, report: &Report) {
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        match peer.hear(report, now_ms) {
            Heard::Old => return,
            Heard::Changed => self.queue.wake(),
            Heard::Same => {}
        }
        let boot = peer.boot;
        let committed = ledger.attempts_on(from).filter(|(_, meant_for)| *meant_for == boot);
        let hold: Vec<AttemptRef> = committed.map(|(attempt, _)| attempt).collect();
        self.reconcile(ledger, from, report, &hold);
        if let Some(checkpoint) = report.checkpoint {
            self.compare_digest(from, checkpoint);
        }
        for (attempt, cause) in &report.back {
            self.offer_again(ledger, from, *attempt, *cause);
        }
        self.ask_back(ledger, from, report);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let answer = peer.answer(now_ms);
        let roster = self.roster(ledger);
        self.send(from, ToNode::Answered(Answered { number: answer, report: report.number, hold, roster }));
    }

    /// Brings our view of a worker's slots in line with what it says it holds, and sends again what never reached it.
    fn reconcile(&mut self, ledger: &Ledger, from: NodeId, report: &Report, hold: &[AttemptRef]) {
        let held: BTreeSet<AttemptRef> = report.held.iter().copied().collect();
        let wanted: BTreeSet<AttemptRef> = hold.iter().copied().collect();
        let over: BTreeSet<AttemptRef> =
            report.kept.iter().copied().chain(report.back.iter().map(|(attempt, _)| *attempt)).collect();
        let ended = |attempt: &AttemptRef| over.contains(attempt) || self.results.contains_key(attempt);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let spec_of = |attempt: &AttemptRef| ledger.terms(attempt.job);
        let (echo, answered, now_ms) = (report.echo, peer.answered, self.now_ms);
        let (mut woken, mut freed, mut missing) = (false, Vec::new(), Vec::new());
        peer.change_slots(|slots| {
            for attempt in held.iter().chain(&wanted) {
                if held.contains(attempt) || !ended(attempt) {
                    let new = || Slot::new(spec_of(attempt), false, answered, now_ms);
                    slots.entry(*attempt).or_insert_with(new);
                }
            }
            for (attempt, pool) in &report.pools {
                if let Some(slot) = slots.get_mut(attempt) {
                    slot.is_in_pool(*pool);
                }
            }
            slots.retain(|attempt, slot| {
                let had_its_chance = echo > slot.sent_after;
                if held.contains(attempt) {
                    slot.seen = true;
                } else if slot.planned {
                    // It has not left yet.
                } else if wanted.contains(attempt) && !ended(attempt) {
                    if had_its_chance {
                        slot.sent_after = answered;
                        missing.push(*attempt);
                    }
                } else if had_its_chance || ended(attempt) {
                    freed.extend(slot.share().cloned());
                    woken = true;
                    return false;
                }
                true
            });
        });
        if woken {
            self.queue.wake();
        }
        freed.iter().for_each(|share| self.share_freed(ledger, Some(share)));
        missing.into_iter().for_each(|attempt| self.dispatch(ledger, from, attempt));
    }

    /// An attached worker is late with its attempt, or gone, or nobody has begun it: the job is for others too, unless as many as may hold it already do.
    fn offer_again(&mut self, ledger: &Ledger, from: NodeId, attempt: AttemptRef, cause: LossCause) {
        let Some(job) = ledger.changed_job(attempt.job) else { return };
        // One that was given back may have come to another node since.
        let is_its = |current: &Attempt| current.number == attempt.attempt && current.node == from;
        let is_current = job.current().is_some_and(is_its) && !self.is_adopting(attempt);
        let of_job = AttemptRef { attempt: 0, ..attempt }..=AttemptRef { attempt: u32::MAX, ..attempt };
        let has_result = self.results.range(of_job).next().is_some();
        let is_held = |tried: &&Attempt| {
            let tried_ref = AttemptRef { attempt: tried.number, ..attempt };
            self.peers
                .get(&tried.node)
                .is_some_and(|peer| peer.shown.alive && peer.slots().contains_key(&tried_ref))
        };
        let holders = job.attempts.iter().filter(is_held).count();
        let most = if job.spec.more.at_most_once { 0 } else { self.settings.max_offers as usize };
        let too_many = cause == LossCause::Late && holders >= most;
        if is_current && !has_result && !too_many && self.requeueing.insert(attempt) {
            self.push(Command::Requeue { job: attempt.job, attempt: attempt.attempt, cause });
        }
    }

    /// Sends a committed attempt to its worker.
    pub(crate) fn dispatch(&mut self, ledger: &Ledger, to: NodeId, attempt: AttemptRef) {
        let Some(job) = ledger.changed_job(attempt.job) else { return };
        let Some(current) = job.current().filter(|current| current.number == attempt.attempt) else { return };
        if self.settings.hold_dispatch {
            return;
        }
        let dispatch = Dispatch { attempt, term: current.term, spec: Arc::clone(&job.spec) };
        self.send(to, ToNode::Dispatch(dispatch));
    }

    fn result(&mut self, ledger: &Ledger, from: NodeId, attempt: AttemptRef, outcome: Arc<Outcome>) {
        // Its slot is free from here on: the next assignment travels with this result.
        let slot = self.peers.get(&from).and_then(|peer| peer.slots().get(&attempt));
        let share = slot.and_then(Slot::share).cloned();
        if self.peers.get_mut(&from).is_some_and(|peer| peer.ended(attempt)) {
            self.queue.wake();
            self.share_freed(ledger, share.as_ref());
        }
        let Some(known) = attempt_of(ledger, attempt) else {
            self.send(from, ToNode::Settled { attempt, verdict: Verdict::Forgotten });
            return;
        };
        if known.node != from {
            // A node may know that an attempt is its own now before its leader does: it says this again.
            let is_open = ledger.state(attempt.job).is_some_and(|state| !state.is_terminal());
            if !(is_open && ledger.is_evaluation(attempt.job)) {
                self.send(from, ToNode::Settled { attempt, verdict: Verdict::Forgotten });
            }
            return;
        }
        if is_noted(known) {
            let verdict = verdict_on(known);
            self.send(from, ToNode::Settled { attempt, verdict });
        } else if self.results.insert(attempt, from).is_none() {
            if outcome.end == End::Success {
                // It wins: where the job waits to be tried again, it waits no more.
                self.queue.remove(ledger, attempt.job);
            }
            let AttemptRef { job, attempt } = attempt;
            self.push(Command::FinishByRule { job, attempt, node: from, outcome });
        }
    }
}

/// An attempt as the ledger has it.
pub(crate) fn attempt_of(ledger: &Ledger, attempt: AttemptRef) -> Option<&Attempt> {
    let place = (attempt.attempt as usize).checked_sub(1)?;
    ledger.changed_job(attempt.job)?.attempts.get(place)
}

/// How a noted result was dealt with.
pub(crate) fn verdict_on(attempt: &Attempt) -> Verdict {
    match attempt.state {
        AttemptState::Succeeded | AttemptState::Failed => Verdict::Recorded,
        _ => Verdict::Superseded,
    }
}
