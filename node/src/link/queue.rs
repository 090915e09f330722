//! What waits to leave on one connection. It lives as long as the connection: a session's messages end with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use consensus::Message;
use tokio::sync::Notify;

use super::letter::KeyLetter;

/// Bytes that may wait for one peer; more closes the connection.
pub(super) const QUEUE_BYTES: u64 = 64 << 20;
/// Messages are gathered up to about this many bytes into one write.
const WRITE_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    /// Which connection this is: no two have the same.
    pub(super) line: u64,
    inside: Mutex<Inside>,
    changed: Notify,
    /// Rung once, when it overflows: its carrier may stand in a write that never ends.
    spilt: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// Goes before all messages; a newer one takes its place.
    key: Option<KeyLetter>,
    messages: std::collections::VecDeque<Message>,
    bytes: u64,
    overflown: bool,
}

/// More was put in than may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflown;

impl Queue {
    pub(super) fn new(line: u64) -> Self {
        Self { line, inside: Mutex::default(), changed: Notify::new(), spilt: Notify::new() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that panics happens under this lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts messages in; once they were too many it stays overflown.
    pub(super) fn put(&self, messages: Vec<Message>) -> Result<(), Overflown> {
        let mut inside = self.inside();
        let bytes: u64 = messages.iter().map(Message::bytes).sum();
        if inside.overflown || (inside.bytes > 0 && inside.bytes + bytes > QUEUE_BYTES) {
            *inside = Inside { overflown: true, ..Inside::default() };
            drop(inside);
            self.spilt.notify_one();
            return Err(Overflown);
        }
        inside.bytes += bytes;
        inside.messages.extend(messages);
        drop(inside);
        self.changed.notify_one();
        Ok(())
    }

    /// Hands the peer a key; it overtakes what waits.
    pub(super) fn put_key(&self, key: KeyLetter) {
        self.inside().key = Some(key);
        self.changed.notify_one();
    }

    /// Returns when it has overflown.
    pub(super) async fn overflown(&self) {
        self.spilt.notified().await;
    }

    /// Waits for a key or messages and takes enough for one write.
    pub(super) async fn take(&self) -> (Option<KeyLetter>, Vec<Message>) {
        loop {
            {
                let mut inside = self.inside();
                let mut bytes = 0;
                let mut taken = Vec::new();
                while bytes < WRITE_BYTES
                    && let Some(message) = inside.messages.pop_front()
                {
                    bytes += message.bytes();
                    taken.push(message);
                }
                let key = inside.key.take();
                if key.is_some() || !taken.is_empty() {
                    inside.bytes = inside.bytes.saturating_sub(bytes);
                    return (key, taken);
                }
            }
            self.changed.notified().await;
        }
    }
}
