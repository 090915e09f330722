//! A ledger that is fed commands.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::scene::*;
use crate::{Bounds, Effect, Ledger};
use protocol::{
    Answer, Boot, Change, Command, Entry, Job, JobId, JobSpec, JobState, LossCause, NodeId, Origin, Outcome,
};

/// A ledger that is fed commands.
pub(super) struct Book {
    pub(super) ledger: Ledger,
    pub(super) clock_ms: u64,
    pub(super) number: u64,
}

impl Book {
    /// Open, with anna, bert and carl as members.
    pub(super) fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    pub(super) fn with_bounds(bounds: Bounds) -> Self {
        let mut book = Self { ledger: Ledger::with_bounds(bounds), clock_ms: 0, number: 0 };
        for id in [ANNA, BERT, CARL] {
            book.one(Command::Configure(Change::Member(member(id, 1))));
        }
        book.one(Command::Configure(Change::Open));
        book
    }

    /// Applies one entry and checks the whole ledger.
    pub(super) fn entry(&mut self, commands: Vec<Command>) -> Vec<Effect> {
        let index = self.ledger.applied() + 1;
        let wall_ms = 1_000_000 + self.clock_ms;
        let entry = Entry { clock_ms: self.clock_ms, wall_ms, term: 5, commands };
        let effects = self.ledger.apply(index, &entry);
        self.ledger.check();
        effects
    }

    pub(super) fn one(&mut self, command: Command) -> Vec<Effect> {
        self.entry([command].into())
    }

    pub(super) fn origin(&mut self) -> Origin {
        self.number += 1;
        Origin { gateway: ANNA, boot: Boot(1), number: self.number, floor: self.number }
    }

    pub(super) fn submit(&mut self, job: u128, spec: JobSpec) -> Answer {
        let origin = self.origin();
        self.submit_as(job, spec, None, [0; 32], origin)
    }

    pub(super) fn submit_as(
        &mut self,
        job: u128,
        spec: JobSpec,
        key: Option<&str>,
        fingerprint: [u8; 32],
        origin: Origin,
    ) -> Answer {
        let key = key.map(ToString::to_string);
        let command = Command::Submit { job: JobId(job), spec: Arc::new(spec), key, fingerprint, origin };
        match self.one(command).pop() {
            Some(Effect::Decided { answer, .. }) => answer,
            other => panic!("a submission is always decided: {other:?}"),
        }
    }

    pub(super) fn assign(&mut self, job: u128, attempt: u32, node: NodeId) -> Vec<Effect> {
        self.one(Command::Assign { job: JobId(job), attempt, node, boot: Boot(1) })
    }

    pub(super) fn finish(
        &mut self,
        job: u128,
        attempt: u32,
        node: NodeId,
        outcome: Arc<Outcome>,
    ) -> Vec<Effect> {
        self.one(Command::Finish { job: JobId(job), attempt, node, outcome })
    }

    pub(super) fn requeue(&mut self, job: u128, attempt: u32, cause: LossCause) -> Vec<Effect> {
        self.one(Command::Requeue { job: JobId(job), attempt, cause })
    }

    pub(super) fn cancel(&mut self, job: u128) -> Vec<Effect> {
        self.one(Command::Cancel { job: JobId(job) })
    }

    pub(super) fn job(&self, job: u128) -> Arc<Job> {
        self.ledger.job(JobId(job)).expect("the job is in the ledger")
    }

    pub(super) fn state(&self, job: u128) -> JobState {
        self.job(job).state
    }
}
