//! A closed loop: so many slots, each with one thing in flight, for so long.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lab::BenchError;

/// One slot: it has at most one thing in flight.
pub trait Slot: Send + 'static {
    /// Does it once; it is done when the system says so. How many jobs that were.
    fn once(&mut self) -> impl Future<Output = Result<u64, BenchError>> + Send;
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// Nothing is begun after this.
    pub time: Duration,
    /// Nothing is begun once so many jobs were begun.
    pub jobs: u64,
}

impl Until {
    /// After this time.
    #[must_use]
    pub fn over(time: Duration) -> Self {
        Self { time, jobs: u64::MAX }
    }
}

/// What one run brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Jobs that were done.
    pub jobs: u64,
    /// From the first beginning to the last end.
    pub elapsed: Duration,
    /// Microseconds of one thing in flight: the median.
    pub p50_us: u64,
    /// What 99 of 100 stay under.
    pub p99_us: u64,
    /// The longest.
    pub longest_us: u64,
}

impl Run {
    /// Jobs a second.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        (u128::from(self.jobs) * 1_000_000 / self.elapsed.as_micros().max(1)) as u64
    }
}

/// Runs the slots and gives them back.
///
/// # Errors
/// The first error of any slot: a measurement with failures in it is none.
pub async fn run<S: Slot>(slots: Vec<S>, each: u64, until: Until) -> Result<(Run, Vec<S>), BenchError> {
    let begun = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = slots
        .into_iter()
        .map(|mut slot| {
            let begun = Arc::clone(&begun);
            tokio::spawn(async move {
                let (mut jobs, mut waited) = (0, Vec::new());
                while began.elapsed() < until.time && begun.fetch_add(each, Ordering::Relaxed) < until.jobs {
                    let since = Instant::now();
                    jobs += slot.once().await?;
                    waited.push(since.elapsed().as_micros() as u64);
                }
                Ok::<_, BenchError>((jobs, waited, slot))
            })
        })
        .collect();
    let (mut jobs, mut waited, mut slots) = (0, Vec::new(), Vec::new());
    for task in tasks {
        let ended = task.await.map_err(|error| BenchError::new("running a slot", error))?;
        let (done, times, slot) = ended?;
        jobs += done;
        waited.extend(times);
        slots.push(slot);
    }
    let elapsed = began.elapsed();
    waited.sort_unstable();
    let at = |percent: usize| {
        let place = (waited.len() * percent / 100).min(waited.len().saturating_sub(1));
        waited.get(place).copied().unwrap_or(0)
    };
    let longest_us = waited.last().copied().unwrap_or(0);
    Ok((Run { jobs, elapsed, p50_us: at(50), p99_us: at(99), longest_us }, slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts(u64);

    impl Slot for Counts {
        async fn once(&mut self) -> Result<u64, BenchError> {
            self.0 += 1;
            tokio::task::yield_now().await;
            Ok(1)
        }
    }

    #[tokio::test]
    async fn it_ends_after_so_many_jobs_and_counts_each_once() {
        let until = Until { time: Duration::from_secs(60), jobs: 1_000 };
        let (run, slots) = run((0..7).map(|_| Counts(0)).collect(), 1, until).await.unwrap();
        assert_eq!((run.jobs, slots.iter().map(|slot| slot.0).sum::<u64>()), (1_000, 1_000));
        assert!(run.p50_us <= run.p99_us && run.p99_us <= run.longest_us);
    }

    struct Fails;

    impl Slot for Fails {
        async fn once(&mut self) -> Result<u64, BenchError> {
            Err(BenchError::new("asking", "no"))
        }
    }

    #[tokio::test]
    async fn a_run_with_a_failure_is_no_measurement() {
        assert!(run(vec![Fails], 1, Until::over(Duration::from_secs(1))).await.is_err());
    }
}
