//! What a node's slots are used for, summed, and how fast attempts end there: what placement asks of a node, in a few
//! look-ups however many slots it has.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::limits::{SPARE_MS, SPARES};
use crate::reserved::Reserved;
use crate::roster::Slot;
use protocol::Offer;
use protocol::limits::REPORT_MS;

/// Sums over the slots of one node that are in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// Attempts held of each class; of a class nobody knows any more, the empty one.
    by_class: BTreeMap<String, u32>,
    /// Attempts held of jobs that share bounds, by their key.
    by_key: BTreeMap<String, u32>,
    /// Attempts that take a slot of the node's own, or wait for one.
    pub(crate) own: u32,
    /// Attached workers that are free, of all classes.
    pub(crate) attached_free: u32,
    /// Attempts that no report held yet.
    pub(crate) unseen: u32,
    /// Reserved by all of them.
    pub(crate) reserved: Reserved,
}

impl Use {
    /// Adds everything up anew, for slots under an offer that has changed.
    pub(crate) fn of<'a>(offer: &Offer, slots: impl Iterator<Item = &'a Slot>) -> Self {
        let attached_free = offer.all_attached();
        let mut sums = Self { attached_free, ..Self::default() };
        slots.for_each(|slot| sums.take(offer, slot));
        sums
    }

    /// A slot is taken.
    pub(crate) fn take(&mut self, offer: &Offer, slot: &Slot) {
        if let Some(share) = slot.share() {
            *self.by_key.entry(share.key.clone()).or_default() += 1;
        }
        let class = slot.class();
        let held = match self.by_class.get_mut(class) {
            Some(held) => {
                *held += 1;
                *held
            }
            None => {
                self.by_class.insert(class.into(), 1);
                1
            }
        };
        let attached = offer.attached_to(class);
        self.attached_free -= u32::from(held <= attached);
        self.own += u32::from(held > attached && offer.takes_own_slot(class));
        self.unseen += u32::from(!slot.seen);
        self.reserved.take(slot.spec.as_deref());
    }

    /// A slot that was taken is free.
    pub(crate) fn give(&mut self, offer: &Offer, slot: &Slot) {
        if let Some(share) = slot.share() {
            match self.by_key.get_mut(&share.key) {
                Some(held) if *held > 1 => *held -= 1,
                _ => drop(self.by_key.remove(&share.key)),
            }
        }
        let class = slot.class();
        let held = self.held(class);
        match self.by_class.get_mut(class) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.by_class.remove(class)),
        }
        let attached = offer.attached_to(class);
        self.attached_free += u32::from(held <= attached);
        self.own -= u32::from(held > attached && offer.takes_own_slot(class));
        self.unseen -= u32::from(!slot.seen);
        self.reserved.give(slot.spec.as_deref());
    }

    /// Attempts that may be at work, without those that wait for a slot.
    pub(crate) fn running(&self, offer: &Offer) -> u32 {
        self.own.min(offer.slots) + (offer.all_attached() - self.attached_free)
    }

    /// Attempts of a key's jobs that are held.
    pub(crate) fn held_of_key(&self, key: &str) -> u32 {
        self.by_key.get(key).copied().unwrap_or(0)
    }

    /// Attempts of a class that are held.
    pub(crate) fn held(&self, class: &str) -> u32 {
        self.by_class.get(class).copied().unwrap_or(0)
    }
}

/// How many attempts of each class ended on a node lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    by_class: BTreeMap<String, Ended>,
    began_ms: u64,
}

/// In this period so far, and in the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    now: u32,
    before: u32,
}

impl Pace {
    /// An attempt of this class ended.
    pub(crate) fn ended(&mut self, class: &str) {
        match self.by_class.get_mut(class) {
            Some(ended) => ended.now = ended.now.saturating_add(1),
            None => drop(self.by_class.insert(class.into(), Ended { now: 1, before: 0 })),
        }
    }

    /// It is this late: a period ends every [`REPORT_MS`].
    pub(crate) fn look(&mut self, now_ms: u64) {
        let gone_ms = now_ms.saturating_sub(self.began_ms);
        if gone_ms < REPORT_MS {
            return;
        }
        self.began_ms = now_ms;
        self.by_class.retain(|_, ended| {
            let before = if gone_ms < 2 * REPORT_MS { ended.now } else { 0 };
            *ended = Ended { now: 0, before };
            before > 0
        });
    }

    /// Attempts of this class that may be sent ahead of a free slot: as many as end here in [`SPARE_MS`].
    pub(crate) fn spares(&self, class: &str) -> u32 {
        let ended = self.by_class.get(class).map_or(0, |ended| ended.now.max(ended.before));
        let spares = u64::from(ended) * SPARE_MS / REPORT_MS;
        u32::try_from(spares).unwrap_or(SPARES).min(SPARES)
    }

    /// Whether of any class at all some may be sent ahead.
    pub(crate) fn is_quick(&self) -> bool {
        self.by_class.keys().any(|class| self.spares(class) > 0)
    }
}
