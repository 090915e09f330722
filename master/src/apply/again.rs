//! Whether there is another attempt after a failure or a loss, and when.
//!
//! After its n-th failure a job pauses: base·2^(n-1), at most `max`, and of that between the half and the whole, as a hash of
//! its id and of n falls. So jobs that failed together do not all come again together, and every node finds the same.
//! Workers that died under it are counted apart, with a pause of their own.

use super::Turn;
use crate::limits::LOST_PAUSE_MS;
use protocol::{Job, JobId, JobSpec, JobState, LossCause, Outcome, Reason, RetryRule};

/// By whose rules a failure is judged: those of the program that wrote the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Every failure is tried again, after the whole of the pause.
    First,
    /// As the job asks.
    OfJob,
}

/// How an attempt is given up.
pub(super) struct Verdict {
    pub(super) state: JobState,
    pub(super) reason: Option<Reason>,
    pub(super) pause_ms: u64,
}

/// The pause after a failure of the current attempt, the `failures`-th of the job; none: that was its last try.
pub(super) fn pause_after_failure(
    rules: Rules,
    job: &Job,
    failures: u32,
    (reason, outcome): (Reason, &Outcome),
    most_attempts: usize,
) -> Option<u64> {
    let spec = &*job.spec;
    let spent = failures + losses_that_count(job) >= spec.max_attempts;
    if spec.more.at_most_once || spent || job.attempts.len() >= most_attempts {
        return None;
    }
    let whole_ms = doubled(spec.retry_base_ms, failures - 1).min(spec.retry_max_ms);
    match rules {
        Rules::First => Some(whole_ms),
        Rules::OfJob => {
            is_tried_again(spec, reason, outcome.exit_code).then(|| jittered(whole_ms, job.id, failures))
        }
    }
}

/// Lost workers that count as failures of the job: of an evaluation all do, as its front end counts them together.
fn losses_that_count(job: &Job) -> u32 {
    if job.spec.more.recodex.is_some() { job.lost } else { 0 }
}

fn is_tried_again(spec: &JobSpec, reason: Reason, exit_code: Option<i32>) -> bool {
    match &spec.more.retry {
        Some(rule) => rule.covers(reason, exit_code),
        None => RetryRule::usual().covers(reason, exit_code),
    }
}

impl Turn<'_> {
    /// Whether a job that has had an attempt may have no other one, whatever became of it.
    pub(super) fn is_spent(&self, spec: &JobSpec) -> bool {
        #[cfg(feature = "mutants")]
        if self.ledger.breaks(crate::LedgerMutant::OnceMore) {
            return false;
        }
        spec.more.at_most_once
    }

    /// A worker that went silent, or an attached one that left, counts towards `max_lost`, from the second one on with a
    /// pause that doubles. One that started anew does not count: the whole cluster may have been restarted. (So a job that
    /// kills its node is stopped by the bound on attempts alone when that node is always back before its liveness ends.)
    /// An attached worker that is only late does not count either: it may still bring the result.
    /// A job that may have one attempt at most has had it, also where that has not begun.
    pub(super) fn after_loss(&self, job: &Job, lost: u32, cause: LossCause) -> Verdict {
        let is_evaluation = job.spec.more.recodex.is_some();
        let failures = if is_evaluation { job.failures } else { 0 };
        let poison = lost + failures >= job.spec.max_lost && counts(cause);
        if poison || self.is_spent(&job.spec) || job.attempts.len() >= self.ledger.bounds.attempts {
            return Verdict { state: JobState::Failed, reason: Some(Reason::Lost), pause_ms: 0 };
        }
        if lost < 2 || !counts(cause) || is_evaluation {
            return Verdict { state: JobState::Queued, reason: None, pause_ms: 0 };
        }
        let pause_ms = doubled(LOST_PAUSE_MS, lost - 2).min(job.spec.retry_max_ms);
        Verdict { state: JobState::Scheduled, reason: None, pause_ms }
    }
}

/// Whether such a loss may be the job's own doing.
pub(super) fn counts(cause: LossCause) -> bool {
    matches!(cause, LossCause::Silent | LossCause::Left)
}

/// `base_ms` doubled so many times, without running over.
fn doubled(base_ms: u64, times: u32) -> u64 {
    base_ms.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX))
}

/// Between the half and the whole of it, both included.
fn jittered(whole_ms: u64, id: JobId, failures: u32) -> u64 {
    let half_ms = whole_ms / 2;
    half_ms + hash(id, failures) % (whole_ms - half_ms + 1)
}

/// Every bit of the id and of the number moves about half of the bits (SplitMix64's steps).
fn hash(id: JobId, failures: u32) -> u64 {
    let halves = [(id.0 >> 64) as u64, id.0 as u64, u64::from(failures)];
    halves.into_iter().fold(0, |hash: u64, word| {
        let mixed = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_spread_over_its_upper_half_and_the_same_each_time() {
        let pauses: alloc::vec::Vec<u64> = (0..1_000).map(|id| jittered(1_000, JobId(id), 1)).collect();
        assert!(pauses.iter().all(|ms| (500..=1_000).contains(ms)));
        for tenth in (500..1_000).step_by(50) {
            let here = pauses.iter().filter(|ms| (tenth..tenth + 50).contains(*ms)).count();
            assert!((60..150).contains(&here), "{here} of 1000 pauses from {tenth} ms on");
        }
        assert_eq!(jittered(1_000, JobId(7), 1), pauses[7]);
        assert_ne!(jittered(1_000, JobId(7), 2), pauses[7]);
        assert_eq!((jittered(0, JobId(7), 1), jittered(u64::MAX, JobId(7), 1) >= u64::MAX / 2), (0, true));
    }

    #[test]
    fn doubling_never_runs_over() {
        assert_eq!((doubled(3, 0), doubled(3, 4), doubled(3, 64)), (3, 48, u64::MAX));
    }
}
