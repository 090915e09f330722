//! The handle on one running attempt: what the node wishes of it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use tokio::sync::watch;

use super::outputs::locked;

/// What the node wishes of an attempt; it never wishes less again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Run.
    Run,
    /// End, with grace; the outcome is wanted.
    Cancel,
    /// End at once; nobody waits for the outcome.
    Stop,
}

/// One running attempt.
#[derive(Debug)]
pub(super) struct Live {
    wish: watch::Sender<Wish>,
    keeper: Mutex<Option<UnixStream>>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { wish: watch::Sender::new(Wish::Run), keeper: Mutex::new(None) }
    }

    /// Wishes this, or more.
    pub(super) fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|current| {
            let more = wish > *current;
            if more {
                *current = wish;
            }
            more
        });
        if wish == Wish::Stop {
            self.hang_up();
        }
    }

    /// Waits until at least this is wished.
    pub(super) async fn wished(&self, wish: Wish) {
        // The sender lives as long as this handle, so the wait can only end by the wish.
        let _ = self.wish.subscribe().wait_for(|current| *current >= wish).await;
    }

    /// Whether at least this is wished.
    pub(super) fn is_wished(&self, wish: Wish) -> bool {
        *self.wish.borrow() >= wish
    }

    /// Keeps the node's end of the keeper's socket at hand, so that a stop needs no runtime to reach the keeper.
    pub(super) fn hold(&self, keeper: UnixStream) {
        *locked(&self.keeper) = Some(keeper);
        if self.is_wished(Wish::Stop) {
            self.hang_up();
        }
    }

    /// Lets go of the keeper's socket.
    pub(super) fn release(&self) {
        *locked(&self.keeper) = None;
    }

    /// The keeper sees end of file, and kills everything.
    fn hang_up(&self) {
        if let Some(keeper) = locked(&self.keeper).as_ref() {
            // A keeper that is gone already needs no word.
            let _ = keeper.shutdown(Shutdown::Write);
        }
    }
}
