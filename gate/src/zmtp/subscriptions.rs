//! The topics a peer is subscribed to: as many as its port allows.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::refusal::Refusal;

/// Topics by their hash: which they are matters only to whoever publishes.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Subscriptions {
    /// Reads a subscription in the form of a message: 1 or 0, then the topic.
    ///
    /// # Errors
    /// [`Refusal::Subscription`] when it is none, [`Refusal::Subscriptions`] when there are too many.
    pub(crate) fn message(&mut self, body: &[u8], most: usize) -> Result<(), Refusal> {
        match body.split_first() {
            Some((1, topic)) => self.add(topic, most),
            Some((0, topic)) => {
                self.remove(topic);
                Ok(())
            }
            _ => Err(Refusal::Subscription),
        }
    }

    /// One more; the same again is none.
    ///
    /// # Errors
    /// [`Refusal::Subscriptions`]
    pub(crate) fn add(&mut self, topic: &[u8], most: usize) -> Result<(), Refusal> {
        self.hashes.insert(self.hasher.hash_one(topic));
        if self.hashes.len() > most { Err(Refusal::Subscriptions) } else { Ok(()) }
    }

    /// One fewer, when it was there.
    pub(crate) fn remove(&mut self, topic: &[u8]) {
        self.hashes.remove(&self.hasher.hash_one(topic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_different_topics_count_and_ended_ones_do_not() {
        let mut topics = Subscriptions::default();
        for _ in 0..3 {
            topics.message(b"\x01a", 2).unwrap();
        }
        topics.message(b"\x01b", 2).unwrap();
        topics.message(b"\0never", 2).unwrap();
        assert_eq!(topics.message(b"\x01c", 2), Err(Refusal::Subscriptions));
        topics.remove(b"a");
        topics.remove(b"c");
        topics.add(b"", 2).unwrap();
        assert_eq!(topics.message(b"\x01d", 2), Err(Refusal::Subscriptions));
    }

    #[test]
    fn a_message_that_is_no_subscription_is_refused() {
        for body in [&b""[..], b"\x02a", b"hello"] {
            assert_eq!(Subscriptions::default().message(body, 9), Err(Refusal::Subscription));
        }
    }
}
