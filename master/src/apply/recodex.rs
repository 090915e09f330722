//! What ReCodEx asks of the whole cluster, and what its front end is owed at the end of an evaluation.

use super::{Turn, reference};
use crate::gateways::Known;
use crate::ledger::{Effect, is_noted};
use crate::recodex::said_of;
use protocol::recodex::{Order, Said, cut};
use protocol::{
    Answer, AttemptRef, AttemptState, Boot, JobId, JobSpec, JobState, NodeId, Origin, Refusal, What,
};

impl Turn<'_> {
    /// An order is decided once under its gateway's number, as a submission is.
    pub(super) fn order(&mut self, order: &Order, origin: &Origin) {
        let answer = match self.ledger.gateways.known(origin) {
            Known::Yes(answer) => answer,
            Known::Stale => Answer::Refused(Refusal::Stale),
            Known::No => {
                let answer = self.obey(order, origin);
                self.ledger.gateways.record(origin, answer.clone(), self.ledger.bounds.answers);
                answer
            }
        };
        // Of no job that its gateway asked for.
        self.effects.push(Effect::Decided { origin: *origin, job: JobId(0), jobs: 0, answer });
    }

    fn obey(&mut self, order: &Order, origin: &Origin) -> Answer {
        match order {
            Order::Freeze { frozen } => {
                if core::mem::replace(&mut self.ledger.recodex.kept.frozen, *frozen) != *frozen {
                    self.fact(What::Frozen { frozen: *frozen });
                }
                Answer::Done
            }
            Order::Adopt { attempt, node, boot } => match self.adopt(*attempt, *node, *boot) {
                Ok(()) => Answer::Done,
                Err(refusal) => Answer::Refused(refusal),
            },
            Order::Withdraw { number, job } => {
                self.withdraw(*number, *job, origin);
                Answer::Done
            }
            Order::Notify { text } => {
                self.owe(Said::Error { message: cut(text) });
                Answer::Done
            }
            Order::Delivered { number } => match self.ledger.recodex.kept.settle(*number) {
                true => Answer::Done,
                false => Answer::Refused(Refusal::NotFound),
            },
        }
    }

    /// The worker that has an attempt is attached to another node, or to a new start of the same one: what it brings, it brings
    /// there. Where the attempt had been given up and nothing came after it, it counts again.
    fn adopt(&mut self, attempt: AttemptRef, node: NodeId, boot: Boot) -> Result<(), Refusal> {
        if self.ledger.member(node).is_none_or(|member| member.boot != boot) {
            return Err(Refusal::Stale);
        }
        let AttemptRef { job: id, attempt: number } = attempt;
        let job =
            self.changed_job(id).filter(|job| job.spec.more.recodex.is_some()).ok_or(Refusal::NotFound)?;
        let place = (number as usize).checked_sub(1).ok_or(Refusal::NotFound)?;
        let known = job.attempts.get(place).ok_or(Refusal::NotFound)?;
        if job.state.is_terminal() || is_noted(known) {
            return Err(Refusal::Ended { job: id });
        }
        let is_given_up = known.state == AttemptState::Lost && place + 1 == job.attempts.len();
        let counts_again = is_given_up && matches!(job.state, JobState::Queued | JobState::Scheduled);
        let state = if counts_again { JobState::Running } else { job.state };
        self.change(id, What::Adopted { attempt: reference(id, place), node, state }, |job| {
            let attempt = &mut job.attempts[place];
            (attempt.node, attempt.boot) = (node, boot);
            if counts_again {
                (attempt.state, attempt.finished_wall_ms) = (AttemptState::Running, None);
                (job.not_before_ms, job.not_before_wall_ms) = (None, None);
                job.state = JobState::Running;
            }
        });
        Ok(())
    }

    /// A submission that its front end was told is rejected: it is decided as that, or undone without a word.
    fn withdraw(&mut self, number: u64, job: JobId, origin: &Origin) {
        let of = Origin { number, ..*origin };
        let is_undecided = number > 0 && matches!(self.ledger.gateways.known(&of), Known::No);
        if is_undecided {
            let keep = self.ledger.bounds.answers;
            self.ledger.gateways.record(&of, Answer::Refused(Refusal::Withdrawn), keep);
            return;
        }
        // Not told of: its front end heard that it is rejected. (Where its id was open already there is no job of this name.) Where
        // it had ended by then, what has not left yet does not leave.
        if self.end_by_cancel(job).is_none()
            && let Some(asked) = self.ledger.terms(job).and_then(|terms| terms.more.recodex.clone())
        {
            self.ledger.recodex.kept.take_back(&asked.id);
        }
    }

    /// The answer of an evaluation whose id is open already, or that is not taken now.
    pub(super) fn of_evaluation(&self, spec: &JobSpec) -> Option<Answer> {
        let asked = spec.more.recodex.as_ref()?;
        match self.ledger.evaluation(&asked.id) {
            Some(job) => Some(Answer::Accepted { job, replayed: true }),
            None => self.ledger.is_frozen().then_some(Answer::Refused(Refusal::Frozen)),
        }
    }

    /// A current attempt ended, well or not; with it perhaps its job.
    pub(super) fn attempt_ended(&mut self, id: JobId, well: bool) {
        if self.changed_job(id).is_some_and(|job| job.spec.more.recodex.is_some()) {
            let kept = &mut self.ledger.recodex.kept;
            let count = if well { &mut kept.evaluated } else { &mut kept.failed };
            *count += 1;
            self.owe_end(id);
        }
    }

    /// A job may have ended: then its front end is owed word of it.
    pub(super) fn owe_end(&mut self, id: JobId) {
        if let Some(said) = self.ledger.changed_job(id).and_then(|job| said_of(job)) {
            self.owe(said);
        }
    }

    fn owe(&mut self, said: Said) {
        if let Some(call) = self.ledger.recodex.kept.owe(said) {
            self.fact(What::Unheard { call });
        }
    }
}
