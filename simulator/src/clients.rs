//! Clients: they submit through any node, repeat what they got no answer to, cancel, read, and remember what they were
//! told.

use std::collections::BTreeMap;
use std::sync::Arc;

use cast::Input;
use protocol::recodex;
use protocol::{
    Answer, Boot, JobId, JobSpec, More, NodeId, Reason, Refusal, Request, RetryRule, Share, submit,
};
use worker::Told;

use crate::fold::Fold;
use crate::guests;
use crate::limits::{BURST_JOBS, BURST_PERMILLE, MS, OPEN_JOBS, SECOND, VERDICT_US};
use crate::node::{CLASS, LAB_CLASS, RESOURCE, RESOURCE_EVERY, RESOURCE_MILLI};
use crate::runner::Work;
use crate::watch::{self, Asked, Held, must};
use crate::world::{Event, World};

/// So often a node is refused for its name until it gets another one.
const NAME_PATIENCE: u32 = 20;

/// A job that a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) key: Option<String>,
    pub(crate) work: Work,
    /// For attached workers.
    is_lab: bool,
    /// For workers of ReCodEx.
    is_evaluation: bool,
    /// A key is used for another request: this must be refused while the key is known.
    misuse: bool,
}

/// Something asked of a node.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit(Wish),
    /// A submission under the id that its gateway chose.
    Submitted(JobId, Wish),
    Cancel(JobId),
    /// A front end was told that this is rejected.
    Withdrawn(JobId),
    Transfer,
    /// A node shall get no new attempts, or get them again.
    Drain(NodeId, bool),
    /// What had been told before it began.
    Read(watch::Told),
    Join {
        of: usize,
        boot: Boot,
    },
}

/// What is open, and who was asked.
#[derive(Default)]
pub(crate) struct Clients {
    last_ticket: u64,
    open: BTreeMap<u64, (Op, usize, Boot)>,
    last_job: u64,
    last_key: u64,
    /// Keyed wishes that are not answered for sure yet.
    pub(crate) wishes: usize,
    /// Wishes whose job has been acknowledged, to be repeated.
    made: Vec<Wish>,
}

impl Clients {
    pub(crate) fn ticket(&mut self, op: Op, at: usize, boot: Boot) -> u64 {
        self.last_ticket += 1;
        self.open.insert(self.last_ticket, (op, at, boot));
        self.last_ticket
    }

    pub(crate) fn is_open(&self, ticket: u64) -> bool {
        self.open.contains_key(&ticket)
    }

    pub(crate) fn forget(&mut self, ticket: u64) {
        self.open.remove(&ticket);
    }

    /// Tickets of users that wait.
    pub(crate) fn waiting(&self) -> usize {
        let users = self.open.values().filter(|(op, ..)| !matches!(op, Op::Join { .. }));
        users.count() + self.wishes
    }
}

impl World<'_> {
    /// One client does the next thing.
    pub(crate) fn client_asks(&mut self, client: usize) {
        if self.now_us >= self.clients_until_us {
            return;
        }
        let pause_us = self.chance.between(20 * MS, 400 * MS);
        self.after(pause_us, Event::Client(client));
        let full = self.watch.open + self.clients.waiting() >= OPEN_JOBS;
        let op = match self.chance.below(100) {
            0..66 if full => return,
            0..66 if guests::takes_part(self.common.seed) && self.chance.percent(25) => {
                Op::Submit(self.evaluation())
            }
            0..66 => Op::Submit(self.wish()),
            66..78 => {
                let some: Vec<JobId> = self.watch.acknowledged.iter().rev().take(20).copied().collect();
                let Some(job) = self.chance.pick(&some) else { return };
                Op::Cancel(job)
            }
            78..79 => Op::Transfer,
            79..80 => {
                let whom = self.chance.place(self.nodes.len());
                Op::Drain(self.nodes[whom].id, true)
            }
            _ => Op::Read(self.watch.told()),
        };
        if let Op::Submit(Wish { key: Some(_), .. }) = &op {
            self.clients.wishes += 1;
            // An impatient client asks twice at once, through two nodes or one.
            if self.chance.percent(10) {
                self.clients.wishes += 1;
                self.ask(op.clone());
            }
        }
        self.ask(op);
        if !full && self.chance.below(1_000) < BURST_PERMILLE {
            self.burst();
        }
    }

    /// A job for workers of ReCodEx; now and then one that was asked for just before.
    fn evaluation(&mut self) -> Wish {
        if !self.chance.percent(10) {
            self.clients.last_job += 1;
        }
        let number = self.clients.last_job;
        let run_ms = self.chance.between(5, 1_500);
        let fails = if self.chance.percent(15) { self.chance.between(1, 3) } else { 0 };
        let work = Work { number, run_ms, fails };
        Wish { key: None, work, is_lab: false, is_evaluation: true, misuse: false }
    }

    /// Many quick jobs at once, so that some are sent ahead of free slots; a few of them are not quick.
    fn burst(&mut self) {
        for _ in 0..BURST_JOBS {
            self.clients.last_job += 1;
            let quick_ms = self.chance.percent(96).then(|| self.chance.between(1, 4));
            let is_lab = self.chance.percent(20);
            // An attached worker that is well answers within its window.
            let slow_ms = if is_lab { 600.min(self.common.window_ms / 2) } else { 600 };
            let run_ms = quick_ms.unwrap_or(slow_ms);
            let work = Work { number: self.clients.last_job, run_ms, fails: 0 };
            self.ask(Op::Submit(Wish { key: None, work, is_lab, is_evaluation: false, misuse: false }));
        }
    }

    /// A new job, or now and then one that was made before under its key.
    fn wish(&mut self) -> Wish {
        let clients = &mut self.clients;
        // Where history is forgotten, a key may be free again by now.
        let forgets = self.common.keep_jobs < u64::MAX;
        if !forgets && !clients.made.is_empty() && self.chance.percent(8) {
            let place = self.chance.place(clients.made.len());
            let mut wish = clients.made[place].clone();
            wish.misuse = self.chance.percent(30);
            return wish;
        }
        let is_lab = self.chance.percent(25);
        let run_ms = match self.chance.below(100) {
            // An attached worker that is well answers within its window.
            _ if is_lab => self.chance.between(5, self.common.window_ms / 2),
            0..80 => self.chance.between(5, 300),
            80..97 => self.chance.between(300, 1_500),
            _ => self.chance.between(1_500, 4_000),
        };
        let fails = if self.chance.percent(8) { self.chance.between(1, 4) } else { 0 };
        clients.last_job += 1;
        let work = Work { number: clients.last_job, run_ms, fails };
        let key = self.chance.percent(60).then(|| {
            clients.last_key += 1;
            format!("key-{}", clients.last_key)
        });
        Wish { key, work, is_lab, is_evaluation: false, misuse: false }
    }

    /// Asks a node that can be reached; a wish waits for one.
    pub(crate) fn ask(&mut self, op: Op) {
        let live: Vec<usize> = (0..self.nodes.len()).filter(|p| self.nodes[*p].live.is_some()).collect();
        match self.chance.pick(&live) {
            Some(place) => self.ask_at(place, op),
            None => self.again(op),
        }
    }

    pub(crate) fn ask_at(&mut self, place: usize, op: Op) {
        let boot = self.nodes[place].boot;
        match op {
            Op::Submit(wish) => {
                let job = JobId(u128::from(self.now_us) << 80 | u128::from(self.chance.next()));
                let (spec, fingerprint) = paper(&wish);
                let evaluation = spec.more.recodex.as_ref().map(|asked| asked.id.clone());
                let (key, payload, misuse) = (wish.key.clone(), spec.payload.clone(), wish.misuse);
                let asked = Asked { key, payload, misuse, evaluation };
                self.watch.asked.insert(job, asked);
                let request =
                    Request::Submit { job, spec: Arc::new(spec), key: wish.key.clone(), fingerprint };
                let is_evaluation = wish.is_evaluation;
                let ticket = self.clients.ticket(Op::Submitted(job, wish), place, boot);
                if is_evaluation {
                    self.after(VERDICT_US, Event::Verdict(place, boot, ticket, job));
                }
                self.hand(place, Input::Ask { ticket, request });
            }
            Op::Cancel(job) => {
                self.watch.cancelling.insert(job);
                let ticket = self.clients.ticket(op, place, boot);
                self.hand(place, Input::Ask { ticket, request: Request::Cancel { job } });
            }
            Op::Transfer => {
                let ticket = self.clients.ticket(op, place, boot);
                let whom = self.chance.place(self.nodes.len());
                let to = self.chance.percent(60).then(|| self.nodes[whom].id);
                self.hand(place, Input::Ask { ticket, request: Request::Transfer { to } });
            }
            Op::Drain(node, draining) => {
                let ticket = self.clients.ticket(op, place, boot);
                self.hand(place, Input::Ask { ticket, request: Request::Drain { node, draining } });
            }
            Op::Read(_) => {
                let ticket = self.clients.ticket(op, place, boot);
                self.hand(place, Input::Read { ticket });
            }
            Op::Submitted(..) | Op::Withdrawn(_) | Op::Join { .. } => {}
        }
    }

    /// An answer reaches its client.
    pub(crate) fn told(&mut self, place: usize, ticket: u64, told: Told) -> Held {
        let Some((op, ..)) = self.clients.open.remove(&ticket) else { return Ok(()) };
        match (op, told) {
            (Op::Submitted(job, wish), told) => return self.submitted(place, job, wish, told),
            (Op::Cancel(job), Told::Answer(answer)) => return self.cancelled(job, &answer),
            (Op::Withdrawn(job), Told::Answer(Answer::Done)) => return self.withdrawn(job),
            (Op::Drain(node, draining), told) => self.drained(node, draining, &told),
            (Op::Join { of, boot }, Told::Answer(Answer::Done)) => {
                if self.nodes[of].boot == boot
                    && let Some(live) = &mut self.nodes[of].live
                {
                    live.joined = true;
                }
            }
            (Op::Join { of, boot }, Told::Answer(Answer::Refused(Refusal::NameTaken { .. }))) => {
                self.name_taken(of, boot);
            }
            _ => {}
        }
        Ok(())
    }

    /// `acked_survives`, the other way round: what a front end was told is rejected is not, and never will be.
    fn withdrawn(&mut self, job: JobId) -> Held {
        let state = self.watch.jobs.get(&job).map(|known| known.state);
        self.watch.withdrawn.insert(job);
        self.watch.not_taken.insert(job);
        must(state.is_none_or(protocol::JobState::is_terminal), "acked_survives", || {
            format!("{job} was taken back and is {state:?}")
        })
    }

    /// Whoever had a node drained, or does not know whether, takes it back after a while, until that is so.
    fn drained(&mut self, node: NodeId, draining: bool, told: &Told) {
        if draining {
            let pause_us = self.chance.between(SECOND / 2, 4 * SECOND);
            self.after(pause_us, Event::Again(Box::new(Op::Drain(node, false))));
        } else if !matches!(told, Told::Answer(Answer::Done | Answer::Refused(Refusal::Impossible(_)))) {
            self.again(Op::Drain(node, false));
        }
    }

    fn submitted(&mut self, place: usize, asked: JobId, wish: Wish, told: Told) -> Held {
        match told {
            Told::Answer(Answer::Accepted { job, replayed }) => {
                let same = self.watch.asked.get(&job).is_some_and(|first| first.misuse == wish.misuse);
                must(same, "key_is_one_job", || {
                    format!("another request than {asked} got {job} under {:?}", wish.key)
                })?;
                self.watch.acknowledged(self.now_us, job, asked, wish.key.as_deref())?;
                self.tell(|| {
                    format!("n{} acknowledges {job}{}", place + 1, if replayed { " again" } else { "" })
                });
                self.fold.word(job.0 as u64);
                if wish.key.is_some() {
                    self.clients.wishes -= 1;
                    self.clients.made.push(wish);
                }
            }
            Told::Answer(Answer::Refused(Refusal::KeyReused { job })) => {
                let made = wish.key.as_ref().is_some_and(|key| self.watch.made(key, job));
                let other = self.watch.asked.get(&job).is_some_and(|first| first.misuse != wish.misuse);
                must(other && made, "key_is_one_job", || {
                    format!("{:?} is refused as used for {job}, which it did not make", wish.key)
                })?;
                self.clients.wishes -= 1;
            }
            Told::Answer(_) | Told::Busy | Told::NoQuorum { handed_over: false } => {
                self.watch.not_taken(asked)?;
                self.again(Op::Submit(wish));
            }
            // Nobody knows: whoever has a key may ask again.
            Told::NoQuorum { handed_over: true } => self.again(Op::Submit(wish)),
        }
        Ok(())
    }

    /// `acked_survives`: who cancels an acknowledged job never hears that there is none while it is open (an ended one may
    /// have left the ledger), and when it is said to be cancelled, or ended, it is.
    fn cancelled(&mut self, job: JobId, answer: &Answer) -> Held {
        let state = self.watch.jobs.get(&job).map(|known| known.state);
        if matches!(answer, Answer::Done | Answer::Refused(Refusal::Ended { .. })) {
            self.watch.ended.push(job);
        }
        let right = match answer {
            Answer::Done => state == Some(protocol::JobState::Cancelled),
            Answer::Refused(Refusal::Ended { .. } | Refusal::NotFound) => {
                state.is_some_and(protocol::JobState::is_terminal)
            }
            _ => true,
        };
        must(right, "acked_survives", || {
            format!("cancelling {job}, which is {state:?}, was answered {answer:?}")
        })
    }

    pub(crate) fn read_ready(&mut self, place: usize, ticket: u64) -> Held {
        let Some((Op::Read(told), ..)) = self.clients.open.remove(&ticket) else { return Ok(()) };
        self.counts.reads += 1;
        let node = &self.nodes[place];
        let Some(live) = &node.live else { return Ok(()) };
        self.watch.read(place + 1, live.cast.ledger(), &node.shelf, told)
    }

    /// A successor under the name of a node whose disk is lost is refused while that one counts. Its people choose another
    /// name after a while.
    fn name_taken(&mut self, place: usize, boot: Boot) {
        let node = &mut self.nodes[place];
        if node.boot != boot || node.live.is_none() {
            return;
        }
        node.refused += 1;
        if node.refused >= NAME_PATIENCE {
            node.refused = 0;
            node.name.push('x');
            self.crash(place);
            self.after(SECOND, Event::Start(place));
        }
    }

    /// A node's start is over: nobody who asked it will hear from it.
    pub(crate) fn answers_lost(&mut self, place: usize, boot: Boot) {
        let of_it = |(_, at, its): &(Op, usize, Boot)| (*at, *its) == (place, boot);
        let lost: Vec<u64> = self.clients.open.iter().filter(|(_, o)| of_it(o)).map(|(t, _)| *t).collect();
        for ticket in lost {
            match self.clients.open.remove(&ticket) {
                Some((Op::Submitted(_, wish), ..)) => self.again(Op::Submit(wish)),
                Some((Op::Drain(node, draining), ..)) => {
                    self.drained(node, draining, &Told::NoQuorum { handed_over: true });
                }
                _ => {}
            }
        }
    }

    /// Whoever has a key asks again, at any node; without one it stays unknown.
    fn again(&mut self, op: Op) {
        if matches!(&op, Op::Submit(Wish { key: Some(_), .. }) | Op::Drain(_, false)) {
            let pause_us = self.chance.between(20 * MS, SECOND / 2);
            self.after(pause_us, Event::Again(Box::new(op)));
        }
    }

    /// One more job through this node, under a key.
    pub(crate) fn last_wish(&mut self, place: usize) {
        self.clients.last_job += 1;
        let work = Work { number: self.clients.last_job, run_ms: 50, fails: 0 };
        let key = Some(format!("last-{}", place + 1));
        self.clients.wishes += 1;
        self.ask_at(
            place,
            Op::Submit(Wish { key, work, is_lab: false, is_evaluation: false, misuse: false }),
        );
    }
}

/// What the gateway makes of a wish.
fn paper(wish: &Wish) -> (JobSpec, [u8; 32]) {
    let payload = wish.work.payload();
    if wish.is_evaluation {
        let (id, headers) = (format!("e{}", wish.work.number), guests::asks(wish.work.number));
        return (recodex::job(id, headers, &[payload], true, 3), [0; 32]);
    }
    let class = if wish.is_lab { LAB_CLASS } else { CLASS };
    let number = wish.work.number;
    let priority = 2 + (number % 5) as u8;
    let submitter = ["", "anna", "bert"][(number % 3) as usize].to_string();
    // Of one key one job at a time, of the next two, of the third three.
    let share = (number.is_multiple_of(8) && !wish.is_lab).then(|| {
        let of = (number / 8 % 3) as u32 + 1;
        Share { key: format!("share-{of}"), concurrency: Some(of), rate: None }
    });
    let more = More { limits: share, ..More::default() };
    let mut fingerprint = [u8::from(wish.misuse); 32];
    let mut fold = Fold::new();
    fold.bytes(&payload);
    fingerprint[..8].copy_from_slice(&fold.value().to_le_bytes());
    let asked = JobSpec { payload, priority, submitter, more, retry_base_ms: 200, ..submit::defaults(class) };
    let mut spec = tried(asked, wish.work.number);
    if !wish.is_lab && wish.work.number.is_multiple_of(RESOURCE_EVERY) {
        spec.more.resources.insert(RESOURCE.to_string(), RESOURCE_MILLI);
    }
    (spec, fingerprint)
}

/// Some jobs may have one attempt at most, and some are not tried again after a failure.
fn tried(asked: JobSpec, number: u64) -> JobSpec {
    let usual = asked.more.clone();
    match number % 10 {
        3 => {
            let more = More { at_most_once: true, ..usual };
            JobSpec { max_attempts: 1, max_lost: 1, more, ..asked }
        }
        6 => {
            let rule = RetryRule { on: vec![Reason::Timeout], not_exit_codes: Vec::new() };
            JobSpec { more: More { retry: Some(rule), ..usual }, ..asked }
        }
        _ => asked,
    }
}
