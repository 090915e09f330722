//! A worker as the host of workers of ReCodEx ([`crate::guests`]): what happens to the attempts they have.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use protocol::recodex::{CLASS, Headers};
use protocol::{AttemptRef, Dispatch, End, JobId, LossCause, Outcome};

use super::{Output, Worker};
use crate::guests::{AtWork, GuestId};

impl Worker {
    /// Silence after which a worker of ReCodEx is lost, and whether each has a queue of its own.
    #[must_use]
    pub fn with_guests(self, guests_live_ms: u64, guests_in_turn: bool) -> Self {
        Self { guests_live_ms, guests_in_turn, ..self }
    }

    /// A worker of ReCodEx is there, or says that it can do other things as well. Whoever held here what it is at work at is the
    /// same worker. With `adopts` what it brings waits for [`Worker::adopted`]. False: there are too many.
    pub fn welcome(&mut self, guest: GuestId, headers: &Headers, at_work: AtWork, adopts: bool) -> bool {
        let Ok(displaced) = self.guests.welcome(guest, headers, at_work) else { return false };
        let resumes = match at_work {
            AtWork::Attempt(attempt) => Some(attempt),
            AtWork::Nothing | AtWork::Unknown => None,
        };
        if let Some(attempt) = displaced.attempt {
            self.give_back(attempt, LossCause::Left);
        }
        if let Some(guest) = displaced.guest {
            self.outputs.push(Output::GuestGone { guest, attempt: resumes });
        }
        if let Some(attempt) = resumes {
            self.back.remove(&attempt);
            self.waiting.remove(attempt);
            if adopts {
                self.adopting.insert(attempt);
            }
        }
        self.attached_changed();
        true
    }

    /// What a worker that is at work at this job may have had from here: what one holds whose connection is gone, or what waits
    /// for one.
    #[must_use]
    pub fn away_with(&self, job: JobId) -> Option<AttemptRef> {
        let waits =
            || self.waiting.of(CLASS).map(|dispatch| dispatch.attempt).find(|attempt| attempt.job == job);
        self.guests.held_of(job, true).or_else(waits)
    }

    /// What of this job a worker has that is there.
    #[must_use]
    pub fn here_with(&self, job: JobId) -> Option<AttemptRef> {
        self.guests.held_of(job, false)
    }

    /// It is decided whether an attempt is this node's: what was brought of it is sent now. Where its worker has gone meanwhile it
    /// goes back, so that nobody begins it under the same number.
    pub fn adopted(&mut self, attempt: AttemptRef) {
        self.adopting.remove(&attempt);
        if self.has(attempt) {
            self.send_result(attempt);
        } else {
            self.waiting.remove(attempt);
            self.give_back(attempt, LossCause::Left);
            self.report();
        }
    }

    /// Whether a guest has this, or what it brought of it is kept.
    #[must_use]
    pub fn has(&self, attempt: AttemptRef) -> bool {
        self.guests.holds(attempt) || self.kept.contains_key(&attempt)
    }

    /// A worker of ReCodEx said something: it is there.
    pub fn guest_heard(&mut self, guest: GuestId) {
        self.guests.heard(guest);
    }

    /// Its connection is gone. What it holds has the rest of its liveness: it may come back, and say what it is at work at.
    pub fn guest_left(&mut self, guest: GuestId) {
        if self.guests.leave(guest) {
            self.attached_changed();
        }
    }

    /// It brought what it held, and is free.
    pub fn guest_done(&mut self, guest: GuestId, outcome: Outcome) {
        if let Some(attempt) = self.guests.done(guest) {
            self.back.remove(&attempt);
            self.forget_waiting(attempt, &outcome);
            self.keep(attempt, outcome);
        }
        self.fill_guests();
    }

    /// A worker that had been given up, or that nobody knew to be at work at this, brought what it had. With `adopts` that waits
    /// for [`Worker::adopted`].
    pub fn late_done(&mut self, attempt: AttemptRef, outcome: Outcome, adopts: bool) {
        if adopts {
            self.adopting.insert(attempt);
        }
        // Where another one is at it, only good news counts.
        let is_open = outcome.end == End::Success || !self.guests.holds(attempt);
        if is_open && !self.kept.contains_key(&attempt) {
            self.back.remove(&attempt);
            self.waiting.remove(attempt);
            self.forget_waiting(attempt, &outcome);
            self.keep(attempt, outcome);
        }
    }

    /// A success ends its job: what waits of it, given out before the leader knew that a worker still had it, is not begun here.
    /// (Should the leader want it all the same, it sends it again.)
    fn forget_waiting(&mut self, brought: AttemptRef, outcome: &Outcome) {
        if outcome.end == End::Success {
            let same = self.waiting.of(CLASS).map(|dispatch| dispatch.attempt);
            let same: Vec<AttemptRef> = same.filter(|attempt| attempt.job == brought.job).collect();
            same.into_iter().for_each(|attempt| drop(self.waiting.remove(attempt)));
        }
    }

    /// Whose silence is too long is lost; what it had is given to others.
    pub(super) fn look_at_guests(&mut self, elapsed_ms: u64) {
        let lost = self.guests.tick(elapsed_ms, self.guests_live_ms);
        if lost.is_empty() {
            return;
        }
        for (guest, attempt) in lost {
            self.outputs.push(Output::GuestGone { guest, attempt });
            if let Some(attempt) = attempt {
                self.give_back(attempt, LossCause::Left);
            }
        }
        self.attached_changed();
    }

    /// Gives an evaluation to a free worker that may have it. False: there is none.
    pub(super) fn hand_to_guest(&mut self, dispatch: &Dispatch) -> bool {
        let Some(asked) = &dispatch.spec.more.recodex else { return false };
        let pools = self.offer.pools_for(asked);
        let guest = match self.guests_in_turn {
            true => self.guests.hand_in_turn(&pools, dispatch.attempt),
            false => self.guests.hand(&pools, dispatch.attempt),
        };
        if let Some(guest) = guest {
            self.outputs.push(Output::HandGuest { guest, dispatch: dispatch.clone() });
        }
        guest.is_some()
    }

    /// A worker is free: the next evaluations that it may have begin.
    pub(super) fn fill_guests(&mut self) {
        let waiting: Vec<Dispatch> = self.waiting.of(CLASS).cloned().collect();
        let waits: BTreeSet<AttemptRef> = waiting.iter().map(|dispatch| dispatch.attempt).collect();
        self.guests.keep_bound(&waits);
        for dispatch in waiting {
            if self.hand_to_guest(&dispatch) {
                self.waiting.remove(dispatch.attempt);
            }
        }
    }

    /// What waits for a worker of ReCodEx and that none here could have.
    pub(super) fn unsuited(&self) -> Vec<AttemptRef> {
        let unsuited = self.waiting.of(CLASS).filter(|dispatch| !self.offer.suits(&dispatch.spec));
        unsuited.map(|dispatch| dispatch.attempt).collect()
    }
}
