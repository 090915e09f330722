//! Tells a ReCodEx front end over HTTP how its jobs ended. The ledger says what is owed, the leader's node calls.
//!
//! ```text
//!   ledger.calls() ──owe──▶ Caller ─▶ one task ─▶ at most 8 calls at once ═POST═▶ front end
//!                                        └─ delivered(number) ─▶ an order through the log ─▶ no longer owed
//! ```
//! Each turn names the whole list, so nothing can be forgotten: a call is made until the list is without it. One whose delivery
//! could not be recorded is reported again, not made again; a new leader may make it once more.

mod call;
mod work;

use std::sync::Arc;

use protocol::recodex::Call;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use call::check;
use work::{Pace, Work};

use crate::settings::Notifier;

/// Told the number of a call that has reached the front end, once or more often.
pub(crate) type Delivered = Box<dyn Fn(u64) + Send + Sync>;

/// Makes calls until they are no longer owed; dropping it ends all of them.
#[derive(Debug)]
pub(crate) struct Caller {
    owed: watch::Sender<Vec<Arc<Call>>>,
}

impl Caller {
    /// One that owes nothing yet; its calls are made in tasks of `handle`.
    ///
    /// # Errors
    /// What is wrong with the front end's address, in words.
    pub(crate) fn start(
        handle: &Handle,
        front_end: &Notifier,
        log: logdb::Log,
        delivered: Delivered,
    ) -> Result<Self, String> {
        Self::start_with(handle, front_end, log, delivered, Pace::default())
    }

    fn start_with(
        handle: &Handle,
        front_end: &Notifier,
        log: logdb::Log,
        delivered: Delivered,
        pace: Pace,
    ) -> Result<Self, String> {
        let (owed, list) = watch::channel(Vec::new());
        let work = Work::new(call::Target::new(front_end)?, pace, log, delivered);
        handle.spawn(work.serve(list));
        Ok(Self { owed })
    }

    /// All calls that are owed now, in order of their numbers. What is new among them is begun, what is missing is let be.
    pub(crate) fn owe(&self, calls: Vec<Arc<Call>>) {
        self.owed.send_replace(calls);
    }

    /// Nothing is owed by this node any more.
    pub(crate) fn clear(&self) {
        self.owe(Vec::new());
    }
}

#[cfg(test)]
mod tests;
