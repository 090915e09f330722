//! The way from the stage to the link's thread: bounded lanes, one a peer, and an eventfd that wakes the thread.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};
use protocol::NodeId;

use super::{Full, Lead};
use crate::link::{SessionKey, SessionKeys};

/// Bytes that may wait for one peer; over it all that waits for it is dropped.
pub(super) const LANE_BYTES: usize = 64 << 20;
/// What a message costs beside its bytes, in the bound above.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Master,
    Node(NodeId, u64),
}

#[derive(Debug)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Inside {
    closing: bool,
    /// The newest wish, until the thread has taken it.
    follow: Option<Option<Lead>>,
    lanes: BTreeMap<To, Lane>,
    keys: Keys,
    /// The thread has not seen the keys as they are now.
    keys_changed: bool,
}

/// The keys that are good now. No more than there are connections on the consensus link.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Of the nodes that speak to this one.
    pub(super) given: BTreeMap<NodeId, SessionKey>,
    /// Of this node with the leader it follows.
    pub(super) taken: Option<SessionKey>,
}

#[derive(Debug, Default)]
struct Lane {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// What the thread is to do beside sending.
pub(super) enum Order {
    Close,
    Keys(Keys),
    Follow(Option<Lead>),
}

impl Mailbox {
    pub(super) fn new() -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { inside: Mutex::default(), wake })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that panics happens under this lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to do.
    pub(super) fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// The thread has woken up; what is put in from now on wakes it again.
    pub(super) fn awake(&self) {
        // An error means that it was not set.
        let _ = self.wake.read();
    }

    fn ring(&self) {
        // An error means that it is set 2^64 - 2 times already.
        let _ = self.wake.write(1);
    }

    pub(super) fn close(&self) {
        self.inside().closing = true;
        self.ring();
    }

    pub(super) fn follow(&self, lead: Option<Lead>) {
        {
            let mut inside = self.inside();
            inside.follow = Some(lead);
            inside.lanes.remove(&To::Master);
        }
        self.ring();
    }

    pub(super) fn put(&self, to: To, message: Vec<u8>) -> Result<(), Full> {
        let mut inside = self.inside();
        let lane = inside.lanes.entry(to).or_default();
        let bytes = message.len() + MESSAGE_OVERHEAD_BYTES;
        if lane.bytes > 0 && lane.bytes + bytes > LANE_BYTES {
            inside.lanes.remove(&to);
            return Err(Full);
        }
        let first = lane.messages.is_empty();
        lane.bytes += bytes;
        lane.messages.push_back(message);
        drop(inside);
        // Whoever finds messages waiting knows that the thread was woken for them.
        if first {
            self.ring();
        }
        Ok(())
    }

    pub(super) fn order(&self) -> Option<Order> {
        let mut inside = self.inside();
        if inside.closing {
            return Some(Order::Close);
        }
        if std::mem::take(&mut inside.keys_changed) {
            return Some(Order::Keys(inside.keys.clone()));
        }
        inside.follow.take().map(Order::Follow)
    }

    /// Peers for whom something waits.
    pub(super) fn waiting(&self) -> Vec<To> {
        self.inside().lanes.keys().copied().collect()
    }

    /// The oldest message for a peer. [`Mailbox::put_back`] is for one that could not leave. What is for the master waits until
    /// the thread has taken the newest wish whom to follow: it must not leave for the one before.
    pub(super) fn next(&self, to: To) -> Option<Vec<u8>> {
        let mut inside = self.inside();
        if to == To::Master && inside.follow.is_some() {
            return None;
        }
        let lane = inside.lanes.get_mut(&to)?;
        match lane.messages.pop_front() {
            Some(message) => {
                lane.bytes = lane.bytes.saturating_sub(message.len() + MESSAGE_OVERHEAD_BYTES);
                Some(message)
            }
            None => {
                inside.lanes.remove(&to);
                None
            }
        }
    }

    pub(super) fn put_back(&self, to: To, message: Vec<u8>) {
        let mut inside = self.inside();
        if to == To::Master && inside.follow.is_some() {
            return;
        }
        let lane = inside.lanes.entry(to).or_default();
        lane.bytes += message.len() + MESSAGE_OVERHEAD_BYTES;
        lane.messages.push_front(message);
    }

    /// Forgets what waits for a peer.
    pub(super) fn forget(&self, to: To) {
        self.inside().lanes.remove(&to);
    }
}

impl Mailbox {
    fn change_keys(&self, change: impl FnOnce(&mut Keys)) {
        {
            let mut inside = self.inside();
            change(&mut inside.keys);
            inside.keys_changed = true;
        }
        self.ring();
    }
}

impl SessionKeys for Mailbox {
    fn given(&self, key: SessionKey) {
        self.change_keys(|keys| {
            keys.given.insert(key.peer, key);
        });
    }

    fn taken(&self, key: SessionKey) {
        self.change_keys(|keys| keys.taken = Some(key));
    }

    fn ended(&self, tag: u64) {
        self.change_keys(|keys| {
            keys.given.retain(|_, key| key.tag != tag);
            keys.taken.take_if(|key| key.tag == tag);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_is_emptied_and_the_others_stay() {
        let mailbox = Mailbox::new().unwrap();
        let (slow, fine) = (To::Node(NodeId(1), 1), To::Node(NodeId(2), 1));
        mailbox.put(fine, vec![7]).unwrap();
        let large = 8 << 20;
        let taken = (0..).take_while(|_| mailbox.put(slow, vec![0; large]).is_ok()).count();
        assert_eq!(taken, LANE_BYTES / large - 1, "the bound counts more than the bare bytes");
        assert_eq!(mailbox.waiting(), vec![fine]);
        assert_eq!(mailbox.next(fine), Some(vec![7]));
        assert_eq!(mailbox.put(slow, vec![0; large]), Ok(()), "a repetition finds room");
    }

    #[test]
    fn another_lead_drops_what_waited_for_the_one_before() {
        let mailbox = Mailbox::new().unwrap();
        mailbox.put(To::Master, vec![1]).unwrap();
        mailbox.follow(None);
        assert!(mailbox.waiting().is_empty());
    }
    #[test]
    fn nothing_for_a_new_lead_leaves_while_the_old_one_is_followed() {
        let mailbox = Mailbox::new().unwrap();
        mailbox.put(To::Master, vec![1]).unwrap();
        let old = mailbox.next(To::Master).unwrap();
        mailbox.follow(None);
        mailbox.put(To::Master, vec![2]).unwrap();
        mailbox.put_back(To::Master, old);
        assert_eq!(mailbox.next(To::Master), None);
        assert!(matches!(mailbox.order(), Some(Order::Follow(None))));
        assert_eq!(mailbox.next(To::Master), Some(vec![2]));
        assert_eq!(mailbox.next(To::Master), None);
    }
}
