//! A worker as the host of workers of ReCodEx ([`crate::guests`]): what happens to the attempts they have.

use alloc::vec::Vec;

use protocol::recodex::{CLASS, Headers};
use protocol::{AttemptRef, Dispatch, LossCause, Outcome};

use super::{Output, Worker};
use crate::guests::GuestId;

impl Worker {
    /// Silence after which a worker of ReCodEx is lost.
    #[must_use]
    pub fn with_guests_live_ms(self, guests_live_ms: u64) -> Self {
        Self { guests_live_ms, ..self }
    }

    /// A worker of ReCodEx is there, or says that it can do other things as well. With `resumes` it is at work at that: whoever
    /// held it here before is the same worker. False: there are too many.
    pub fn welcome(&mut self, guest: GuestId, headers: &Headers, resumes: Option<AttemptRef>) -> bool {
        let Ok(displaced) = self.guests.welcome(guest, headers, resumes) else { return false };
        if let Some(attempt) = displaced {
            self.give_back(attempt, LossCause::Left);
        }
        if let Some(attempt) = resumes {
            self.back.remove(&attempt);
            self.waiting.remove(attempt);
        }
        self.attached_changed();
        true
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
            self.keep(attempt, outcome);
            self.fill_guests();
        }
    }

    /// A worker that had been given up brought what it had.
    pub fn late_done(&mut self, attempt: AttemptRef, outcome: Outcome) {
        let is_here = self.guests.holds(attempt) || self.kept.contains_key(&attempt);
        if !is_here {
            self.back.remove(&attempt);
            self.keep(attempt, outcome);
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
        let guest = self.guests.hand(&self.offer.pools_for(asked), dispatch.attempt);
        if let Some(guest) = guest {
            self.outputs.push(Output::HandGuest { guest, dispatch: dispatch.clone() });
        }
        guest.is_some()
    }

    /// A worker is free: the next evaluations that it may have begin.
    pub(super) fn fill_guests(&mut self) {
        let waiting: Vec<Dispatch> = self.waiting.of(CLASS).cloned().collect();
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
