//! A ledger to look into, and whoever comes to the ports.

use std::sync::Arc;

use bytes::Bytes;
use cast::{GuestId, Input};
use master::{Effect, Ledger};
use protocol::recodex::{self, wire};
use protocol::{
    AttemptRef, Boot, Change, Command, Dispatch, Entry, Fact, JobId, JobSpec, LossCause, Member, NodeId,
    Origin, Outcome,
};

use crate::ports::{Letter, PeerId};
use crate::recodex::workers::Workers;
use crate::recodex::{Lines, Outbox};

pub(super) const HERE: NodeId = NodeId(1);
pub(super) const ELSEWHERE: NodeId = NodeId(2);
pub(super) const BOOT: Boot = Boot(7);

pub(super) fn lines() -> (Lines, logdb::Log) {
    let log = logdb::Log::in_memory("n1");
    (Lines(log.clone()), log)
}

pub(super) fn peer(name: &'static str) -> PeerId {
    PeerId(Bytes::from_static(name.as_bytes()))
}

pub(super) fn frames(parts: &[&str]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect()
}

/// What each letter says, and to whom.
pub(super) fn said(letters: &[Letter]) -> Vec<(PeerId, Vec<Bytes>)> {
    letters.iter().map(|letter| (letter.to.clone(), letter.frames.clone())).collect()
}

/// A ledger in which two nodes are members.
pub(super) struct Book(pub(super) Ledger);

impl Book {
    pub(super) fn new() -> Self {
        let mut book = Self(Ledger::new());
        let member = |id, boot| {
            let (http, link, broker) =
                ("127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
            Change::Member(Member { id, number: 0, boot, name: format!("n{}", id.0), http, link, broker })
        };
        let changes = [member(HERE, BOOT), member(ELSEWHERE, Boot(1)), Change::Open];
        book.apply(changes.into_iter().map(Command::Configure).collect());
        book
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Fact> {
        let index = self.0.applied() + 1;
        let effects = self.0.apply(index, &Entry { clock_ms: index, wall_ms: index, term: 1, commands });
        let facts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Fact(fact) => Some(Fact::clone(&fact)),
            _ => None,
        });
        facts.collect()
    }

    /// Job 1 is the evaluation `j1`, then 2 is `j2` …
    pub(super) fn submit(&mut self, job: u128) {
        self.submit_other(job, recodex::job(format!("j{job}"), Vec::new(), &frames(&["a", "r"]), true, 2));
    }

    pub(super) fn submit_other(&mut self, job: u128, spec: JobSpec) {
        let origin = Origin { gateway: HERE, boot: BOOT, number: job as u64, floor: 1 };
        let spec = Arc::new(spec);
        self.apply(vec![Command::Submit { job: JobId(job), spec, key: None, fingerprint: [0; 32], origin }]);
    }

    pub(super) fn assign(&mut self, job: u128, attempt: u32, node: NodeId, boot: Boot) -> Dispatch {
        let id = JobId(job);
        self.apply(vec![Command::Assign { job: id, attempt, node, boot }]);
        let spec = Arc::clone(&self.0.job(id).expect("it is there").spec);
        Dispatch { attempt: AttemptRef { job: id, attempt }, term: 1, spec }
    }

    pub(super) fn lose(&mut self, job: u128, attempt: u32, cause: LossCause) -> Vec<Fact> {
        self.apply(vec![Command::Requeue { job: JobId(job), attempt, cause }])
    }

    pub(super) fn finish(&mut self, job: u128, attempt: u32, outcome: Outcome) -> Vec<Fact> {
        let outcome = Arc::new(outcome);
        self.apply(vec![Command::FinishByRule { job: JobId(job), attempt, node: HERE, outcome }])
    }

    /// The pause after a failure is over.
    pub(super) fn release(&mut self, job: u128) {
        self.apply(vec![Command::Release { job: JobId(job) }]);
    }

    pub(super) fn expire(&mut self, job: u128) -> Vec<Fact> {
        self.apply(vec![Command::Expire { job: JobId(job), reason: protocol::Reason::Expired }])
    }
}

/// The workers' room, and the ledger it looks into.
pub(super) struct Room {
    pub(super) book: Book,
    pub(super) workers: Workers,
    pub(super) log: logdb::Log,
}

impl Room {
    pub(super) fn new() -> Self {
        let (lines, log) = lines();
        let workers = Workers::new(lines, true);
        Self { book: Book::new(), workers, log }
    }

    pub(super) fn says(&mut self, name: &'static str, parts: &[&str]) -> Outbox {
        let mut out = Outbox::default();
        self.workers.says(&peer(name), wire::worker_says(&frames(parts)), &self.book.0, &mut out);
        out
    }

    /// A worker comes, registers, and may be handed job 1.
    pub(super) fn comes(&mut self, name: &'static str, more: &[&str]) -> Outbox {
        self.workers.opened(peer(name));
        let parts: Vec<&str> =
            ["init", "group1", "env=c", "", "description=w one"].iter().chain(more).copied().collect();
        self.says(name, &parts)
    }

    pub(super) fn closes(&mut self, name: &'static str) -> Outbox {
        let mut out = Outbox::default();
        self.workers.closed(&peer(name), &mut out);
        out
    }

    /// Job 1 runs here, and worker `guest` gets it.
    pub(super) fn gives_job_1(&mut self, guest: u64) -> Letter {
        self.book.submit(1);
        let dispatch = self.book.assign(1, 1, HERE, BOOT);
        self.workers.hand(GuestId(guest), &dispatch).expect("a letter")
    }

    pub(super) fn warnings(&self) -> usize {
        self.log.after(0, 1_000).iter().filter(|line| line.level == logdb::Level::Warn).count()
    }
}

/// The guest of the one welcome among these, and what it is at work at.
pub(super) fn welcomed(inputs: &[Input]) -> Option<(GuestId, Option<&str>)> {
    let mut all = inputs.iter().filter_map(|input| match input {
        Input::Welcome { guest, at_work, .. } => Some((*guest, at_work.as_deref())),
        _ => None,
    });
    all.next().filter(|_| all.next().is_none())
}

pub(super) fn attempt(job: u128, attempt: u32) -> AttemptRef {
    AttemptRef { job: JobId(job), attempt }
}
