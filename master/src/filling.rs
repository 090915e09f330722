//! Who gets a place in the entry that leaves now: assignments travel with the submissions and results that make them
//! possible.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::{LOOKS, REMIND_MS, SHAPES_TRIED};
use crate::master::{Master, Output, Planned};
use crate::placement::{Policy, RunsJobs, choose, could_ever, others_could};
use crate::roster::{Peer, Slot, Spares};
use protocol::{AttemptRef, Chosen, Command, IfUnsatisfiable, JobId, JobSpec, NodeId, Reason};

impl Master {
    /// Puts the jobs that these commands submit into the queue, ahead of their being applied: an `Assign` later in the
    /// log finds them queued, or does nothing. Those that ask to fail where nobody could run them end in this entry.
    pub(crate) fn line_up(&mut self, ledger: &Ledger, commands: &mut Vec<Command>) {
        let mut expired = Vec::new();
        for command in commands.iter() {
            let key = match command {
                Command::Submit { key, .. } => key,
                Command::SubmitAll { batch, .. } => &batch.key,
                _ => continue,
            };
            if key.as_deref().is_some_and(|key| ledger.knows_key(key)) {
                continue;
            }
            match command {
                Command::Submit { job, spec, .. } => {
                    expired.extend(self.line_up_one(ledger, *job, spec));
                }
                Command::SubmitAll { batch, .. } => {
                    let jobs = batch.jobs();
                    expired.extend(jobs.filter_map(|(job, spec)| self.line_up_one(ledger, job, spec)));
                }
                _ => {}
            }
        }
        commands.extend(expired);
    }

    /// Queues a job that arrives; its end instead, where it fails because nobody could run it.
    fn line_up_one(&mut self, ledger: &Ledger, job: JobId, spec: &Arc<JobSpec>) -> Option<Command> {
        if ledger.holds(job) || self.queue.arriving(job).is_some() {
            return None;
        }
        if spec.if_unsatisfiable == IfUnsatisfiable::Fail {
            match self.unsatisfiable(spec) {
                Some(true) => return Some(Command::Expire { job, reason: Reason::Unsatisfiable }),
                Some(false) => {}
                None => drop(self.undecided.insert(job)),
            }
        }
        self.queue.arrive(job, spec, self.now_ms);
        None
    }

    /// Assigns waiting jobs, at most `room` of them: to free slots, and where there is none for a job, ahead of one.
    pub(crate) fn fill(&mut self, ledger: &Ledger, room: usize, commands: &mut Vec<Command>) {
        let Some(mut look) = self.queue.look(LOOKS) else { return };
        let ids = |which: fn(&Peer) -> bool, peers: &BTreeMap<NodeId, Peer>| -> Vec<NodeId> {
            peers.values().filter(|peer| which(peer)).map(|peer| peer.shown.id).collect()
        };
        // Whoever may be sent something ahead of a free slot. With a queue for each worker that is every one of them, in turn.
        let (mut free, mut quick, ahead) = match self.settings.policy {
            Policy::Single => {
                (ids(Peer::has_room, &self.peers), ids(Peer::takes_spares, &self.peers), Spares::Quick)
            }
            Policy::Multi => (Vec::new(), ids(Peer::fit, &self.peers), Spares::Queue),
        };
        let (mut tries, mut assigned) = (SHAPES_TRIED, 0);
        while !free.is_empty() || !quick.is_empty() {
            let place = self.queue.next(&mut look);
            let is_enough = place.is_some() && (assigned >= room || tries == 0);
            if is_enough || !look.affords(free.len() + quick.len()) {
                self.queue.pause(look);
                break;
            }
            let Some(place) = place else { break };
            let job = self.queue.job_at(ledger, &place);
            let Some((job, spec, attempt)) = job.and_then(|job| self.wanted(ledger, job)) else {
                self.queue.strike(&place);
                continue;
            };
            if self.must_wait(ledger, &spec) {
                self.queue.hold_back(&place);
                continue;
            }
            match self.place(&spec, &free, Spares::None).or_else(|| self.place(&spec, &quick, ahead)) {
                Some((node, why)) => {
                    self.queue.take(&place);
                    commands.extend(self.assign(job, attempt, &spec, (node, why)));
                    assigned += 1;
                    free.retain(|id| *id != node || self.peers.get(id).is_some_and(Peer::has_room));
                }
                None => {
                    if !self.may_go_ahead(&spec) {
                        // Where the next free slot is for it, nothing younger is sent ahead.
                        let is_for_it = |id: &NodeId| {
                            self.peers.get(id).is_some_and(|peer| could_ever(&spec, &peer.shown))
                        };
                        quick.retain(|id| !is_for_it(id));
                    }
                    look.pass(&place);
                    tries -= 1;
                }
            }
        }
        if assigned > 0 {
            self.tell_loads();
        }
    }

    /// What a waiting job asks for, and the number its next attempt gets.
    fn wanted(&self, ledger: &Ledger, job: JobId) -> Option<(JobId, Arc<JobSpec>, u32)> {
        let terms = ledger.terms(job).or_else(|| self.queue.arriving(job))?;
        let attempts = ledger.changed_job(job).map_or(0, |known| known.attempts.len());
        Some((job, Arc::clone(terms), attempts as u32 + 1))
    }

    /// The node for a job among these, and why; with `spares`, one where it waits for a free slot.
    pub(crate) fn place(&self, spec: &JobSpec, among: &[NodeId], spares: Spares) -> Option<(NodeId, Chosen)> {
        let spares = if self.may_go_ahead(spec) { spares } else { Spares::None };
        let me = self.settings.me;
        let peers = among.iter().filter_map(|id| self.peers.get(id));
        let seats = peers.map(|peer| peer.seat(me, spec, spares));
        // Only the leader's own seat asks whether others could. A member that has not spoken to this leader yet might.
        let might = |peer: &Peer| peer.member_boot.is_some() && peer.shown.alive && !peer.reported;
        let others = among.contains(&me) && {
            let present = self.peers.values().filter(|peer| peer.fit()).map(|peer| &peer.shown);
            self.peers.values().any(|peer| peer.shown.id != me && might(peer))
                || others_could(spec, present, Some(me))
        };
        let by = (self.settings.runs_jobs, self.settings.policy);
        let (node, why) = choose(spec, seats, by, others, self.last_chosen)?;
        let why = match (spares, why) {
            (Spares::Quick, Chosen::Least { of, .. }) => Chosen::Ahead { of },
            (Spares::Quick, _) => Chosen::Ahead { of: 1 },
            (Spares::Queue, Chosen::Least { of, .. }) => Chosen::Turn { of },
            (_, why) => why,
        };
        Some((node, why))
    }

    fn assign(
        &mut self,
        job: JobId,
        attempt: u32,
        spec: &Arc<JobSpec>,
        (node, why): (NodeId, Chosen),
    ) -> Option<Command> {
        let peer = self.peers.get_mut(&node)?;
        let boot = peer.boot;
        let pool = peer.pool_taken(spec);
        peer.occupy(AttemptRef { job, attempt }, Slot::new(Some(spec), true, 0, self.now_ms).in_pool(pool));
        self.last_chosen = node;
        self.planned.insert(job, Planned { attempt, node, boot });
        self.turnstile.goes(job, spec);
        Some(Command::AssignWhy { job, attempt, node, boot, why })
    }

    fn tell_loads(&mut self) {
        if self.loads_told_ms.is_some_and(|told_ms| self.now_ms.saturating_sub(told_ms) < REMIND_MS) {
            return;
        }
        self.loads_told_ms = Some(self.now_ms);
        let present = self.peers.values().filter(|peer| peer.fit());
        let looked = present.map(|peer| (peer.shown.id, peer.shown.load)).collect();
        self.outputs.push(Output::Loads { looked });
    }

    /// Whether no present node could ever run this; `None` while members have not said what they offer.
    pub(crate) fn unsatisfiable(&self, spec: &JobSpec) -> Option<bool> {
        let (me, runs_jobs) = (self.settings.me, self.settings.runs_jobs);
        let counts = |peer: &&Peer| runs_jobs != RunsJobs::Never || peer.shown.id != me;
        let members =
            || self.peers.values().filter(|p| p.member_boot.is_some() && p.shown.alive).filter(counts);
        if members().any(|peer| peer.reported && could_ever(spec, &peer.shown)) {
            return Some(false);
        }
        members().all(|peer| peer.reported).then_some(true)
    }

    /// Whether a job may wait on a worker for a slot. What may have one attempt at most may not: where it is given back before it
    /// has begun, that was its attempt. And how fast jobs of a rate begin, that worker would decide. With a queue for each
    /// worker there is no other way to begin; and nothing is asked back from there.
    fn may_go_ahead(&self, spec: &JobSpec) -> bool {
        let paced = spec.more.limits.as_ref().is_some_and(|share| share.rate.is_some());
        self.settings.policy == Policy::Multi || !(spec.more.at_most_once || paced)
    }
}
