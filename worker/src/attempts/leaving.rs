//! A worker that wants no more work: because its node is about to end, because somebody asked, or because it can start nothing
//! for now. What runs goes on, what waits goes back.

use alloc::vec::Vec;

use protocol::{AttemptRef, LossCause};

use super::{Held, Output, Worker};

impl Worker {
    /// This node is about to end: it wants no further attempts, and says so at once.
    pub fn leave(&mut self) {
        self.leaves = true;
        self.drains();
    }

    /// Somebody asked that nothing new comes here, or took it back. What runs goes on.
    pub fn rest(&mut self, rests: bool) {
        if self.rests != rests {
            self.rests = rests;
            self.drains();
        }
    }

    fn drains(&mut self) {
        self.offer.draining = self.leaves || self.rests;
        self.give_back_waiting();
        self.report();
    }

    /// This node ends, and the time of what runs here is over: it is ended, and what has not succeeded by then is the
    /// leader's again, to be given to somebody else. So is what attached workers hold.
    pub fn give_up(&mut self) {
        for (attempt, held) in &mut self.held {
            if *held == Held::Running {
                self.outputs.push(Output::Kill(*attempt));
            }
            *held = Held::GivenUp;
        }
        let guests = self.guests.held().map(|(attempt, _)| attempt);
        let handed: Vec<AttemptRef> = self.attached.held().chain(guests).collect();
        handed.into_iter().for_each(|attempt| self.give_back(attempt, LossCause::Abandoned));
        self.report();
    }

    /// Whether attempts are to be given to somebody else that the leader has not taken back yet.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        !self.back.is_empty()
    }

    /// Asks for no more work, or does again: this node cannot start anything for now. What runs goes on; what waits goes back.
    pub fn hold(&mut self, holds_back: bool) {
        self.holds_back = holds_back;
        self.give_back_waiting();
    }

    /// A node that wants no more work begins nothing that waits.
    pub(super) fn give_back_waiting(&mut self) {
        if self.offer.draining || self.holds_back {
            let waiting: Vec<AttemptRef> = self.waiting.attempts().collect();
            self.recalled(&waiting);
        }
    }
}
