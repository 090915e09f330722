//! How a bridge is told that it is enough, and how its thread is woken.

use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::Notify;

/// Tells a bridge to end; clones tell the same one. Once: it takes nothing new, and finishes what it has under way.
/// Twice: it ends at once.
#[derive(Clone, Debug)]
pub struct Stop {
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    told: AtomicU8,
    bell: EventFd,
    /// The same for tasks.
    news: Notify,
}

impl Stop {
    /// One that has not been told yet.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { inside: Arc::new(Inside { told: AtomicU8::new(0), bell, news: Notify::new() }) })
    }

    /// Tells it.
    pub fn tell(&self) {
        let _ = self
            .inside
            .told
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |told| Some(told.saturating_add(1)));
        self.inside.news.notify_waiters();
        self.ring();
    }

    /// Ends when it has been told so often.
    pub(crate) async fn told(&self, times: u8) {
        loop {
            let news = self.inside.news.notified();
            let mut news = std::pin::pin!(news);
            // From here on a telling is heard, also one that comes before the wait begins.
            news.as_mut().enable();
            if self.inside.told.load(Ordering::Relaxed) >= times {
                return;
            }
            news.await;
        }
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.inside.told.load(Ordering::Relaxed) > 0
    }

    /// Whether it was told again.
    pub(crate) fn is_urgent(&self) -> bool {
        self.inside.told.load(Ordering::Relaxed) > 1
    }

    /// Wakes the bridge's thread: there is something to look at.
    pub(crate) fn ring(&self) {
        // An error means that it is set 2^64 - 2 times already.
        let _ = self.inside.bell.write(1);
    }

    /// The thread is awake; the next ring wakes it again.
    pub(crate) fn hush(&self) {
        // An error means that it was not set.
        let _ = self.inside.bell.read();
    }

    /// Readable when the thread is to wake up.
    pub(crate) fn bell(&self) -> RawFd {
        self.inside.bell.as_raw_fd()
    }
}
