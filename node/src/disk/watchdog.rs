//! Notices a disk that hangs: the same write waits for tick after tick. It counts ticks and not time, so that a process that
//! stood still sees no ghosts.

/// Watches one disk.
#[derive(Clone, Debug)]
pub struct Watchdog {
    limit_ms: u64,
    tick_ms: u64,
    waits_for: Option<u64>,
    waited_ms: u64,
    barks: bool,
}

impl Watchdog {
    /// Barks when one write waits for more than `limit_ms`; `tick_ms` is the time between two looks.
    #[must_use]
    pub fn new(limit_ms: u64, tick_ms: u64) -> Self {
        Self { limit_ms, tick_ms, waits_for: None, waited_ms: 0, barks: false }
    }

    /// A tick has gone by and the disk waits for this write ([`super::Disk::waits_for`]). Says so when it begins to hang
    /// (true) or goes on (false).
    pub fn look(&mut self, waits_for: Option<u64>) -> Option<bool> {
        if waits_for.is_none() || waits_for != self.waits_for {
            (self.waits_for, self.waited_ms) = (waits_for, 0);
        } else {
            self.waited_ms = self.waited_ms.saturating_add(self.tick_ms);
        }
        let barks = self.waited_ms > self.limit_ms;
        (std::mem::replace(&mut self.barks, barks) != barks).then_some(barks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_barks_once_when_one_write_waits_too_long_and_once_when_it_is_over() {
        let mut dog = Watchdog::new(1_000, 100);
        assert_eq!(dog.look(None), None);
        let told: Vec<Option<bool>> = (0..13).map(|_| dog.look(Some(7))).collect();
        assert_eq!(told[..11], [None; 11], "one second is not yet too long");
        assert_eq!(told[11..], [Some(true), None]);
        assert_eq!(dog.look(Some(9)), Some(false), "the next write is under way");
        assert_eq!(dog.look(None), None);
    }

    #[test]
    fn many_short_writes_are_no_long_one() {
        let mut dog = Watchdog::new(1_000, 100);
        assert!((0..100).all(|number| dog.look(Some(number)).is_none()));
    }
}
