//! What all connections of one gate share.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::budget::Budget;
use crate::counts::{Counters, Counts};
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::seats::Seats;
use crate::told::{Told, ToldAlready};
use crate::upstream::Upstream;

pub(crate) struct Port {
    pub(crate) rules: Arc<Rules>,
    pub(crate) upstream: Upstream,
    pub(crate) seats: Arc<Seats>,
    /// None when unread bytes are not counted.
    pub(crate) budget: Option<Arc<Budget>>,
    pub(crate) counters: Counters,
    pub(crate) already: ToldAlready,
    pub(crate) told: Box<dyn Fn(Told) + Send + Sync>,
}

impl Port {
    pub(crate) fn tell(&self, what: Told) {
        (self.told)(what);
    }

    /// Counts a refusal, and tells it when it is news.
    pub(crate) fn refuse(&self, address: SocketAddr, why: Refusal) {
        self.counters.refused(why);
        if self.already.is_news(address.ip(), why, Instant::now()) {
            self.tell(Told::Refused { address, why });
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let unread = self.budget.as_ref().map_or(0, |budget| budget.held());
        self.counters.read(self.seats.taken(), unread)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("rules", &self.rules).finish_non_exhaustive()
    }
}
