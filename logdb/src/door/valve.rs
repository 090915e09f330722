//! The soft crash as a switch: HTTP turns it, whoever owns the sockets obeys and says so.

use tokio::sync::watch;

/// Whether a container is stopped, and whether its sockets have followed yet.
#[derive(Debug)]
pub struct Valve {
    wanted: watch::Sender<bool>,
    reached: watch::Sender<bool>,
}

impl Default for Valve {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(false), reached: watch::Sender::new(false) }
    }
}

impl Valve {
    /// A valve whose owner has its sockets still to open.
    #[must_use]
    pub fn unopened() -> Self {
        Self { reached: watch::Sender::new(true), ..Self::default() }
    }

    /// Whether the container is stopped, or is to be.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Turns it; from this call on HTTP answers `stopped` (or no longer).
    pub fn turn(&self, stopped: bool) {
        // Who asks twice for the same is not a second event.
        self.wanted.send_if_modified(|now| std::mem::replace(now, stopped) != stopped);
    }

    /// Toggles it and says how it stands now.
    pub fn toggle(&self) -> bool {
        let mut now = false;
        self.wanted.send_modify(|stopped| {
            *stopped = !*stopped;
            now = *stopped;
        });
        now
    }

    /// For the owner of the sockets: what is wanted.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// For the owner of the sockets: says what it has reached.
    pub fn reach(&self, stopped: bool) {
        self.reached.send_replace(stopped);
    }

    /// Waits until the owner has reached `stopped`: sockets closed and children dead, or everything open again.
    pub async fn reached(&self, stopped: bool) {
        let mut reached = self.reached.subscribe();
        // An error means that the valve itself is gone, which `self` rules out.
        let _ = reached.wait_for(|now| *now == stopped).await;
    }
}
