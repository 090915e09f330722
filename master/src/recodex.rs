//! What the ledger keeps for programs of ReCodEx: which open job a front end's id means, whether evaluations are taken, what was
//! counted, and the calls that the front end is owed.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use crate::ledger::Ledger;
use crate::shards::Shards;
use protocol::limits::RECODEX_CALLS;
use protocol::recodex::{Call, Said, is_bad_job};
use protocol::{Job, JobId, JobSpec, JobState, Reason};
use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Recodex {
    /// Open evaluations by the front end's id.
    open: Shards<Arc<str>, JobId>,
    /// Those of them that a worker has.
    running: u64,
    pub(crate) kept: Kept,
}

/// What of it no job says: it has a piece of its own in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) frozen: bool,
    /// Evaluations that ended well.
    pub(crate) evaluated: u64,
    /// Attempts of them that did not.
    pub(crate) failed: u64,
    /// Number of the newest call.
    last_call: u64,
    calls: Arc<BTreeMap<u64, Arc<Call>>>,
}

/// How evaluations stand, as [`Ledger::recodex`] counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecodexCounts {
    /// Ended well.
    pub evaluated: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// A worker has them.
    pub running: u64,
    /// They wait for one.
    pub queued: u64,
}

impl Recodex {
    pub(crate) fn new() -> Self {
        Self { open: Shards::new(), running: 0, kept: Kept::default() }
    }

    /// An evaluation is accepted, or comes back from a snapshot as an open one.
    pub(crate) fn opened(&mut self, spec: &JobSpec, job: JobId) {
        if let Some(asked) = &spec.more.recodex {
            self.open.insert(Arc::from(asked.id.as_str()), job);
        }
    }

    /// An evaluation has ended: its id means a new job from here on.
    pub(crate) fn ended(&mut self, job: &Job) {
        let Some(asked) = &job.spec.more.recodex else { return };
        let id: Arc<str> = Arc::from(asked.id.as_str());
        if self.open.get(&id) == Some(&job.id) {
            self.open.remove(&id);
        }
    }

    /// An evaluation begins to run, or runs no more.
    pub(crate) fn runs(&mut self, spec: &JobSpec, into: bool) {
        if spec.more.recodex.is_some() {
            self.running = if into { self.running + 1 } else { self.running - 1 };
        }
    }

    pub(crate) fn job_of(&self, id: &str) -> Option<JobId> {
        self.open.get(&Arc::from(id)).copied()
    }

    fn counts(&self) -> RecodexCounts {
        let Kept { evaluated, failed, .. } = self.kept;
        let queued = (self.open.len() as u64).saturating_sub(self.running);
        RecodexCounts { evaluated, failed, running: self.running, queued }
    }

    /// Asserts that the open evaluations are those that are indexed.
    pub(crate) fn check<'a>(&self, open: impl Iterator<Item = (JobId, &'a JobSpec, JobState)>) {
        let (mut found, mut running) = (0, 0);
        for (job, spec, state) in open {
            let Some(asked) = &spec.more.recodex else { continue };
            assert!(self.job_of(&asked.id) == Some(job), "an open evaluation is found by its id");
            found += 1;
            running += u64::from(state == JobState::Running);
        }
        assert!((found, running) == (self.open.len(), self.running), "open evaluations are counted right");
    }
}

impl Kept {
    /// Owes a call; names the one that is given up for it, when there are too many.
    pub(crate) fn owe(&mut self, what: Said) -> Option<u64> {
        self.last_call += 1;
        let calls = Arc::make_mut(&mut self.calls);
        calls.insert(self.last_call, Arc::new(Call { number: self.last_call, what }));
        if calls.len() > RECODEX_CALLS { calls.pop_first().map(|(number, _)| number) } else { None }
    }

    /// What is owed of the newest job of this id is owed no more.
    pub(crate) fn take_back(&mut self, id: &str) {
        let of_it = |call: &Arc<Call>| matches!(&call.what, Said::Status { id: other, .. } if other == id);
        let newest = self.calls.iter().rev().find(|(_, call)| of_it(call)).map(|(number, _)| *number);
        newest.map(|number| self.settle(number));
    }

    /// A call is owed no more. Says whether it was.
    pub(crate) fn settle(&mut self, number: u64) -> bool {
        self.calls.contains_key(&number) && Arc::make_mut(&mut self.calls).remove(&number).is_some()
    }
}

impl Ledger {
    /// The open evaluation that this id of a front end means.
    #[must_use]
    pub fn evaluation(&self, id: &str) -> Option<JobId> {
        self.recodex.job_of(id)
    }

    /// Whether this job is an evaluation.
    #[must_use]
    pub fn is_evaluation(&self, job: JobId) -> bool {
        self.terms(job).is_some_and(|terms| terms.more.recodex.is_some())
    }

    /// Whether no evaluations are taken.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.recodex.kept.frozen
    }

    /// How evaluations stand.
    #[must_use]
    pub fn recodex(&self) -> RecodexCounts {
        self.recodex.counts()
    }

    /// The calls that the front end is owed, the oldest first.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = &Arc<Call>> {
        self.recodex.kept.calls.values()
    }

    /// Number of the newest call that was ever owed; 0: none yet.
    #[must_use]
    pub fn last_call(&self) -> u64 {
        self.recodex.kept.last_call
    }
}

/// What the front end is told of an ended evaluation; none where it is told nothing.
pub(crate) fn said_of(job: &Job) -> Option<Said> {
    let asked = job.spec.more.recodex.as_ref().filter(|asked| asked.notify)?;
    let failed = match job.state {
        JobState::Succeeded => None,
        JobState::Failed => Some(why_failed(job)),
        JobState::Cancelled => Some(String::from("Job was cancelled.")),
        _ => return None,
    };
    let failed = failed.map(|text| protocol::recodex::cut(&text));
    Some(Said::Status { id: asked.id.clone(), failed })
}

fn why_failed(job: &Job) -> String {
    let error = job.result.as_ref().and_then(|outcome| outcome.error.clone()).unwrap_or_default();
    if job.result.as_ref().is_some_and(|outcome| is_bad_job(outcome)) {
        return error;
    }
    let again = (job.failures + job.lost).saturating_sub(1);
    let last = match job.reason {
        Some(Reason::Lost) => "The worker that had it is gone.",
        Some(Reason::Expired | Reason::Unsatisfiable) => {
            return String::from("No worker available for its headers.");
        }
        _ => &error,
    };
    alloc::format!("Job was reassigned too many ({again}) times. Last failure message was: {last}")
}
