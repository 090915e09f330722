//! The way of questions to the owner loop: a bounded queue with a bell that rings only when so many wait as the loop wants.
//!
//! A wake-up costs more than what a question brings. While the loop knows that more are about to come (who was just answered mostly
//! asks again) it lets them gather, and is woken once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{Notify, mpsc};

use super::Ask;

/// A question that the loop will not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Too many wait already.
    #[error("asking the owner loop: too many questions wait already")]
    Full,
    /// There is no loop any more.
    #[error("asking the owner loop: it has ended")]
    Ended,
}

/// A queue for so many questions; more wait at the asker.
#[must_use]
pub fn asks(room: usize) -> (Asks, Asked) {
    let (queue, waiting) = mpsc::channel(room);
    let bell = Arc::new(Bell { enough: AtomicUsize::new(1), rings: Notify::new() });
    (Asks { queue, bell: Arc::clone(&bell) }, Asked { waiting, bell })
}

#[derive(Debug)]
struct Bell {
    /// From so many on it rings.
    enough: AtomicUsize,
    rings: Notify,
}

/// The askers' end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Asks {
    queue: mpsc::Sender<Ask>,
    bell: Arc<Bell>,
}

impl Asks {
    /// Puts a question into the queue, once there is room.
    ///
    /// # Errors
    /// [`NotTaken::Ended`].
    pub async fn send(&self, ask: Ask) -> Result<(), NotTaken> {
        self.queue.send(ask).await.map_err(|_| NotTaken::Ended)?;
        self.ring();
        Ok(())
    }

    /// Puts a question into the queue if there is room at once; else gives it back.
    ///
    /// # Errors
    /// The question; [`Asks::send`] says what is in its way.
    pub fn put(&self, ask: Ask) -> Result<(), Box<Ask>> {
        self.queue.try_send(ask).map_err(|error| match error {
            TrySendError::Full(ask) | TrySendError::Closed(ask) => Box::new(ask),
        })?;
        self.ring();
        Ok(())
    }

    /// Puts a question into the queue, if there is room.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn try_send(&self, ask: Ask) -> Result<(), NotTaken> {
        self.queue.try_send(ask).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Closed(_) => NotTaken::Ended,
        })?;
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        // The loop first says what is enough and then counts; here it is the other way round, so one of both sees the other.
        fence(Ordering::SeqCst);
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        if waiting >= self.bell.enough.load(Ordering::Relaxed) {
            self.bell.rings.notify_one();
        }
    }
}

/// The loop's end.
#[derive(Debug)]
pub struct Asked {
    waiting: mpsc::Receiver<Ask>,
    bell: Arc<Bell>,
}

impl Asked {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// From how many on the loop is to be woken; at least one.
    pub(crate) fn ring_from(&self, enough: usize) {
        self.bell.enough.store(enough.max(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Waits until so many are there as were wanted. May be given up at any time.
    pub(crate) async fn enough(&self) {
        while self.waiting.len() < self.bell.enough.load(Ordering::Relaxed) {
            self.bell.rings.notified().await;
        }
    }

    /// The next one, as soon as there is one, however many were wanted. None: no asker is left.
    pub(crate) async fn recv(&mut self) -> Option<Ask> {
        self.waiting.recv().await
    }

    /// The next one, if there is one.
    pub(crate) fn try_recv(&mut self) -> Result<Ask, TryRecvError> {
        self.waiting.try_recv()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::sync::oneshot;

    use super::*;

    fn digest() -> Ask {
        Ask::Digest { index: None, reply: oneshot::channel().0 }
    }

    fn is_enough(asked: &Asked) -> bool {
        pin!(asked.enough()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn it_rings_when_as_many_wait_as_are_wanted() {
        let (asks, mut asked) = asks(8);
        assert!(!is_enough(&asked));
        asked.ring_from(2);
        asks.send(digest()).await.unwrap();
        assert!(!is_enough(&asked) && asked.len() == 1);
        let waiter = tokio::spawn(async move {
            asked.enough().await;
            asked
        });
        // The waiter sleeps by now, or will find two.
        tokio::task::yield_now().await;
        asks.put(digest()).unwrap();
        asked = waiter.await.unwrap();
        assert_eq!(asked.len(), 2);
        asked.try_recv().unwrap();
        assert!(!is_enough(&asked), "one is less than two");
        asked.ring_from(0);
        assert!(is_enough(&asked), "one is enough at least");
        assert!(asked.recv().await.is_some() && !is_enough(&asked));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_loop_that_ended_are_told() {
        let (asks, asked) = asks(1);
        asks.try_send(digest()).unwrap();
        assert_eq!(asks.try_send(digest()), Err(NotTaken::Full));
        assert!(matches!(asks.put(digest()).map_err(|ask| *ask), Err(Ask::Digest { .. })));
        drop(asked);
        assert!(asks.put(digest()).is_err());
        assert_eq!(asks.try_send(digest()), Err(NotTaken::Ended));
        assert_eq!(asks.send(digest()).await, Err(NotTaken::Ended));
    }
}
