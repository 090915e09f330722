//! Pretend programs of ReCodEx: workers that are processes of their own and outlive the node they are attached to, front ends
//! that take silence for a rejection, and the front end's HTTP that hears every call sooner or later.
//! Only some histories have them ([`takes_part`]).

use std::collections::{BTreeMap, BTreeSet};

use cast::{GuestId, Input};
use protocol::recodex::{self, Evaluation, Headers, Order, Said};
use protocol::{AttemptRef, Boot, Dispatch, JobId, JobState, Request};

use crate::Fault;
use crate::faults::Heal;
use crate::limits::{GUESTS, MS, PING_US, SECOND};
use crate::runner::Work;
use crate::watch::{Held, must};
use crate::world::{Event, World};

/// Tickets of what nobody waits for.
const NOBODYS: u64 = 1 << 60;

/// Whether a history has programs of ReCodEx.
pub(crate) fn takes_part(seed: u64) -> bool {
    seed.is_multiple_of(5)
}

/// What happens to one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// It connects to some node and registers.
    Connect,
    /// It says that it is there.
    Ping,
    /// It is through with what it works on, in its so-many-eth life.
    Done(AttemptRef, u64),
    /// Its connection ends.
    Lose,
    /// A call reaches the front end's HTTP.
    Call(usize, Boot, u64),
}

/// A worker.
#[derive(Debug, Default)]
struct One {
    headers: Headers,
    /// The node, its start, and who it is there.
    at: Option<(usize, Boot, GuestId)>,
    works_on: Option<AttemptRef>,
    /// What it was given up with on this connection.
    late: Option<AttemptRef>,
    /// It says nothing until then.
    silent_until_us: u64,
    /// Counted up when it dies: what it did in an earlier life is nobody's.
    life: u64,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Guests {
    workers: Vec<One>,
    last: u64,
    tickets: u64,
    /// Calls on their way, by the node that makes them.
    calling: BTreeSet<(usize, Boot, u64)>,
    /// Every call that was ever owed.
    owed: BTreeMap<u64, Said>,
    heard: BTreeSet<u64>,
}

impl Guests {
    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        NOBODYS + self.tickets
    }

    /// Those that are attached to a node, with nothing to do, by what they can do.
    pub(crate) fn free(&self) -> impl Iterator<Item = (usize, &Headers)> {
        let free = self.workers.iter().filter(|one| one.works_on.is_none());
        free.filter_map(|one| Some((one.at?.0, &one.headers)))
    }
}

/// What evaluation number `number` asks for.
pub(crate) fn asks(number: u64) -> Vec<(String, String)> {
    let env = if number.is_multiple_of(3) { "c" } else { "go" };
    vec![("env".to_owned(), env.to_owned()), ("threads".to_owned(), (number % 4 + 1).to_string())]
}

impl World<'_> {
    pub(crate) fn guests_come(&mut self) {
        for number in 0..GUESTS {
            let mut headers = Headers::new();
            // Every third one can do everything.
            let envs = [["c", "c"], ["go", "go"], ["c", "go"]][number % 3];
            headers.insert("env".to_owned(), envs.map(str::to_owned).into());
            headers.insert("threads".to_owned(), ["4".to_owned()].into());
            self.guests.workers.push(One { headers, ..One::default() });
            let after_us = self.chance.between(SECOND, 3 * SECOND);
            self.after(after_us, Event::Guest(number, Step::Connect));
            self.after(after_us + PING_US, Event::Guest(number, Step::Ping));
        }
    }

    pub(crate) fn guest(&mut self, number: usize, step: Step) {
        match step {
            Step::Connect => self.connects(number),
            Step::Ping => self.pings(number),
            Step::Done(attempt, life) => self.is_done(number, attempt, life),
            Step::Lose => self.loses(number),
            Step::Call(place, boot, call) => self.calls(place, boot, call),
        }
    }

    /// It is known again by what it says it works on, as the body of a node looks that up.
    fn connects(&mut self, number: usize) {
        let live: Vec<usize> = (0..self.nodes.len()).filter(|p| self.nodes[*p].live.is_some()).collect();
        let Some(place) = self.chance.pick(&live) else {
            self.after(SECOND, Event::Guest(number, Step::Connect));
            return;
        };
        let one = &mut self.guests.workers[number];
        let has_ended = |attempt: &AttemptRef| {
            self.watch.jobs.get(&attempt.job).is_some_and(|job| job.state.is_terminal())
        };
        // Nobody wants it any more: it says that it is done to somebody who does not know of what.
        if one.works_on.is_some_and(|attempt| has_ended(&attempt)) {
            one.works_on = None;
        }
        let boot = self.nodes[place].boot;
        self.guests.last += 1;
        let guest = GuestId(self.guests.last);
        let one = &mut self.guests.workers[number];
        (one.at, one.late) = (Some((place, boot, guest)), None);
        let (headers, works_on) = (one.headers.clone(), one.works_on);
        let id_of =
            |attempt: AttemptRef| Some(self.watch.jobs.get(&attempt.job)?.evaluation.as_ref()?.id.clone());
        let at_work = works_on.and_then(id_of);
        self.tell(|| format!("worker {number} comes to n{} as {guest:?}, at work at {at_work:?}", place + 1));
        self.hand(place, Input::Welcome { guest, headers, at_work });
    }

    fn pings(&mut self, number: usize) {
        self.after(PING_US, Event::Guest(number, Step::Ping));
        let one = &self.guests.workers[number];
        let Some((place, boot, guest)) = one.at else { return };
        if self.nodes[place].boot != boot || self.nodes[place].live.is_none() {
            // It notices that nobody answers.
            self.guests.workers[number].at = None;
            let after_us = self.chance.between(100 * MS, 2 * SECOND);
            self.after(after_us, Event::Guest(number, Step::Connect));
        } else if self.now_us >= one.silent_until_us {
            let is_unknown = one.late.is_some();
            self.hand(place, Input::GuestHeard { guest });
            // Whoever was given up is told that it is unknown, and registers anew.
            if is_unknown && self.chance.percent(50) {
                self.connects(number);
            }
        }
    }

    fn is_done(&mut self, number: usize, attempt: AttemptRef, life: u64) {
        let one = &self.guests.workers[number];
        if one.life != life || one.works_on.is_none_or(|works_on| works_on.job != attempt.job) {
            return;
        }
        let is_there = |(place, boot, _): &(usize, Boot, GuestId)| {
            self.nodes[*place].boot == *boot && self.nodes[*place].live.is_some()
        };
        let at = one.at.filter(is_there).filter(|_| self.now_us >= one.silent_until_us);
        let Some((place, boot, guest)) = at else {
            // It says so when it can.
            self.after(200 * MS, Event::Guest(number, Step::Done(attempt, life)));
            return;
        };
        let one = &mut self.guests.workers[number];
        one.works_on = None;
        let late = one.late.take();
        self.tell(|| format!("worker {number} is done with {attempt:?} at n{}, late {late:?}", place + 1));
        let work = self.watch.jobs.get(&attempt.job).and_then(|job| Work::read(&job.payload));
        let Some(outcome) = work.map(|work| work.outcome(attempt.attempt)) else { return };
        self.watch.brought.insert((attempt.job, self.nodes[place].id, boot));
        if let Some(late) = late {
            self.hand(place, Input::LateDone { attempt: late, outcome });
            // Whoever was given up is unknown, and registers anew.
            self.after(0, Event::Guest(number, Step::Connect));
        } else {
            self.hand(place, Input::GuestDone { guest, outcome });
        }
    }

    fn loses(&mut self, number: usize) {
        let Some((place, boot, guest)) = self.guests.workers[number].at.take() else { return };
        self.tell(|| format!("worker {number} loses n{}", place + 1));
        if self.nodes[place].boot == boot {
            self.hand(place, Input::GuestLeft { guest });
        }
        let after_us = self.chance.between(50 * MS, 3 * SECOND);
        self.after(after_us, Event::Guest(number, Step::Connect));
    }

    /// A node gives an evaluation to one of its workers. `never_over_capacity`: to one that is there, free, and may have it.
    pub(crate) fn guest_handed(&mut self, place: usize, guest: GuestId, dispatch: &Dispatch) -> Held {
        let attempt = dispatch.attempt;
        let (id, boot) = (self.nodes[place].id, self.nodes[place].boot);
        self.fold.take(&attempt);
        self.tell(|| format!("n{} hands {attempt:?} to {guest:?}", place + 1));
        let asked = dispatch.spec.more.recodex.clone();
        let Some(number) = self.guests.workers.iter().position(|one| one.at == Some((place, boot, guest)))
        else {
            // Its connection is gone by now: the message finds nobody.
            self.watch.given_up.insert(attempt);
            self.watch.started((id, boot), dispatch)?;
            self.hand(place, Input::GuestLeft { guest });
            return Ok(());
        };
        let one = &mut self.guests.workers[number];
        let may = asked.is_some_and(|asked| recodex::fits(&asked.headers, &one.headers));
        must(may && one.works_on.is_none(), "never_over_capacity", || {
            format!("{attempt:?} is handed to {guest:?} of {id:?}: {one:?}")
        })?;
        one.works_on = Some(attempt);
        self.tell(|| format!("worker {number} gets {attempt:?} from n{}", place + 1));
        self.watch.started((id, boot), dispatch)?;
        let run_us = Work::read(&dispatch.spec.payload).map_or(0, |work| work.run_ms * MS);
        self.behave_as_guest(number, attempt, run_us);
        Ok(())
    }

    /// Most do their work. While there are faults some lose their connection meanwhile, some say nothing for long, some die.
    fn behave_as_guest(&mut self, number: usize, attempt: AttemptRef, run_us: u64) {
        let live_us = self.common.window_ms * MS;
        let how = if self.now_us < self.faults_until_us { self.chance.below(100) } else { 99 };
        let life = self.guests.workers[number].life;
        self.after(run_us, Event::Guest(number, Step::Done(attempt, life)));
        match how {
            0..10 => {
                let gone_us = self.chance.below(run_us.max(1));
                self.troubles(Fault::LostWorker, gone_us + 4 * SECOND);
                self.after(gone_us, Event::Guest(number, Step::Lose));
            }
            10..16 => {
                let silent_us = self.chance.between(live_us / 2, 2 * live_us + 2 * SECOND);
                self.troubles(Fault::LateWorker, silent_us + SECOND);
                self.guests.workers[number].silent_until_us = self.now_us + silent_us;
            }
            16..20 => {
                self.troubles(Fault::LostWorker, live_us + 4 * SECOND);
                let one = &mut self.guests.workers[number];
                one.life += 1;
                one.works_on = None;
                self.after(self.common.window_ms, Event::Guest(number, Step::Lose));
            }
            _ => {}
        }
    }

    fn troubles(&mut self, fault: Fault, until_us: u64) {
        self.counts.fault(fault);
        self.begins(until_us, Heal::Nothing);
    }

    /// A node counts a worker as lost.
    pub(crate) fn guest_gone(&mut self, place: usize, guest: GuestId, attempt: Option<AttemptRef>) {
        self.tell(|| format!("n{} gives up {guest:?} with {attempt:?}", place + 1));
        if let Some(attempt) = attempt {
            self.watch.given_up.insert(attempt);
        }
        let boot = self.nodes[place].boot;
        let Some(number) = self.guests.workers.iter().position(|one| one.at == Some((place, boot, guest)))
        else {
            return;
        };
        if attempt.is_some() {
            self.guests.workers[number].late = attempt;
        } else {
            // It registers anew when it is told that it is unknown.
            let one = &mut self.guests.workers[number];
            one.at = None;
            let after_us = one.silent_until_us.saturating_sub(self.now_us) + PING_US;
            self.after(after_us, Event::Guest(number, Step::Connect));
        }
    }

    /// A front end waits no longer: it was told that its job is rejected.
    pub(crate) fn verdict(&mut self, place: usize, boot: Boot, of: u64, job: JobId) {
        if self.nodes[place].boot != boot || !self.clients.is_open(of) {
            return;
        }
        self.clients.forget(of);
        self.watch.withdrawing.insert(job);
        let ticket = self.clients.ticket(crate::clients::Op::Withdrawn(job), place, boot);
        self.hand(place, Input::Withdraw { ticket, of, job });
    }

    /// `told_once`: the front end is owed one call of each evaluation that ended, of the end that it had; none of what it was told
    /// is rejected. Looks at what a ledger owes that was not owed before.
    pub(crate) fn calls_owed(&mut self, place: usize) -> Held {
        let Some(live) = &self.nodes[place].live else { return Ok(()) };
        let (ledger, leads) = (live.cast.ledger(), live.cast.is_master());
        let boot = self.nodes[place].boot;
        let news: Vec<(u64, Said)> = ledger.calls().map(|call| (call.number, call.what.clone())).collect();
        for (number, said) in news {
            let first = self.guests.owed.entry(number).or_insert_with(|| said.clone());
            must(*first == said, "told_once", || format!("call {number} was {first:?} and is {said:?}"))?;
            if leads && self.guests.calling.insert((place, boot, number)) {
                let after_us = self.chance.between(10 * MS, 500 * MS);
                self.after(after_us, Event::Guest(0, Step::Call(place, boot, number)));
            }
        }
        Ok(())
    }

    fn calls(&mut self, place: usize, boot: Boot, number: u64) {
        if self.nodes[place].boot != boot || self.nodes[place].live.is_none() {
            return;
        }
        self.guests.calling.remove(&(place, boot, number));
        self.guests.heard.insert(number);
        let request = Request::Recodex(Order::Delivered { number });
        let ticket = self.guests.ticket();
        self.hand(place, Input::Ask { ticket, request });
    }

    /// `told_once`, at the end: every call was heard, and of each job that ended there was one.
    pub(crate) fn all_is_told(&self) -> Held {
        let unheard = self.guests.owed.keys().find(|number| !self.guests.heard.contains(number));
        must(unheard.is_none(), "told_once", || format!("call {unheard:?} never reached the front end"))?;
        let mut said: BTreeMap<(&str, bool), i64> = BTreeMap::new();
        for what in self.guests.owed.values() {
            let Said::Status { id, failed } = what else { continue };
            *said.entry((id, failed.is_some())).or_default() += 1;
        }
        // Nobody knows whether these were taken back.
        let mut unsure: BTreeSet<&str> = BTreeSet::new();
        for (job, known) in &self.watch.jobs {
            let Some(Evaluation { id, .. }) = &known.evaluation else { continue };
            // One that had ended by then may have been told of, and so may one that a client had cancelled before.
            let is_taken_back = self.watch.withdrawn.contains(job) && !self.watch.cancelling.contains(job);
            let is_undone = known.state == JobState::Cancelled && is_taken_back;
            let is_sure = is_undone || !self.watch.withdrawing.contains(job);
            if !is_sure {
                unsure.insert(id.as_str());
            } else if !is_undone {
                *said.entry((id, known.state != JobState::Succeeded)).or_default() -= 1;
            }
        }
        said.retain(|(id, _), _| !unsure.contains(id));
        let odd = said.iter().find(|(_, count)| **count != 0);
        must(odd.is_none(), "told_once", || {
            format!("the front end was told of {odd:?}: too often, or too rarely")
        })
    }
}
