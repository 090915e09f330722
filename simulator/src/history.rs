//! The agreed history: what each fact means for its job, and what it must not mean.

use std::sync::Arc;

use bytes::Bytes;
use protocol::recodex::Evaluation;
use protocol::{AttemptRef, Boot, End, Fact, Job, JobId, JobState, LossCause, NodeId, Share, What};

use crate::fold::Fold;
use crate::node::LAB_CLASS;
use crate::runner::Work;
use crate::watch::{Held, Watch, must};

/// A job as the agreed history has it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) payload: Bytes,
    pub(crate) state: JobState,
    pub(crate) attempts: Vec<Given>,
    pub(crate) acknowledged_us: Option<u64>,
    /// Only attached workers do it.
    pub(crate) is_lab: bool,
    /// A front end of ReCodEx asked for it.
    pub(crate) evaluation: Option<Evaluation>,
    /// It may have one attempt at most.
    is_once: bool,
    /// The bounds it shares by its key.
    share: Option<Share>,
    /// Digest of state and result at its end.
    end: Option<u64>,
    /// Its place among the ends.
    number: Option<u64>,
}

/// An attempt that the ledger gave to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) at_us: u64,
    /// Its worker gave it back before it had begun.
    pub(crate) given_back: bool,
}

impl Known {
    /// Whether it ended as one of the first so many.
    pub(crate) fn is_among(&self, ends: u64) -> bool {
        self.number.is_some_and(|number| number <= ends)
    }

    /// The attempt that counts now, with its number.
    pub(crate) fn current(&self) -> Option<(u32, &Given)> {
        let number = self.attempts.len() as u32;
        self.attempts.last().filter(|_| self.state == JobState::Running).map(|given| (number, given))
    }
}

fn end_of(job: &Job) -> u64 {
    Fold::of(&(job.state, job.reason, &job.result))
}

impl Watch {
    /// One more fact of the agreed history.
    pub(crate) fn news(&mut self, now_us: u64, fact: &Fact, job: Option<&Arc<Job>>) -> Held {
        let before = std::mem::replace(&mut self.wall_ms, fact.wall_ms);
        must(fact.wall_ms >= before, "logs_complete", || {
            format!("fact {} is {} ms older than the one before it", fact.number, before - fact.wall_ms)
        })?;
        match &fact.what {
            What::Accepted { job: id, .. } => return self.accepted(*id, job),
            What::Joined { .. }
            | What::Opened
            | What::Recovered { .. }
            | What::Frozen { .. }
            | What::Unheard { .. } => return Ok(()),
            What::Left { node } | What::Drained { node, draining: false } => {
                self.draining.remove(node);
                return Ok(());
            }
            What::Drained { node, draining: true } => {
                self.draining.insert(*node);
                return Ok(());
            }
            What::Forgotten { upto } => return self.forgotten(*upto),
            _ => {}
        }
        let (Some(id), Some(after)) = (fact.what.job(), job) else {
            return must(false, "same_ledger", || format!("a fact is about no job: {:?}", fact.what));
        };
        let Some(known) = self.jobs.get(&id) else {
            return must(false, "same_ledger", || {
                format!("a fact is about a job never accepted: {:?}", fact.what)
            });
        };
        ended_stays_ended(known, &fact.what)?;
        match &fact.what {
            What::Assigned { attempt, node } => self.assigned(now_us, *attempt, *node, after),
            What::Finished { attempt, node, state, .. } => self.finished(*attempt, *node, *state, after),
            What::Requeued { attempt, cause, state, .. } => {
                self.requeued(now_us, *attempt, *cause, *state, after)
            }
            What::Failed { attempt, .. } => {
                self.is_current(*attempt)?;
                self.turns(id, JobState::Scheduled, after)
            }
            What::Adopted { attempt, node, state } => self.adopted(now_us, *attempt, *node, *state, after),
            What::Cancelled { .. } => self.turns(id, JobState::Cancelled, after),
            What::Expired { .. } => self.turns(id, JobState::Failed, after),
            What::Released { .. } => self.turns(id, JobState::Queued, after),
            _ => Ok(()),
        }
    }

    /// `result_is_of_its_payload`: every job in the ledger is one that a client asked for, as it was asked for.
    /// `key_is_one_job`: no key makes a second job.
    fn accepted(&mut self, id: JobId, job: Option<&Arc<Job>>) -> Held {
        let payload = job.map(|job| job.spec.payload.clone()).unwrap_or_default();
        let asked = self.asked.get(&id);
        must(asked.is_some_and(|asked| asked.payload == payload), "result_is_of_its_payload", || {
            format!("{id} is accepted with {payload:?}, asked was {asked:?}")
        })?;
        must(!self.not_taken.contains(&id), "acked_survives", || {
            format!("{id} is accepted after its refusal")
        })?;
        if let Some(key) = asked.and_then(|asked| asked.key.clone()) {
            let first = *self.keys.entry(key.clone()).or_insert(id);
            must(first == id, "key_is_one_job", || format!("key {key} made {first} and {id}"))?;
        }
        let evaluation = job.and_then(|job| job.spec.more.recodex.as_deref().cloned());
        if let Some(Evaluation { id, .. }) = &evaluation {
            let is_open = |known: &&Known| {
                !known.state.is_terminal() && known.evaluation.as_ref().is_some_and(|other| other.id == *id)
            };
            let open = self.jobs.values().find(is_open);
            must(open.is_none(), "key_is_one_job", || format!("{id} makes {id} beside {open:?}"))?;
        }
        let known = Known {
            payload,
            state: JobState::Queued,
            attempts: Vec::new(),
            acknowledged_us: None,
            is_lab: job.is_some_and(|job| job.spec.class == LAB_CLASS || evaluation.is_some()),
            evaluation,
            is_once: job.is_some_and(|job| job.spec.more.at_most_once),
            share: job.and_then(|job| job.spec.more.limits.clone()),
            end: None,
            number: None,
        };
        self.open += 1;
        let before = self.jobs.insert(id, known);
        must(before.is_none(), "key_is_one_job", || format!("{id} is accepted twice"))
    }

    /// `no_run_while_held`: a job is given away only while nobody holds it.
    /// `at_most_once`: one that asked for that is given away once, whatever became of it there. `never_over_capacity`: a drained
    /// node is given none.
    fn assigned(&mut self, now_us: u64, attempt: AttemptRef, node: NodeId, after: &Arc<Job>) -> Held {
        let boot = after.attempts.get(attempt.attempt as usize - 1).map_or(Boot(0), |a| a.boot);
        must(!self.draining.contains(&node), "never_over_capacity", || {
            format!("{attempt:?} is given to {node:?}, which is drained")
        })?;
        let Some(known) = self.jobs.get_mut(&attempt.job) else { return Ok(()) };
        let free = known.state == JobState::Queued && known.attempts.len() + 1 == attempt.attempt as usize;
        must(free, "no_run_while_held", || format!("{attempt:?} is given to {node:?} while {known:?}"))?;
        must(!known.is_once || known.attempts.is_empty(), "at_most_once", || {
            format!("{attempt:?} is given to {node:?} after {:?}", known.attempts)
        })?;
        known.attempts.push(Given { node, boot, at_us: now_us, given_back: false });
        known.state = JobState::Running;
        self.shares_hold(attempt.job)
    }

    /// `shares_hold`: of the jobs of one key never more run than the one that begins allows.
    fn shares_hold(&mut self, job: JobId) -> Held {
        let Some(share) = self.jobs.get(&job).and_then(|known| known.share.clone()) else { return Ok(()) };
        let Some(most) = share.concurrency else { return Ok(()) };
        let running = self.sharing.entry(share.key.clone()).or_default();
        running.insert(job);
        running.retain(|id| self.jobs.get(id).is_some_and(|known| known.state == JobState::Running));
        must(running.len() <= most as usize, "shares_hold", || {
            format!("{job} begins as one of {} of the key {}, allowed are {most}", running.len(), share.key)
        })
    }

    /// `no_run_while_held`: only a failure of the attempt that counts takes the job from it.
    fn is_current(&self, attempt: AttemptRef) -> Held {
        let current = self.jobs.get(&attempt.job).and_then(|known| Some(known.current()?.0));
        must(current == Some(attempt.attempt), "no_run_while_held", || {
            format!("a failure of {attempt:?} counts while attempt {current:?} runs")
        })
    }

    /// `result_is_of_its_payload`: the recorded result is the one that this attempt, which did run there, brought back.
    fn finished(&mut self, attempt: AttemptRef, node: NodeId, state: JobState, after: &Arc<Job>) -> Held {
        let is_evaluation = self.jobs.get(&attempt.job).is_some_and(|known| known.evaluation.is_some());
        let ran = match is_evaluation {
            true => {
                let any = (attempt.job, node, Boot(0))..=(attempt.job, node, Boot(u64::MAX));
                self.brought.range(any).next().is_some()
            }
            false => self.starts.get(&attempt).is_some_and(|(by, _)| *by == node),
        };
        must(ran, "result_is_of_its_payload", || {
            format!("{attempt:?} ends on {node:?} and never started there")
        })?;
        if state == JobState::Failed {
            self.is_current(attempt)?;
        }
        let work = self.jobs.get(&attempt.job).and_then(|known| Work::read(&known.payload));
        if let (Some(work), JobState::Succeeded) = (work, state) {
            let all = after.attempts.len() as u32;
            let numbers = if is_evaluation { 1..=all } else { attempt.attempt..=attempt.attempt };
            let mut outcomes = numbers.map(|number| work.outcome(number));
            let right = outcomes
                .any(|outcome| after.result.as_deref() == Some(&outcome) && outcome.end == End::Success);
            must(right, "result_is_of_its_payload", || {
                format!("{attempt:?} cannot bring {:?}", after.result)
            })?;
        }
        self.turns(attempt.job, state, after)
    }

    /// `no_repeat_in_calm`: of an attempt given away in calm nothing is taken back in calm, unless it has not begun: then it
    /// never does.
    fn requeued(
        &mut self,
        now_us: u64,
        attempt: AttemptRef,
        cause: LossCause,
        state: JobState,
        after: &Arc<Job>,
    ) -> Held {
        if cause == LossCause::Unbegun {
            let began = self.starts.get(&attempt).copied();
            must(began.is_none(), "no_run_while_held", || {
                format!("{attempt:?} is taken back as not begun, it began on {began:?}")
            })?;
            let attempts = self.jobs.get_mut(&attempt.job).map(|known| &mut known.attempts);
            let given = attempts.and_then(|attempts| attempts.get_mut(attempt.attempt as usize - 1));
            if let Some(given) = given {
                given.given_back = true;
            }
            return self.turns(attempt.job, state, after);
        }
        let given = self.given(attempt);
        let calm =
            self.calm_since(now_us).is_some_and(|since| given.is_some_and(|given| given.at_us >= since));
        must(!calm, "no_repeat_in_calm", || format!("{attempt:?} is taken back ({cause:?}), all was calm"))?;
        self.turns(attempt.job, state, after)
    }

    /// An attempt is another node's from here on. (Perhaps another one of its job than the worker had: that knows only the job.)
    fn adopted(
        &mut self,
        now_us: u64,
        attempt: AttemptRef,
        node: NodeId,
        state: JobState,
        after: &Arc<Job>,
    ) -> Held {
        let boot = after.attempts.get(attempt.attempt as usize - 1).map_or(Boot(0), |a| a.boot);
        self.starts.insert(attempt, (node, boot));
        let attempts = self.jobs.get_mut(&attempt.job).map(|known| &mut known.attempts);
        if let Some(given) = attempts.and_then(|all| all.get_mut(attempt.attempt as usize - 1)) {
            *given = Given { node, boot, at_us: now_us, given_back: false };
        }
        self.turns(attempt.job, state, after)
    }

    /// The agreed gift of an attempt.
    pub(crate) fn given(&self, attempt: AttemptRef) -> Option<Given> {
        self.jobs.get(&attempt.job)?.attempts.get(attempt.attempt as usize - 1).copied()
    }

    fn turns(&mut self, id: JobId, state: JobState, after: &Arc<Job>) -> Held {
        if let Some(known) = self.jobs.get_mut(&id) {
            known.state = state;
            if state.is_terminal() {
                self.open -= 1;
                known.end = Some(end_of(after));
                known.number = after.ending.map(|ending| ending.number);
            }
        }
        Ok(())
    }

    /// History is forgotten up to this end, and with it the keys of those jobs, which may make others now.
    fn forgotten(&mut self, upto: u64) -> Held {
        let is_gone = |id: &JobId| self.jobs.get(id).is_some_and(|known| known.is_among(upto));
        let (gone, kept) = std::mem::take(&mut self.keys).into_iter().partition(|(_, id)| is_gone(id));
        self.keys = kept;
        let gone: std::collections::BTreeMap<String, JobId> = gone;
        self.old_keys.extend(gone);
        Ok(())
    }

    /// `one_result`: an ended job has the same end and the same result wherever and whenever it is looked at.
    pub(crate) fn ended_job_is_as_it_ended(&self, job: &Job) -> Held {
        if !job.state.is_terminal() {
            return Ok(());
        }
        let end = self.jobs.get(&job.id).and_then(|known| known.end);
        must(end == Some(end_of(job)), "one_result", || {
            format!("{} has another end than before: {:?} {:?}", job.id, job.state, job.result)
        })
    }
}

/// `terminal_is_final`: nothing but the note of a late result comes after a job's end; `one_result`: no second end.
fn ended_stays_ended(known: &Known, what: &What) -> Held {
    if !known.state.is_terminal() || matches!(what, What::Superseded { .. }) {
        return Ok(());
    }
    let invariant = if matches!(what, What::Finished { .. }) { "one_result" } else { "terminal_is_final" };
    must(false, invariant, || format!("after its end as {:?} comes {what:?}", known.state))
}
