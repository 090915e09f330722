//! What the monitor is told: progress as workers say it, and what no worker says.

use bytes::Bytes;
use master::Ledger;
use protocol::recodex::is_bad_job;
use protocol::{Job, JobId, JobState, LossCause, What};

/// The name by which the monitor is known to whoever calls it.
const MONITOR: &[u8] = b"recodex-monitor";
/// A worker that had the job is lost, and another gets it.
const ABORTED: &str = "ABORTED";
/// The job is given up.
pub(super) const FAILED: &str = "FAILED";

/// A message to the monitor.
pub(super) fn addressed(news: Vec<Bytes>) -> Vec<Bytes> {
    std::iter::once(Bytes::from_static(MONITOR)).chain(news).collect()
}

/// News of a job in one word.
pub(super) fn news(id: &str, word: &'static str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(id.as_bytes()), Bytes::from_static(word.as_bytes())]
}

/// What a fact about an evaluation is to the monitor.
pub(super) fn of_fact(what: &What, ledger: &Ledger) -> Option<Vec<Bytes>> {
    let of = |id: JobId| ledger.job(id).filter(|job| job.spec.more.recodex.is_some());
    let (job, word) = match what {
        What::Requeued { attempt, state: JobState::Failed, .. } => (of(attempt.job)?, FAILED),
        // No worker had it yet: nothing was aborted.
        What::Requeued { cause: LossCause::Unbegun, .. } => return None,
        What::Requeued { attempt, .. } => (of(attempt.job)?, ABORTED),
        What::Finished { attempt, state: JobState::Failed, .. } => {
            (of(attempt.job).filter(|job| !was_bad(job))?, FAILED)
        }
        What::Expired { job, .. } => (of(*job)?, FAILED),
        _ => return None,
    };
    let asked = job.spec.more.recodex.as_ref()?;
    Some(news(&asked.id, word))
}

/// It was at fault itself: its worker has told the monitor what there is to tell.
fn was_bad(job: &Job) -> bool {
    job.result.as_ref().is_some_and(|outcome| is_bad_job(outcome))
}
