//! How much of something may be done in the long run: it gathers with time, up to a bound, and is spent.

use std::time::Instant;

/// So many a second, and so many at once after a rest.
pub(crate) struct Allowance {
    a_second: u64,
    most: u64,
    left: u64,
    /// Up to when what gathered is counted.
    since: Instant,
}

impl Allowance {
    /// A full one.
    pub(crate) fn new(a_second: u64, most: u64) -> Self {
        Self { a_second, most, left: most, since: Instant::now() }
    }

    /// What is left now.
    pub(crate) fn left(&mut self) -> u64 {
        if self.left < self.most {
            self.gather(Instant::now());
        }
        self.left
    }

    /// Spends one, if one is left.
    pub(crate) fn take(&mut self) -> bool {
        let has_one = self.left() > 0;
        if has_one {
            self.spend(1);
        }
        has_one
    }

    pub(crate) fn spend(&mut self, some: u64) {
        if self.left >= self.most {
            self.since = Instant::now();
        }
        self.left = self.left.saturating_sub(some);
    }

    fn gather(&mut self, now: Instant) {
        let passed_us =
            u64::try_from(now.saturating_duration_since(self.since).as_micros()).unwrap_or(u64::MAX);
        let gathered = passed_us.saturating_mul(self.a_second) / 1_000_000;
        if gathered > 0 {
            self.since = now;
            self.left = self.left.saturating_add(gathered).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_spent_and_gathers_again_up_to_its_bound() {
        let mut allowance = Allowance::new(1_000, 10);
        assert_eq!(allowance.left(), 10);
        allowance.spend(10);
        let began = allowance.since;
        allowance.gather(began);
        assert_eq!(allowance.left, 0);
        allowance.gather(began + Duration::from_millis(4));
        assert_eq!(allowance.left, 4);
        allowance.gather(began + Duration::from_secs(9));
        assert_eq!(allowance.left, 10);
    }
}
