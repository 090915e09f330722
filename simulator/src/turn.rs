//! One turn of one node: its inbox goes into its minds, and what they want is carried out and checked.

use cast::{Input, Output};
use protocol::limits::DISK_HANGS_MS;
use protocol::{Boot, Command, Dispatch, Entry, Envelope, NodeId, ToMaster, ToNode, native};

use crate::disk::Ill;
use crate::limits::{GATHER_US, MS, PACE_US, WALK_ENTRIES};
use crate::network::{Body, Post, Way};
use crate::node::{self, RESOURCE_EVERY, RESOURCE_MILLI};
use crate::runner::Work;
use crate::watch::{Held, must};
use crate::world::{Event, World};

impl World<'_> {
    pub(crate) fn turn(&mut self, place: usize, boot: Boot) -> Held {
        if self.nodes[place].boot != boot {
            return Ok(());
        }
        let wall_ms = self.wall_ms(place);
        let Some(live) = self.nodes[place].live.as_mut().filter(|live| !live.paused) else { return Ok(()) };
        live.woken = false;
        let inputs = live.inbox.take();
        let more = !live.inbox.is_empty();
        let leads = live.cast.is_master().then(|| live.cast.term());
        let mut dispatched = false;
        for input in inputs {
            if let (Some(term), Input::ToMaster(envelope)) = (leads, &input)
                && let (true, ToMaster::Report(report)) = (envelope.term == term, &envelope.body)
            {
                self.hearing.report(place, envelope, report, self.now_us);
            }
            dispatched |= matches!(&input, Input::ToNode(Envelope { body: ToNode::Dispatch(_), .. }));
            live.cast.handle(input, wall_ms);
        }
        let outputs = live.cast.turn(wall_ms);
        let gathers = live.cast.gathers();
        let begun = gathers.filter(|_| std::mem::replace(&mut live.gathers, gathers) != gathers);
        if let Some(wait) = begun {
            let patience_us = self.chance.between(MS, GATHER_US);
            self.after(patience_us, Event::Gathered(place, boot, wait));
        }
        if more {
            self.wake(place);
        }
        self.fold.word(outputs.len() as u64);
        let members_changed = outputs.iter().any(|output| matches!(output, Output::Members));
        for output in outputs {
            self.carry_out(place, output)?;
        }
        self.flush(place);
        self.maybe_snapshot(place);
        if dispatched {
            self.holds_no_more_than_it_can(place)?;
        }
        self.check_ledger(place, members_changed)
    }

    /// A leader has waited long enough for a fuller entry.
    pub(crate) fn gathered(&mut self, place: usize, boot: Boot, wait: u64) {
        let node = &self.nodes[place];
        let is_on = |live: &node::Live| node.boot == boot && live.cast.gathers() == Some(wait);
        if node.live.as_ref().is_some_and(is_on) {
            self.hand(place, Input::Gathered);
        }
    }

    fn carry_out(&mut self, place: usize, output: Output) -> Held {
        match output {
            Output::Peer(message) => self.send_peer(place, message),
            Output::Write(write) => return self.write(place, write),
            Output::Follow(lead) => {
                if let Some(live) = &mut self.nodes[place].live {
                    live.lead = lead.map(|lead| (lead.node, lead.address.is_some()));
                }
            }
            Output::ToMaster(envelope) => self.send_to_master(place, envelope),
            Output::ToNode { to, envelope } => self.send_to_node(place, to, envelope),
            Output::Run(dispatch) => return self.run_attempt(place, &dispatch),
            Output::Kill(attempt) => {
                let boot = self.nodes[place].boot;
                self.watch.killed((self.nodes[place].id, boot), attempt)?;
                if self.nodes[place].live.as_mut().is_some_and(|live| live.runner.kill(attempt)) {
                    let grace_us = self.chance.between(MS, 500 * MS);
                    self.after(grace_us, Event::Ends(place, boot, attempt, false));
                }
            }
            Output::Tell { ticket, told } => return self.told(place, ticket, told),
            Output::ReadReady { ticket } => return self.read_ready(place, ticket),
            Output::ReadLost { ticket } => self.clients.forget(ticket),
            Output::Fact { fact, job } => {
                self.fold.word(fact.number);
                if let Some(live) = &mut self.nodes[place].live {
                    let before = std::mem::replace(&mut live.last_fact, fact.number);
                    must(fact.number == before + 1, "logs_complete", || {
                        format!("n{} tells fact {} after fact {before}", place + 1, fact.number)
                    })?;
                }
                self.nodes[place].shelf.hear(&fact, job.as_ref());
                self.watch.fact(self.now_us, &fact, job.as_ref())?;
            }
            Output::Promoted { term } => return self.promoted(place, term),
            Output::Demoted => self.tell(|| format!("n{} leads no longer", place + 1)),
            Output::NotAdmitted(refusal) => {
                return must(false, "acked_survives", || {
                    format!("n{} is not let in: {refusal:?}", place + 1)
                });
            }
            Output::Differs { node, index } => {
                return must(false, "same_ledger", || {
                    format!("{node} differs from n{} at index {index}", place + 1)
                });
            }
            Output::Fatal(text) => {
                return must(false, "same_ledger", || format!("n{} must stop: {text}", place + 1));
            }
            Output::Hand { worker, dispatch } => return self.handed(place, worker, &dispatch),
            Output::Late { worker, attempt } => return self.late(place, worker, attempt),
            Output::TooManyAttached { worker } => {
                return must(false, "queue_moves", || format!("n{} has no room for {worker:?}", place + 1));
            }
            Output::Fetch { from, base } => self.fetch(place, from, base),
            Output::Restored { index, last_fact } => self.restored(place, index, last_fact),
            Output::Led { term, leader } => return self.watch.led(place + 1, term, leader),
            Output::HandGuest { guest, dispatch } => return self.guest_handed(place, guest, &dispatch),
            Output::GuestGone { guest, attempt } => self.guest_gone(place, guest, attempt),
            Output::TooManyGuests { guest } => {
                return must(false, "queue_moves", || format!("n{} has no room for {guest:?}", place + 1));
            }
            Output::Looked(_) | Output::Members | Output::Roster | Output::Retired(_) => {}
        }
        Ok(())
    }

    fn promoted(&mut self, place: usize, term: u64) -> Held {
        self.tell(|| format!("n{} leads term {term}", place + 1));
        self.hearing.promoted(place, self.now_us);
        let applied = self.nodes[place].live.as_ref().map_or(0, |live| live.cast.ledger().applied());
        self.watch.promoted(self.nodes[place].id, term, applied)
    }

    fn write(&mut self, place: usize, write: consensus::Write) -> Held {
        self.proposes_rightly(place, &write)?;
        self.nodes[place].disk.write(write);
        Ok(())
    }

    /// What a leader writes into the log for the first time must be right to propose.
    fn proposes_rightly(&self, place: usize, write: &consensus::Write) -> Held {
        let leads = self.nodes[place].live.as_ref().filter(|live| live.cast.is_master());
        let Some(term) = leads.map(|live| live.cast.term()) else { return Ok(()) };
        for entry in write.entries.iter().filter(|e| e.term == term && e.kind == consensus::Kind::Normal) {
            let Ok(entry) = native::decode::<Entry>(&entry.data) else { continue };
            for command in &entry.commands {
                if let Command::Requeue { job, attempt, cause } = command {
                    let attempt = protocol::AttemptRef { job: *job, attempt: *attempt };
                    // One whose disk is lost never starts again.
                    let boot_now = |id: NodeId| {
                        let node = &self.nodes[node::place(id)];
                        if node.id == id { node.boot } else { Boot(u64::MAX) }
                    };
                    let who = (place, self.nodes[place].id);
                    self.hearing.takes_back(&self.watch, who, attempt, (*cause, boot_now, self.now_us))?;
                }
            }
        }
        Ok(())
    }

    /// Lets the disk begin with what waits, if it is idle.
    pub(crate) fn flush(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(bytes) = node.disk.begin() else { return };
        for piece in node.disk.flying() {
            self.fold.bytes(piece);
        }
        let (boot, sync_us, node_ill) = (node.boot, node.sync_us, node.disk.ill);
        let time_us = self.chance.between(200, sync_us) + bytes as u64 / 100;
        let fails = matches!(node_ill, Some(Ill::Full | Ill::FailsOnce));
        let ended = if fails { Event::DiskFailed(place, boot) } else { Event::Synced(place, boot) };
        self.after(time_us, ended);
        if let Some(number) = self.nodes[place].disk.waits_for() {
            self.after(DISK_HANGS_MS * MS, Event::DiskHangs(place, boot, number));
        }
    }

    /// Looks at the ledger after a turn that applied something.
    /// - `same_ledger`: it is as any other node's after the same index.
    /// - `acked_survives`: what is applied for the first time anywhere was synced by a majority of the voters. A voter whose
    ///   disk was lost since counts with what was on it: what it promised before that is on its way and rightly counted, and
    ///   as it never votes again, every later majority still has one of the others.
    fn check_ledger(&mut self, place: usize, members_changed: bool) -> Held {
        let Some(live) = &self.nodes[place].live else { return Ok(()) };
        let ledger = live.cast.ledger();
        let applied = ledger.applied();
        self.watch.ledger(place + 1, ledger)?;
        self.calls_owed(place)?;
        let Some(live) = &self.nodes[place].live else { return Ok(()) };
        let ledger = live.cast.ledger();
        if applied <= self.watch.reached {
            return Ok(());
        }
        self.watch.reached = applied;
        if applied % WALK_ENTRIES == 0 {
            ledger.check();
        }
        let status = live.cast.status();
        if members_changed || status.joint {
            return Ok(());
        }
        let term = self.nodes[place].disk.term(applied);
        let safe = status.voters.iter().filter(|voter| {
            let id = NodeId(voter.0);
            let disk = self.nodes[node::place(id)].disk_of(id);
            disk.zip(term).is_some_and(|(disk, term)| disk.holds(applied, term))
        });
        let (safe, voters) = (safe.count(), status.voters.len());
        must(2 * safe > voters, "acked_survives", || {
            format!("n{} applies index {applied} while {safe} of {voters} voters have synced it", place + 1)
        })
    }

    /// `never_over_capacity`: a leader never sends more than a worker has slots for, counting what still occupies one there
    /// whatever became of its job; and ahead of them only as many as the worker's pace allows (with a queue for each worker: any
    /// number). Nor more than it has of a resource, counting all of them.
    fn holds_no_more_than_it_can(&self, place: usize) -> Held {
        let node = &self.nodes[place];
        let Some(live) = &node.live else { return Ok(()) };
        let own =
            |attempt: &protocol::AttemptRef| self.watch.jobs.get(&attempt.job).is_some_and(|job| !job.is_lab);
        let held = live.cast.worker().held().filter(own).count();
        let asks = |attempt: &protocol::AttemptRef| {
            let work = self.watch.jobs.get(&attempt.job).and_then(|job| Work::read(&job.payload));
            own(attempt) && work.is_some_and(|work| work.number.is_multiple_of(RESOURCE_EVERY))
        };
        let asking = live.cast.worker().held().filter(asks).count() as u64;
        must(asking * RESOURCE_MILLI <= 1_000, "never_over_capacity", || {
            format!("n{} holds {asking} attempts of which two have room", place + 1)
        })?;
        if held <= node.slots as usize || self.common.policy == master::Policy::Multi {
            return Ok(());
        }
        let [calm_us, late_us] = PACE_US;
        let within_us = if self.watch.calm_since(self.now_us).is_some() { calm_us } else { late_us };
        let spares = live.runner.spares(self.now_us, within_us);
        must(held <= node.slots as usize + spares, "never_over_capacity", || {
            format!("n{} holds {held} attempts for {} slots and {spares} spares", place + 1, node.slots)
        })
    }

    fn run_attempt(&mut self, place: usize, dispatch: &Dispatch) -> Held {
        let node = &mut self.nodes[place];
        let (id, boot, slots) = (node.id, node.boot, node.slots);
        let Some(live) = node.live.as_mut() else { return Ok(()) };
        let work = Work::read(&dispatch.spec.payload);
        let Some(work) = work else {
            return must(false, "result_is_of_its_payload", || format!("{dispatch:?} is of nobody"));
        };
        let runs_us = live.runner.start(dispatch.attempt, work);
        let running = live.runner.len();
        self.fold.take(&dispatch.attempt);
        must(running <= slots as usize, "never_over_capacity", || {
            format!("n{} runs {running} attempts in {slots} slots", place + 1)
        })?;
        self.watch.started((id, boot), dispatch)?;
        self.after(runs_us, Event::Ends(place, boot, dispatch.attempt, true));
        Ok(())
    }

    fn send_peer(&mut self, from: usize, message: consensus::Message) {
        self.fold.take(&message);
        let id = NodeId(message.to().0);
        let to = node::place(id);
        // The link's handshake tells who is there.
        if self.nodes[to].id != id {
            return;
        }
        let link = self.network.link(from, to);
        let [first, second] = self.network.copies(&mut self.chance);
        if let Some(delay_us) = second {
            self.after(delay_us, Event::Peer(from, to, link, Box::new(message.clone())));
        }
        if let Some(delay_us) = first {
            self.after(delay_us, Event::Peer(from, to, link, Box::new(message)));
        }
    }

    fn send_to_master(&mut self, from: usize, envelope: Envelope<ToMaster>) {
        self.fold.take(&envelope);
        let lead = self.nodes[from].live.as_ref().and_then(|live| live.lead);
        if let Some((id, true)) = lead
            && self.nodes[node::place(id)].id == id
        {
            let to = node::place(id);
            let way = Way { from, to, session: envelope.session, to_leader: true };
            self.post(way, Body::ToMaster(envelope));
        }
    }

    fn send_to_node(&mut self, from: usize, id: NodeId, envelope: Envelope<ToNode>) {
        self.fold.take(&envelope);
        let to = node::place(id);
        if self.nodes[to].id != id {
            return;
        }
        let way = Way { from, to, session: envelope.session, to_leader: false };
        self.post(way, Body::ToNode(envelope));
    }

    fn post(&mut self, way: Way, body: Body) {
        if let Some(at_us) = self.network.post(way, body, self.now_us, &mut self.chance) {
            self.at(at_us, Event::Letter(way));
        }
    }

    pub(crate) fn letter(&mut self, way: Way) {
        let next = match self.network.deliver(way, self.now_us, &mut self.chance) {
            Post::Later(next) => next,
            Post::Arrived(body, next) => {
                // A start that came meanwhile gets it too, and has to see that it was not meant.
                match *body {
                    Body::ToMaster(envelope) => self.hand(way.to, Input::ToMaster(envelope)),
                    Body::ToNode(envelope) => self.hand(way.to, Input::ToNode(envelope)),
                }
                next
            }
        };
        if let Some(at_us) = next {
            self.at(at_us, Event::Letter(way));
        }
    }
}
