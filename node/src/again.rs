//! When requests from the lab's ports that nobody could decide are asked again: each second, and not before this node's ledger has
//! everything that was decided meanwhile. What has ended by then is answered and not asked again. (The leader's ledger may
//! have let go of it, and would take it for a new job.)

use std::time::{Duration, Instant};

/// How often they are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Whether it is time.
#[derive(Debug)]
pub(crate) struct Again {
    since: Instant,
    /// The read that is to be confirmed first.
    read: Option<u64>,
    is_due: bool,
}

impl Again {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), read: None, is_due: false }
    }

    /// Whether a second has gone by.
    pub(crate) fn is_time(&mut self) -> bool {
        let is_time = self.since.elapsed() >= ASK_AGAIN;
        if is_time {
            self.since = Instant::now();
        }
        is_time
    }

    /// Whether a read is to be confirmed now, for requests that wait: one at a time.
    pub(crate) fn wants_read(&self) -> bool {
        self.read.is_none()
    }

    /// That read has this ticket.
    pub(crate) fn reads(&mut self, ticket: u64) {
        self.read = Some(ticket);
    }

    /// A read is confirmed: true when it was this one. Now they may be asked.
    pub(crate) fn confirmed(&mut self, ticket: u64) -> bool {
        let is_mine = self.read.take_if(|mine| *mine == ticket).is_some();
        self.is_due |= is_mine;
        is_mine
    }

    /// A read found no majority.
    pub(crate) fn lost(&mut self, ticket: u64) {
        self.read.take_if(|mine| *mine == ticket);
    }

    /// Whether they are to be asked now, once.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }
}
