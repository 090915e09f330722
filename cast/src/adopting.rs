//! Workers of ReCodEx that come to this node at work: what they have was given to another node, or to an earlier start of this
//! one, or given up. The ledger has to learn whose it is now, before the leader hears of it: until then it would take what the
//! worker brings for nobody's.

use std::collections::BTreeMap;

use master::is_noted;
use protocol::recodex::{Headers, Order};
use protocol::{Answer, Attempt, AttemptRef, AttemptState, Outcome, Refusal, Request};
use worker::{AtWork, GuestId, Told};

use crate::Output;
use crate::cast::Cast;

/// Tickets of these count down from here; users' count up from 1.
const LAST_TICKET: u64 = u64::MAX;

/// What is asked for and not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Adopting {
    asked: BTreeMap<u64, AttemptRef>,
    /// Workers that are at work at what the ledger here does not know, by the front end's id.
    unknown: BTreeMap<GuestId, String>,
    tickets: u64,
}

impl Cast {
    pub(crate) fn welcome(&mut self, guest: GuestId, headers: &Headers, at_work: Option<String>) {
        let resumes = at_work.as_deref().and_then(|id| self.resumed(id));
        let at = match (resumes, &at_work) {
            (Some(attempt), _) => AtWork::Attempt(attempt),
            (None, Some(_)) => AtWork::Unknown,
            (None, None) => AtWork::Nothing,
        };
        let adopted = resumes.filter(|attempt| self.is_anothers(*attempt));
        self.adopting.unknown.remove(&guest);
        if !self.worker.welcome(guest, headers, at, adopted.is_some()) {
            self.outputs.push(Output::TooManyGuests { guest });
        } else if let Some(attempt) = adopted {
            self.ask_to_adopt(attempt);
        } else if let (AtWork::Unknown, Some(id)) = (at, at_work) {
            self.adopting.unknown.insert(guest, id);
        }
    }

    /// The ledger may know by now what some are at work at.
    pub(crate) fn look_at_unknown(&mut self) {
        let unknown: Vec<(GuestId, String)> =
            self.adopting.unknown.iter().map(|(guest, id)| (*guest, id.clone())).collect();
        for (guest, id) in unknown {
            if self.resumed(&id).is_some() {
                self.welcome(guest, &Headers::new(), Some(id));
            }
        }
    }

    /// A worker is through. Of what nobody knew when it came, more may be known by now.
    pub(crate) fn guest_done(&mut self, guest: GuestId, outcome: Outcome) {
        let unknown = self.adopting.unknown.remove(&guest);
        if let Some(attempt) = unknown.and_then(|id| self.resumed(&id)) {
            let adopts = self.is_anothers(attempt);
            self.worker.late_done(attempt, outcome.clone(), adopts);
            if adopts {
                self.ask_to_adopt(attempt);
            }
        }
        self.worker.guest_done(guest, outcome);
    }

    /// A worker is none any more.
    pub(crate) fn guest_gone(&mut self, guest: GuestId) {
        self.adopting.unknown.remove(&guest);
    }

    /// The attempt that a worker has which says that it is at work at a job. It knows no more than the job, so this is a guess where
    /// there are several: one whose worker went from here, else the newest that was given up, else the one that runs. A wrong one
    /// does no harm: the first success ends the job.
    fn resumed(&self, id: &str) -> Option<AttemptRef> {
        let job = self.ledger.evaluation(id)?;
        let given_up = || {
            let job = self.ledger.changed_job(job).filter(|job| !job.state.is_terminal())?;
            let lost = |attempt: &&Attempt| attempt.state == AttemptState::Lost && !is_noted(attempt);
            let lost = job.attempts.iter().rev().find(lost);
            let known = lost.or_else(|| job.current())?;
            Some(AttemptRef { job: job.id, attempt: known.number })
        };
        self.worker.away_with(job).or_else(given_up).or_else(|| self.worker.here_with(job))
    }

    /// Whether an attempt does not count as this start's.
    fn is_anothers(&self, attempt: AttemptRef) -> bool {
        let mine = &self.settings.member;
        let job = self.ledger.changed_job(attempt.job);
        let known = job.and_then(|job| job.attempts.get((attempt.attempt as usize).checked_sub(1)?));
        known.is_none_or(|known| {
            (known.node, known.boot) != (mine.id, mine.boot) || known.state == AttemptState::Lost
        })
    }

    fn ask_to_adopt(&mut self, attempt: AttemptRef) {
        let ticket = LAST_TICKET - self.adopting.tickets;
        self.adopting.tickets += 1;
        let (node, boot) = (self.settings.member.id, self.settings.member.boot);
        let request = Request::Recodex(Order::Adopt { attempt, node, boot });
        match self.gateway.ask(ticket, request) {
            Ok(()) => drop(self.adopting.asked.insert(ticket, attempt)),
            // What it brings may be dropped then, and the job is done again.
            Err(_) => self.worker.adopted(attempt),
        }
    }

    /// Whether a ticket is one of these.
    pub(crate) fn told_of_adoption(&mut self, ticket: u64, told: &Told) -> bool {
        let Some(attempt) = self.adopting.asked.remove(&ticket) else { return false };
        match told {
            // Its own start may be news to the ledger.
            Told::NoQuorum { .. } | Told::Answer(Answer::Refused(Refusal::Stale | Refusal::Starting))
                if self.worker.has(attempt) =>
            {
                self.ask_to_adopt(attempt);
            }
            _ => self.worker.adopted(attempt),
        }
        true
    }
}
