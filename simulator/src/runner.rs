//! A pretend runner: attempts take their time, die with their node, and each end comes once.

use std::collections::BTreeMap;

use bytes::Bytes;
use master::limits::SPARE_MS;
use protocol::limits::REPORT_MS;
use protocol::{AttemptRef, Outcome, Reason};

use crate::limits::{MS, PACE_US, SPARES_LIVE_US};

/// What a pretend job does; its payload says all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Tells jobs apart.
    pub(crate) number: u64,
    /// How long each attempt runs.
    pub(crate) run_ms: u64,
    /// Attempts up to this number fail.
    pub(crate) fails: u64,
}

impl Work {
    pub(crate) fn payload(self) -> Bytes {
        format!("job {} runs {} fails {}", self.number, self.run_ms, self.fails).into()
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut words = text.split(' ').skip(1).step_by(2).map(str::parse);
        let mut next = || words.next()?.ok();
        Some(Self { number: next()?, run_ms: next()?, fails: next()? })
    }

    /// What attempt `attempt` of it brings back: no two attempts of any jobs bring the same.
    pub(crate) fn outcome(self, attempt: u32) -> Outcome {
        if u64::from(attempt) <= self.fails {
            Outcome::failure(Reason::Exit, format!("attempt {attempt} of job {} fails", self.number))
        } else {
            Outcome::success(format!("job {} by attempt {attempt}", self.number).into())
        }
    }
}

/// The attempts of one start of one node.
#[derive(Default)]
pub(crate) struct Runner {
    running: BTreeMap<AttemptRef, Running>,
    /// When attempts ended here.
    ends_us: Vec<u64>,
}

struct Running {
    work: Work,
    killed: bool,
}

impl Runner {
    /// Starts an attempt and says how long it runs.
    pub(crate) fn start(&mut self, attempt: AttemptRef, work: Work) -> u64 {
        self.running.insert(attempt, Running { work, killed: false });
        work.run_ms * MS
    }

    /// An attempt ended now.
    pub(crate) fn ended(&mut self, now_us: u64) {
        self.ends_us.retain(|at_us| now_us - at_us < SPARES_LIVE_US + PACE_US[1]);
        self.ends_us.push(now_us);
    }

    /// Attempts that may have been sent ahead of free slots, by how many ended within such a time.
    pub(crate) fn spares(&self, now_us: u64, within_us: u64) -> usize {
        let live = |at_us: &&u64| now_us - **at_us < SPARES_LIVE_US + within_us;
        let ends =
            |first: &u64| self.ends_us.iter().filter(|at| (*first..first + within_us).contains(at)).count();
        let most = self.ends_us.iter().filter(live).map(ends).max().unwrap_or(0) as u64;
        (most * SPARE_MS / REPORT_MS) as usize
    }

    /// How many occupy the machine.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Those that occupy the machine.
    pub(crate) fn running(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.running.keys().copied()
    }

    /// Tells an attempt to end. Says whether it is there.
    pub(crate) fn kill(&mut self, attempt: AttemptRef) -> bool {
        let found = self.running.get_mut(&attempt);
        found.is_some_and(|running| !std::mem::replace(&mut running.killed, true))
    }

    /// The attempt is gone, by itself or killed: what it brings back, the first time.
    pub(crate) fn end(&mut self, attempt: AttemptRef, by_itself: bool) -> Option<Outcome> {
        let running = self.running.remove(&attempt)?;
        if running.killed && !by_itself {
            return Some(Outcome::failure(Reason::Signal, "killed".to_string()));
        }
        Some(running.work.outcome(attempt.attempt))
    }
}
