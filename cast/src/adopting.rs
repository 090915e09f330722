//! Workers of ReCodEx that come to this node at work: what they have was given to another node, or to an earlier start of this
//! one, or given up. The ledger has to learn whose it is now, before the leader hears of it: until then it would take what the
//! worker brings for nobody's.

use std::collections::BTreeMap;

use protocol::recodex::{Headers, Order};
use protocol::{Answer, AttemptRef, AttemptState, Refusal, Request};
use worker::{GuestId, Told};

use crate::Output;
use crate::cast::Cast;

/// Tickets of these count down from here; users' count up from 1.
const LAST_TICKET: u64 = u64::MAX;

/// What is asked for and not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Adopting {
    asked: BTreeMap<u64, AttemptRef>,
    tickets: u64,
}

impl Cast {
    pub(crate) fn welcome(&mut self, guest: GuestId, headers: &Headers, resumes: Option<AttemptRef>) {
        let adopted = resumes.filter(|attempt| self.is_anothers(*attempt));
        if !self.worker.welcome(guest, headers, resumes, adopted.is_some()) {
            self.outputs.push(Output::TooManyGuests { guest });
        } else if let Some(attempt) = adopted {
            self.ask_to_adopt(attempt);
        }
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
