//! Where new jobs get their ids.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::JobId;

/// Random bytes of one id.
const RANDOM_BYTES: usize = 16;
/// Ids for which randomness is fetched at once: each fetch is a call of the kernel.
const FETCHED: usize = 64;

/// No id could be made.
#[derive(Debug, thiserror::Error)]
#[error("making a job id: {0}")]
pub(crate) struct MintError(getrandom::Error);

/// Makes ids: ULIDs of now, rising within one mint also when the clock does not. While that is behind, it goes on from the latest time it
/// had: ids that differ in their last digits alone would all be kept in one place.
#[derive(Debug)]
pub(crate) struct Mint {
    last: u128,
    latest: Option<(Instant, u64)>,
    random: [[u8; RANDOM_BYTES]; FETCHED],
    /// How many of these are used up.
    used: usize,
}

impl Default for Mint {
    fn default() -> Self {
        Self { last: 0, latest: None, random: [[0; RANDOM_BYTES]; FETCHED], used: FETCHED }
    }
}

impl Mint {
    /// A new job id.
    pub(crate) fn job(&mut self) -> Result<JobId, MintError> {
        self.jobs(1)
    }

    /// The first of so many new job ids that follow each other.
    pub(crate) fn jobs(&mut self, jobs: usize) -> Result<JobId, MintError> {
        let random = self.random()?;
        let wall_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let now_ms = self.steady(Instant::now(), wall_ms);
        let fresh = ulid::Ulid::from_parts(now_ms, u128::from_be_bytes(random)).0;
        let first = if fresh > self.last { fresh } else { self.last.wrapping_add(1) };
        self.last = first.wrapping_add(jobs.saturating_sub(1) as u128);
        Ok(JobId(first))
    }

    /// This time of the clock, or the latest one and what has passed since then.
    fn steady(&mut self, now: Instant, wall_ms: u64) -> u64 {
        let passed_ms = |at| now.saturating_duration_since(at).as_millis() as u64;
        let latest_ms = self.latest.map_or(0, |(at, ms)| ms.saturating_add(passed_ms(at)));
        if wall_ms >= latest_ms {
            self.latest = Some((now, wall_ms));
        }
        wall_ms.max(latest_ms)
    }

    /// Bytes that no id has had.
    fn random(&mut self) -> Result<[u8; RANDOM_BYTES], MintError> {
        if self.used == FETCHED {
            getrandom::fill(self.random.as_flattened_mut()).map_err(MintError)?;
            self.used = 0;
        }
        let random = self.random[self.used];
        self.used += 1;
        Ok(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_clock_is_behind_it_goes_on_from_the_latest_time() {
        let (mut mint, began) = (Mint::default(), Instant::now());
        let after = |ms| began + std::time::Duration::from_millis(ms);
        assert_eq!(mint.steady(began, 10_000), 10_000);
        assert_eq!((mint.steady(began, 5), mint.steady(after(7), 12)), (10_000, 10_007));
        assert_eq!((mint.steady(after(8), 50_000), mint.steady(after(9), 50_001)), (50_000, 50_001));
    }

    #[test]
    fn ids_rise_and_their_randomness_is_never_used_twice() {
        let mut mint = Mint::default();
        let (mut last, mut seen) = (JobId(0), std::collections::BTreeSet::new());
        for _ in 0..3 * FETCHED {
            let first = mint.jobs(5).unwrap();
            assert!(first.0 > last.0);
            last = JobId(first.0 + 4);
            assert!(seen.insert(mint.random().unwrap()));
        }
        assert!(mint.job().unwrap().0 > last.0);
    }
}
