//! What each command does to the ledger. *Apply decides, not propose*: where a command's expectation no longer holds, it
//! is a recorded no-op ([`Effect::Void`]). Integers only; the same entries give the same ledger and the same effects on
//! every node.

mod again;
mod batch;
mod configure;
mod recodex;
mod recover;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::gateways::Known;
use crate::keys::KeyRecord;
use crate::ledger::{Effect, Ledger, is_noted};
use again::{Rules, counts, pause_after_failure};
use protocol::{
    Answer, Attempt, AttemptMore, AttemptRef, AttemptState, Boot, Chosen, Command, End, Entry, Fact, Job,
    JobId, JobState, LossCause, NodeId, Origin, Outcome, Reason, Refusal, Rev, What,
};

impl Ledger {
    /// Applies the entry at `index` of the log and says what came of it, in order.
    ///
    /// # Panics
    /// When `index` does not rise, or an invariant is broken: then this node must not go on.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Vec<Effect> {
        assert!(index > self.applied, "same_ledger: entry {index} after {}", self.applied);
        self.applied = index;
        self.clock_ms = self.clock_ms.max(entry.clock_ms);
        self.wall_ms = self.wall_ms.max(entry.wall_ms);
        self.digest.take(&(index, entry));
        self.let_go();
        // Most commands have two: a decision or a change of state, and its fact.
        let effects = Vec::with_capacity(2 * entry.commands.len());
        let mut turn = Turn { ledger: self, term: entry.term, n: 0, effects };
        for (place, command) in entry.commands.iter().enumerate() {
            if turn.command(command).is_none() {
                turn.effects.push(Effect::Void { command: place, job: job_of(command) });
            }
        }
        turn.effects
    }
}

/// The job a command is about.
pub(crate) fn job_of(command: &Command) -> Option<JobId> {
    match command {
        Command::Submit { job, .. }
        | Command::Assign { job, .. }
        | Command::AssignWhy { job, .. }
        | Command::Finish { job, .. }
        | Command::FinishByRule { job, .. }
        | Command::Requeue { job, .. }
        | Command::Cancel { job }
        | Command::Expire { job, .. }
        | Command::Release { job } => Some(*job),
        Command::SubmitAll { batch, .. } => Some(batch.first),
        Command::Configure(_)
        | Command::Forget { .. }
        | Command::Recover { .. }
        | Command::Recodex { .. } => None,
    }
}

/// The applying of one entry. A rule gives `None` when what it expects does not hold.
pub(crate) struct Turn<'a> {
    pub(crate) ledger: &'a mut Ledger,
    term: u64,
    /// Facts so far.
    n: u32,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn command(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Submit { job, spec, key, fingerprint, origin } => {
                self.submit(*job, spec, key.as_deref(), fingerprint, origin);
                Some(())
            }
            Command::Assign { job, attempt, node, boot } => self.assign(*job, *attempt, (*node, *boot), None),
            Command::AssignWhy { job, attempt, node, boot, why } => {
                self.assign(*job, *attempt, (*node, *boot), Some(*why))
            }
            Command::Finish { job, attempt, node, outcome } => {
                self.finish(*job, *attempt, *node, outcome, Rules::First)
            }
            Command::FinishByRule { job, attempt, node, outcome } => {
                self.finish(*job, *attempt, *node, outcome, Rules::OfJob)
            }
            Command::Requeue { job, attempt, cause } => self.requeue(*job, *attempt, *cause),
            Command::Cancel { job } => self.cancel(*job),
            Command::Expire { job, reason } => self.expire(*job, *reason),
            Command::Release { job } => self.release(*job),
            Command::Configure(change) => self.configure(change),
            Command::Forget { after, upto } => self.forget(*after, *upto),
            Command::SubmitAll { batch, origin } => {
                self.submit_all(batch, origin);
                Some(())
            }
            Command::Recover { epoch, node, former } => self.recover(*epoch, *node, *former),
            Command::Recodex { order, origin } => {
                self.order(order, origin);
                Some(())
            }
        }
    }

    /// The moment the next fact becomes so.
    pub(crate) fn rev(&self) -> Rev {
        Rev { epoch: self.ledger.epoch(), index: self.ledger.applied, n: self.n }
    }

    fn fact(&mut self, what: What) {
        let number = self.ledger.facts.last() + 1;
        let fact = Arc::new(Fact { number, rev: self.rev(), wall_ms: self.ledger.wall_ms, what });
        self.n += 1;
        self.ledger.digest.take(&*fact);
        self.ledger.facts.push(Arc::clone(&fact), self.ledger.bounds.facts);
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::SkipsFacts) && crate::facts::is_to_be_skipped(&fact) {
            return;
        }
        self.effects.push(Effect::Fact(fact));
    }

    /// Changes a job and says so: one change, one fact, one revision.
    pub(crate) fn change(&mut self, id: JobId, what: What, how: impl FnOnce(&mut Job)) {
        let rev = self.rev();
        self.ledger.change(id, rev, how);
        self.fact(what);
    }

    /// A job that something has happened to: only such a one has attempts, or is anything else than queued.
    pub(crate) fn changed_job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.ledger.changed_job(id)
    }

    fn submit(
        &mut self,
        job: JobId,
        spec: &Arc<protocol::JobSpec>,
        key: Option<&str>,
        fingerprint: &[u8; 32],
        origin: &Origin,
    ) {
        let answer = match self.ledger.gateways.known(origin) {
            Known::Yes(answer) => answer,
            Known::Stale => Answer::Refused(Refusal::Stale),
            Known::No => {
                let key: Option<Arc<str>> = key.map(Arc::from);
                let repeated = self.repeat(
                    job,
                    key.as_ref(),
                    fingerprint,
                    #[cfg(feature = "mutants")]
                    origin.gateway,
                );
                let repeated = repeated.or_else(|| self.of_evaluation(spec));
                let answer = match repeated.or_else(|| self.refusal(1)) {
                    Some(answer) => answer,
                    None => self.accept(job, spec, key, fingerprint, origin),
                };
                let keep = self.ledger.bounds.answers;
                self.ledger.gateways.record(origin, answer.clone(), keep);
                answer
            }
        };
        self.effects.push(Effect::Decided { origin: *origin, job, jobs: 1, answer });
    }

    /// The answer of a request that was made before, by id or by key. Comes before any limit.
    fn repeat(
        &self,
        job: JobId,
        key: Option<&Arc<str>>,
        fingerprint: &[u8; 32],
        #[cfg(feature = "mutants")] gateway: NodeId,
    ) -> Option<Answer> {
        if self.ledger.holds(job) {
            return Some(Answer::Accepted { job, replayed: false });
        }
        let known = self.ledger.keys.get(key?)?;
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::KeyPerGateway)
            && !self.ledger.gateways.answered(gateway, known.job)
        {
            return None;
        }
        Some(if known.fingerprint == *fingerprint {
            Answer::Accepted { job: known.job, replayed: true }
        } else {
            Answer::Refused(Refusal::KeyReused { job: known.job })
        })
    }

    fn refusal(&self, jobs: u64) -> Option<Answer> {
        let ledger = &self.ledger;
        if !ledger.is_open() {
            return Some(Answer::Refused(Refusal::Starting));
        }
        let full = ledger.open_jobs() + jobs > ledger.bounds.open_jobs
            || ledger.live_bytes() >= ledger.bounds.live_bytes;
        full.then_some(Answer::Refused(Refusal::Full))
    }

    fn accept(
        &mut self,
        id: JobId,
        spec: &Arc<protocol::JobSpec>,
        key: Option<Arc<str>>,
        fingerprint: &[u8; 32],
        origin: &Origin,
    ) -> Answer {
        if let Some(key) = &key {
            self.ledger.keys.insert(Arc::clone(key), KeyRecord { job: id, fingerprint: *fingerprint });
        }
        let rev = self.rev();
        self.ledger.add(id, spec, rev, key);
        self.fact(What::Accepted { job: id, gateway: origin.gateway });
        Answer::Accepted { job: id, replayed: false }
    }

    fn assign(
        &mut self,
        id: JobId,
        number: u32,
        (node, boot): (NodeId, Boot),
        why: Option<Chosen>,
    ) -> Option<()> {
        #[cfg(feature = "mutants")]
        let number = self.number_again(id, number);
        let state = self.ledger.state(id)?;
        let attempts = self.changed_job(id).map_or(0, |job| job.attempts.len());
        let has_had_it = number > 1 && self.ledger.terms(id).is_some_and(|terms| self.is_spent(terms));
        let fits = state == JobState::Queued && attempts + 1 == number as usize && !has_had_it;
        if !fits || self.ledger.member(node)?.boot != boot || self.ledger.is_draining(node) {
            return None;
        }
        let attempt = Attempt {
            number,
            node,
            boot,
            term: self.term,
            state: AttemptState::Running,
            reason: None,
            exit_code: None,
            signal: None,
            started_wall_ms: self.ledger.wall_ms,
            finished_wall_ms: None,
            cpu_ms: None,
            more: AttemptMore { memory_peak_bytes: None, why },
        };
        let what = What::Assigned { attempt: AttemptRef { job: id, attempt: number }, node };
        self.change(id, what, |job| {
            job.state = JobState::Running;
            job.started_wall_ms.get_or_insert(attempt.started_wall_ms);
            job.attempts.push(attempt);
        });
        self.count_start(id);
        Some(())
    }

    /// The bounds that a job shares by its key count this start.
    fn count_start(&mut self, id: JobId) {
        let ledger = &mut *self.ledger;
        if let Some(share) = ledger.jobs.get(&id).and_then(|held| held.terms().more.limits.as_ref()) {
            ledger.shares.started(share, ledger.clock_ms);
        }
    }

    fn finish(
        &mut self,
        id: JobId,
        number: u32,
        node: NodeId,
        outcome: &Arc<Outcome>,
        rules: Rules,
    ) -> Option<()> {
        let job = self.changed_job(id)?;
        let place = (number as usize).checked_sub(1)?;
        let attempt = job.attempts.get(place).filter(|a| a.node == node)?;
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::SecondResult)
            && job.state.is_terminal()
            && outcome.end == End::Success
        {
            self.overwrite(id, number, node, outcome);
            return Some(());
        }
        if is_noted(attempt) {
            return None;
        }
        let current = job.state == JobState::Running && place + 1 == job.attempts.len();
        #[cfg(feature = "mutants")]
        let current = current || self.ledger.breaks(crate::LedgerMutant::LateFailureCounts);
        match outcome.end {
            _ if job.state.is_terminal() => self.note_on_ended(id, place, node, outcome),
            End::Success => self.succeed(id, place, node, outcome),
            End::Failure(reason) if current => self.fail(id, place, node, (reason, outcome), rules),
            End::Failure(reason) => {
                let what = What::Superseded { attempt: reference(id, place), node };
                self.change(id, what, |job| note(&mut job.attempts[place], outcome, Some(reason)));
            }
        }
        Some(())
    }

    /// The first success of any attempt ends an open job, whatever the job was doing.
    fn succeed(&mut self, id: JobId, place: usize, node: NodeId, outcome: &Arc<Outcome>) {
        let wall_ms = self.ledger.wall_ms;
        let state = JobState::Succeeded;
        let what = What::Finished { attempt: reference(id, place), node, state, reason: None };
        self.change(id, what, |job| {
            let attempt = &mut job.attempts[place];
            note(attempt, outcome, None);
            attempt.state = AttemptState::Succeeded;
            attempt.finished_wall_ms = Some(wall_ms);
            for other in job.attempts.iter_mut().filter(|a| a.state == AttemptState::Running) {
                other.state = AttemptState::Superseded;
            }
            job.result = Some(Arc::clone(outcome));
            end(job, state, None, wall_ms);
        });
        self.attempt_ended(id, true);
    }

    /// A failure of the current attempt: another try after a pause while there are tries left.
    fn fail(
        &mut self,
        id: JobId,
        place: usize,
        node: NodeId,
        (reason, outcome): (Reason, &Arc<Outcome>),
        rules: Rules,
    ) {
        let Some(job) = self.changed_job(id) else { return };
        let failures = job.failures + 1;
        let most_attempts = self.ledger.bounds.attempts;
        let pause_ms = pause_after_failure(rules, job, failures, (reason, outcome), most_attempts);
        let (clock_ms, wall_ms) = (self.ledger.clock_ms, self.ledger.wall_ms);
        let attempt = reference(id, place);
        let what = match pause_ms {
            Some(pause_ms) => {
                What::Failed { attempt, node, reason, not_before_ms: clock_ms.saturating_add(pause_ms) }
            }
            None => What::Finished { attempt, node, state: JobState::Failed, reason: Some(reason) },
        };
        self.change(id, what, |job| {
            let attempt = &mut job.attempts[place];
            note(attempt, outcome, Some(reason));
            attempt.state = AttemptState::Failed;
            attempt.finished_wall_ms = Some(wall_ms);
            job.failures = failures;
            match pause_ms {
                Some(pause_ms) => schedule(job, clock_ms, wall_ms, pause_ms),
                None => {
                    job.result = Some(Arc::clone(outcome));
                    end(job, JobState::Failed, Some(reason), wall_ms);
                }
            }
        });
        self.attempt_ended(id, false);
    }

    /// A result of a job that has ended: noted on its attempt, and nothing else changes.
    fn note_on_ended(&mut self, id: JobId, place: usize, node: NodeId, outcome: &Arc<Outcome>) {
        let wall_ms = self.ledger.wall_ms;
        self.change(id, What::Superseded { attempt: reference(id, place), node }, |job| {
            let cancelled = job.state == JobState::Cancelled;
            let attempt = &mut job.attempts[place];
            let reason = match outcome.end {
                End::Success => None,
                End::Failure(reason) => Some(reason),
            };
            note(attempt, outcome, reason);
            attempt.state = if cancelled { AttemptState::Cancelled } else { AttemptState::Superseded };
            attempt.finished_wall_ms = Some(wall_ms);
        });
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::TellsTwice) {
            self.owe_end(id);
        }
    }

    fn requeue(&mut self, id: JobId, number: u32, cause: LossCause) -> Option<()> {
        let job = self.changed_job(id)?;
        let attempt = job.current().filter(|a| a.number == number)?;
        if job.spec.more.at_most_once && cause == LossCause::Late {
            // It may still bring its result, and nobody else may begin it.
            return None;
        }
        let node = attempt.node;
        let lost = job.lost + u32::from(counts(cause));
        let verdict = self.after_loss(job, lost, cause);
        let (clock_ms, wall_ms) = (self.ledger.clock_ms, self.ledger.wall_ms);
        let attempt = AttemptRef { job: id, attempt: number };
        self.change(id, What::Requeued { attempt, node, cause, state: verdict.state }, |job| {
            if let Some(attempt) = job.attempts.last_mut() {
                attempt.state = AttemptState::Lost;
                attempt.finished_wall_ms = Some(wall_ms);
            }
            job.lost = lost;
            match verdict.state {
                JobState::Failed => end(job, JobState::Failed, verdict.reason, wall_ms),
                JobState::Scheduled => schedule(job, clock_ms, wall_ms, verdict.pause_ms),
                _ => job.state = JobState::Queued,
            }
        });
        self.owe_end(id);
        Some(())
    }

    fn cancel(&mut self, id: JobId) -> Option<()> {
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::CancelsEnded)
            && self.ledger.state(id)? == JobState::Succeeded
        {
            self.change(id, What::Cancelled { job: id }, |job| {
                (job.state, job.result) = (JobState::Cancelled, None);
            });
            return Some(());
        }
        self.end_by_cancel(id)?;
        self.owe_end(id);
        Some(())
    }

    fn end_by_cancel(&mut self, id: JobId) -> Option<()> {
        self.ledger.state(id).filter(|state| !state.is_terminal())?;
        let wall_ms = self.ledger.wall_ms;
        self.change(id, What::Cancelled { job: id }, |job| {
            for attempt in job.attempts.iter_mut().filter(|a| a.state == AttemptState::Running) {
                attempt.state = AttemptState::Cancelled;
            }
            end(job, JobState::Cancelled, None, wall_ms);
        });
        Some(())
    }

    fn expire(&mut self, id: JobId, reason: Reason) -> Option<()> {
        self.ledger.state(id).filter(|state| !state.is_terminal() && *state != JobState::Running)?;
        let wall_ms = self.ledger.wall_ms;
        self.change(id, What::Expired { job: id, reason }, |job| {
            end(job, JobState::Failed, Some(reason), wall_ms);
        });
        self.owe_end(id);
        Some(())
    }

    fn release(&mut self, id: JobId) -> Option<()> {
        let job = self.changed_job(id).filter(|job| job.state == JobState::Scheduled)?;
        if job.not_before_ms.is_some_and(|not_before_ms| not_before_ms > self.ledger.clock_ms) {
            return None;
        }
        self.change(id, What::Released { job: id }, |job| {
            job.state = JobState::Queued;
            job.not_before_ms = None;
            job.not_before_wall_ms = None;
        });
        Some(())
    }

    fn forget(&mut self, after: u64, upto: u64) -> Option<()> {
        self.ledger.forget(after, upto).then_some(())?;
        self.fact(What::Forgotten { upto });
        Some(())
    }
}

fn reference(job: JobId, place: usize) -> AttemptRef {
    AttemptRef { job, attempt: place as u32 + 1 }
}

/// Writes what the worker saw onto the attempt.
fn note(attempt: &mut Attempt, outcome: &Outcome, reason: Option<Reason>) {
    attempt.reason = reason;
    attempt.exit_code = outcome.exit_code;
    attempt.signal = outcome.signal;
    attempt.cpu_ms = outcome.cpu_ms;
    attempt.more.memory_peak_bytes = outcome.memory_peak_bytes;
}

/// The one place where a job gets a state that is for ever.
fn end(job: &mut Job, state: JobState, reason: Option<Reason>, wall_ms: u64) {
    assert!(!job.state.is_terminal(), "terminal_is_final: {} was {} already", job.id, job.state.word());
    job.state = state;
    job.reason = reason;
    job.not_before_ms = None;
    job.not_before_wall_ms = None;
    job.finished_wall_ms = Some(wall_ms);
}

fn schedule(job: &mut Job, clock_ms: u64, wall_ms: u64, pause_ms: u64) {
    job.state = JobState::Scheduled;
    job.not_before_ms = Some(clock_ms.saturating_add(pause_ms));
    job.not_before_wall_ms = Some(wall_ms.saturating_add(pause_ms));
}
