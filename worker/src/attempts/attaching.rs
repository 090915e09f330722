//! A worker as the host of workers of the lab ([`crate::attached`]): what happens to the attempts they have.

use protocol::limits::ATTACHED;
use protocol::{LossCause, Outcome, Reason};

use super::{Output, Worker};
use crate::attached::{AttachedId, Due};

impl Worker {
    /// A foreign worker is there and free, perhaps anew: then what it held is given back. False: there are too many.
    pub fn attach(&mut self, worker: AttachedId, class: &str) -> bool {
        if self.attached.class_of(worker).is_none() && self.attached.len() >= ATTACHED {
            return false;
        }
        if let Some(attempt) = self.attached.attach(worker, class) {
            self.give_back(attempt, LossCause::Left);
        }
        self.attached_changed();
        true
    }

    /// A foreign worker's connection is gone. What it holds is offered to others; it may still come back with it.
    pub fn left(&mut self, worker: AttachedId) {
        if let Some(attempt) = self.attached.leave(worker) {
            self.give_back(attempt, LossCause::Left);
        }
        self.attached_changed();
    }

    /// A foreign worker brought something back, and is free. Counts for what it holds, however late; else it is dropped.
    pub fn returned(&mut self, worker: AttachedId, class: &str, outcome: Outcome) {
        let as_before = self.attached.class_of(worker) == Some(class);
        if !as_before && self.attached.len() >= ATTACHED {
            return;
        }
        if let Some(attempt) = self.attached.returned(worker, class) {
            self.back.remove(&attempt);
            self.keep(attempt, outcome);
        }
        if as_before {
            self.fill_attached(class);
        } else {
            self.attached_changed();
        }
    }

    /// A worker of this class is free: the next one of the class begins.
    pub(super) fn fill_attached(&mut self, class: &str) {
        while let Some(next) = self.waiting.first_of(class).cloned() {
            if !self.begin(&next) {
                break;
            }
            self.waiting.remove(next.attempt);
        }
    }

    /// Windows end, job times end, and who was away too long is forgotten.
    pub(super) fn look_at_attached(&mut self, elapsed_ms: u64) {
        let (due, gone) = self.attached.tick(elapsed_ms);
        let changed = !due.is_empty() || !gone.is_empty();
        for due in due {
            match due {
                Due::Late { worker, attempt } => {
                    self.outputs.push(Output::Late { worker, attempt });
                    self.give_back(attempt, LossCause::Late);
                }
                Due::TimedOut { attempt, timeout_ms } => {
                    self.back.remove(&attempt);
                    let text = alloc::format!("ran longer than its timeout of {timeout_ms} ms");
                    self.keep(attempt, Outcome::failure(Reason::Timeout, text));
                }
            }
        }
        if changed {
            self.attached_changed();
        }
    }
}
