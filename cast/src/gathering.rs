//! Whether what came waits a moment for more. An entry costs every node a sync and a dozen wake-ups however few commands it has, and a
//! wake-up of the owner loop costs more than a request. Whoever was just answered mostly asks again at once (a client's next
//! request, a worker's next result), while those who came meanwhile wait already: served as they come, the two would take turns for
//! ever, each in an entry half full.
//!
//! So after answers those who wait go on waiting until half as many as were answered have come again, or until they are [`MOST`]: that is
//! full enough, and nobody is to wait while there is work. (To wait for all of them fills entries, but then nothing is done while one is on its
//! way: measured, half brings more.) The body bounds the wait in time. Where it was in vain (nobody asks again) it is not tried for a
//! while, each time twice as long.
//!
//! It counts, and has no clock.

/// With so many it is full enough.
const MOST: usize = 32;
/// After waiting in vain so often in a row the pauses grow no more: then one in 64 is tried.
const MISSES: u32 = 6;

/// How many are waited for.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    /// None: nobody waits for more.
    wanted: Option<usize>,
    /// Counts the waits.
    wait: u64,
    /// Waits in vain in a row.
    misses: u32,
    /// Times it is not tried.
    pause: u32,
}

impl Gathering {
    /// So many were just answered, while so many others wait.
    pub fn answered(&mut self, answered: usize, waiting: usize) {
        let wanted = (answered.div_ceil(2) + waiting).min(MOST);
        // Who waits already waits no longer for that.
        if answered == 0 || wanted < 2 || self.wanted.is_some() {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        self.wanted = Some(wanted);
        self.wait += 1;
    }

    /// Whether those who wait are to wait for more.
    pub fn holds(&mut self, waiting: usize) -> bool {
        let Some(wanted) = self.wanted else { return false };
        if waiting >= wanted {
            self.wanted = None;
            self.misses = 0;
        }
        waiting < wanted && waiting > 0
    }

    /// How many are waited for.
    #[must_use]
    pub fn wanted(&self) -> Option<usize> {
        self.wanted
    }

    /// The number of the wait that is on, if one is.
    #[must_use]
    pub fn wait(&self) -> Option<u64> {
        self.wanted.map(|_| self.wait)
    }

    /// That was long enough; so many wait now.
    pub fn over(&mut self, waiting: usize) {
        match self.wanted.take() {
            Some(wanted) if waiting < wanted => {
                self.misses = (self.misses + 1).min(MISSES);
                self.pause = 1 << self.misses;
            }
            Some(_) => self.misses = 0,
            None => {}
        }
    }

    /// Nobody is waited for, for another reason than time.
    pub(crate) fn stop(&mut self) {
        self.wanted = None;
    }

    /// Another lead begins.
    pub(crate) fn forget(&mut self) {
        *self = Self { wait: self.wait, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_those_who_were_answered_are_waited_for_by_those_who_wait() {
        let mut gathering = Gathering::default();
        gathering.answered(5, 2);
        assert_eq!((gathering.wanted(), gathering.wait()), (Some(5), Some(1)));
        assert!(gathering.holds(2) && gathering.holds(4));
        assert!(!gathering.holds(5), "enough are there");
        assert!(!gathering.holds(1), "and the wait is over");
        assert_eq!(gathering.wait(), None);
    }

    #[test]
    fn one_alone_never_waits_and_nobody_waits_for_a_crowd() {
        let mut gathering = Gathering::default();
        gathering.answered(1, 0);
        assert_eq!(gathering.wanted(), None);
        gathering.answered(0, 7);
        assert_eq!(gathering.wanted(), None, "nobody was answered, so nobody is about to ask");
        gathering.answered(1_000, 1_000);
        assert_eq!(gathering.wanted(), Some(MOST));
        assert!(!gathering.holds(0), "with none there is nothing to hold back");
    }

    #[test]
    fn a_wait_is_not_made_longer_by_the_next_answers_and_ends_well_when_enough_came() {
        let mut gathering = Gathering::default();
        gathering.answered(4, 0);
        gathering.answered(20, 0);
        assert_eq!((gathering.wanted(), gathering.wait()), (Some(2), Some(1)));
        gathering.over(2);
        gathering.answered(4, 0);
        assert_eq!(gathering.wait(), Some(2), "it was not in vain");
        gathering.forget();
        gathering.answered(4, 0);
        assert_eq!(gathering.wait(), Some(3), "no number comes twice");
    }

    #[test]
    fn after_waiting_in_vain_it_is_tried_ever_more_seldom_and_at_once_again_when_it_was_worth_it() {
        let mut gathering = Gathering::default();
        let mut skipped = Vec::new();
        for _ in 0..8 {
            gathering.over(1);
            let tries = (0..).find(|_| {
                gathering.answered(4, 0);
                gathering.wanted().is_some()
            });
            skipped.extend(tries);
        }
        assert_eq!(skipped, [0, 2, 4, 8, 16, 32, 64, 64]);
        assert!(!gathering.holds(2));
        gathering.answered(4, 0);
        gathering.over(1);
        let tries = (0..).find(|_| {
            gathering.answered(4, 0);
            gathering.wanted().is_some()
        });
        assert_eq!(tries, Some(2), "a wait that was worth it forgives the others");
    }
}
