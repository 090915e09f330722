//! How long history is kept: what a leader proposes to forget, and what forgetting does to the ledger. Ages are cluster
//! time, so that a wrong clock forgets nothing.

use crate::ledger::Ledger;
use crate::marks::Mark;
use crate::master::Master;
use serde::{Deserialize, Serialize};

use protocol::limits::{FORGET_JOBS, KEEP_BYTES, KEEP_JOBS, KEEP_MS};
use protocol::{Command, Job};

/// How much of history a leader keeps: what is over any of these is forgotten, first ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age of an end, cluster time.
    pub keep_ms: u64,
    /// Ended jobs.
    pub keep_jobs: u64,
    /// Bytes of ended jobs, about.
    pub keep_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_ms: KEEP_MS, keep_jobs: KEEP_JOBS, keep_bytes: KEEP_BYTES }
    }
}

/// How far history is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Number of the last end that is forgotten; 0: none.
    pub upto: u64,
    /// Wall time (milliseconds since 1970) until which those jobs had ended, about; 0: none.
    pub wall_ms: u64,
}

impl Ledger {
    /// Whether this job's history is forgotten: it may still be held, here until the next entry, elsewhere a little longer.
    #[must_use]
    pub fn has_forgotten(&self, job: &Job) -> bool {
        job.ending.is_some_and(|ending| ending.number <= self.forgotten.upto)
    }

    /// The last end that is past this retention at this cluster time, when there is more to forget than before.
    #[must_use]
    pub fn past(&self, retention: &Retention, now_ms: u64) -> Option<u64> {
        let bytes = self.ended_bytes();
        let is_past = |mark: &Mark| {
            mark.clock_ms.saturating_add(retention.keep_ms) <= now_ms
                || bytes - mark.bytes >= retention.keep_bytes
        };
        let by_mark = self.marks.newest(is_past).map_or(0, |mark| mark.number);
        let upto = by_mark.max(self.last_end().saturating_sub(retention.keep_jobs));
        (upto > self.forgotten.upto).then_some(upto)
    }

    /// Forgets history; says whether what was expected holds.
    pub(crate) fn forget(&mut self, after: u64, upto: u64) -> bool {
        let fits = after == self.forgotten.upto
            && upto > after
            && upto - after <= FORGET_JOBS
            && upto <= self.last_end();
        if fits {
            let mark = self.marks.newest(|mark| mark.number <= upto);
            let wall_ms = mark.map_or(self.forgotten.wall_ms, |mark| mark.wall_ms);
            self.forgotten = Forgotten { upto, wall_ms };
            self.marks.forget(upto);
            self.keys.forget(upto);
        }
        fits
    }
}

impl Master {
    /// Proposes to forget what is past its retention, one bounded step at a time.
    pub(crate) fn forget(&mut self, ledger: &Ledger) {
        let after = ledger.forgotten().upto;
        if self.forgetting == Some(after) {
            return;
        }
        let past = ledger.past(&self.settings.retention, self.now_ms);
        self.forgetting = past.map(|_| after);
        if let Some(upto) = past {
            self.push(Command::Forget { after, upto: upto.min(after + FORGET_JOBS) });
        }
    }
}
