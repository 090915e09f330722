//! How much of something may be done in the long run: it gathers with time, up to a bound, and is spent.

use std::time::{Duration, Instant};

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
        self.left = self.left.saturating_add(gathered).min(self.most);
        // What is left over of a whole one counts on: whoever takes one at a time would never get the pace.
        self.since += Duration::from_micros(gathered.saturating_mul(1_000_000) / self.a_second.max(1));
    }
}

#[cfg(test)]
mod tests {
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
    #[test]
    fn whoever_takes_one_at_a_time_gets_the_whole_pace() {
        for pause_us in [60, 150, 199, 390] {
            let mut allowance = Allowance::new(5_000, 10);
            allowance.spend(10);
            let (mut now, mut taken) = (allowance.since, 0);
            for _ in 0..1_000_000 / pause_us {
                now += Duration::from_micros(pause_us);
                allowance.gather(now);
                if allowance.left > 0 {
                    allowance.spend(1);
                    taken += 1;
                }
            }
            let most = 5_000.min(1_000_000 / pause_us);
            assert!((most - 2..=most).contains(&taken), "{taken} of {most} with {pause_us} us between");
        }
    }
}
