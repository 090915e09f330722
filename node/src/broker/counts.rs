//! What the broker link let go, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a message was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is of a session that has ended, or of none.
    Ended,
    /// Its number was used before: it is a repetition, or came after a later one.
    Repeated,
    /// It was not sealed by the key of its session.
    Forged,
    /// It is no message of ours.
    Unreadable,
    /// There was nobody to send it to.
    Unsent,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Dropped; 5] =
        [Dropped::Ended, Dropped::Repeated, Dropped::Forged, Dropped::Unreadable, Dropped::Unsent];

    /// Its word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Dropped::Ended => "ended",
            Dropped::Repeated => "repeated",
            Dropped::Forged => "forged",
            Dropped::Unreadable => "unreadable",
            Dropped::Unsent => "unsent",
        }
    }
}

/// Messages that the broker link let go since the process began.
#[derive(Clone, Debug, Default)]
pub struct BrokerCounts(Arc<[AtomicU64; Dropped::ALL.len()]>);

impl BrokerCounts {
    pub(super) fn count(&self, why: Dropped) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were let go for this reason.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.0[why as usize].load(Ordering::Relaxed)
    }
}
