//! What the jobs of each key have in use of the bounds they share: how many of them run, and how many started lately.
//!
//! Starts are counted in slices, a twentieth of the period that a rate names, by the cluster time of the entry that
//! committed each. The slices that reach into the last period may not hold more than the rate, so no period has more
//! starts in it, wherever it begins; in return a start counts up to one slice longer than it must. Every node counts them
//! in its ledger and a snapshot has them, so that the next leader goes on counting.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use protocol::limits::RATE_PERIODS_MS;
use protocol::{Job, JobId, JobState, Share};
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::limits::{RATE_KEYS, RATE_SLICES};
use crate::shards::Shards;

/// What the jobs of all keys have in use. A clone is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    keys: Shards<String, InUse>,
    /// Windows of each period, in the order in which they are to be looked at again.
    aging: [Aging; RATE_PERIODS_MS.len()],
}

/// What the jobs of one key have in use.
#[derive(Clone, Debug, Default)]
struct InUse {
    running: u32,
    /// One for each period that its jobs name, where there were starts lately.
    windows: Vec<Window>,
}

/// The latest starts of one key, for one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    period_ms: u64,
    /// Slices of cluster time with their starts, the oldest first.
    slices: Vec<(u64, u32)>,
}

impl Window {
    fn slice_of(&self, at_ms: u64) -> u64 {
        at_ms / (self.period_ms / RATE_SLICES)
    }

    /// From when on the starts of this slice count no more.
    fn end_ms(&self, slice: u64) -> u64 {
        (slice + RATE_SLICES + 1) * (self.period_ms / RATE_SLICES)
    }

    fn let_go(&mut self, now_ms: u64) {
        let first = self.slice_of(now_ms).saturating_sub(RATE_SLICES);
        self.slices.retain(|(slice, _)| *slice >= first);
    }

    fn start(&mut self, now_ms: u64) {
        self.let_go(now_ms);
        let now = self.slice_of(now_ms);
        match self.slices.last_mut().filter(|(slice, _)| *slice == now) {
            Some((_, starts)) => *starts = starts.saturating_add(1),
            None => self.slices.push((now, 1)),
        }
    }

    /// Starts that count at this time.
    fn starts(&self, now_ms: u64) -> u64 {
        let first = self.slice_of(now_ms).saturating_sub(RATE_SLICES);
        self.slices.iter().filter(|(slice, _)| *slice >= first).map(|(_, starts)| u64::from(*starts)).sum()
    }

    /// When fewer than `most` of them count, if no more come.
    fn below_ms(&self, most: u64) -> u64 {
        let mut left: u64 = self.slices.iter().map(|(_, starts)| u64::from(*starts)).sum();
        for (slice, starts) in &self.slices {
            left -= u64::from(*starts);
            if left < most {
                return self.end_ms(*slice);
            }
        }
        0
    }

    /// When none of them counts any more.
    fn over_ms(&self) -> u64 {
        self.slices.last().map_or(0, |(slice, _)| self.end_ms(*slice))
    }
}

/// Windows of one period, each with the time when it may be over.
#[derive(Clone, Debug)]
struct Aging {
    first: u64,
    next: u64,
    places: Shards<u64, (u64, String)>,
}

impl Aging {
    fn new() -> Self {
        Self { first: 0, next: 0, places: Shards::new() }
    }

    fn push(&mut self, at_ms: u64, key: String) {
        self.places.insert(self.next, (at_ms, key));
        self.next += 1;
    }

    fn first(&self) -> Option<&(u64, String)> {
        self.places.get(&self.first)
    }

    fn pop(&mut self, now_ms: u64) -> Option<String> {
        self.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        let popped = self.places.remove(&self.first);
        self.first += 1;
        popped.map(|(_, key)| key)
    }
}

/// The starts of one key in one period, as a snapshot has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) key: String,
    look_ms: u64,
    window: Window,
}

/// What keeps a job from starting, and until when if only time has to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// So many of its key run.
    Running(u64),
    /// So many of its key started lately.
    Started { starts: u64, until_ms: u64 },
    /// Starts of so many keys are counted that no other key's can be.
    Keys { until_ms: u64 },
}

impl Shares {
    pub(crate) fn new() -> Self {
        Self { keys: Shards::new(), aging: core::array::from_fn(|_| Aging::new()) }
    }

    /// A job of a key begins to run, or runs no more.
    pub(crate) fn runs(&mut self, key: &String, begins: bool) {
        match self.keys.get_mut(key) {
            Some(used) => used.running = if begins { used.running + 1 } else { used.running - 1 },
            None if begins => self.keys.insert(key.clone(), InUse { running: 1, windows: Vec::new() }),
            None => unreachable!("a job that runs is counted"),
        }
        if self.keys.get(key).is_some_and(|used| used.running == 0 && used.windows.is_empty()) {
            self.keys.remove(key);
        }
    }

    /// An attempt of a job with such bounds was committed at this cluster time.
    pub(crate) fn started(&mut self, share: &Share, now_ms: u64) {
        let Some((_, period_ms)) = share.rate else { return };
        let Some(place) = RATE_PERIODS_MS.iter().position(|known| *known == period_ms) else { return };
        if self.keys.get(&share.key).is_none() {
            self.keys.insert(share.key.clone(), InUse::default());
        }
        if let Some(used) = self.keys.get_mut(&share.key) {
            match used.windows.iter_mut().find(|window| window.period_ms == period_ms) {
                Some(window) => window.start(now_ms),
                None => {
                    let mut window = Window { period_ms, slices: Vec::new() };
                    window.start(now_ms);
                    self.aging[place].push(window.over_ms(), share.key.clone());
                    used.windows.push(window);
                }
            }
        }
        // Two for each that comes: so what is over goes, a little at a time.
        for _ in 0..2 {
            self.let_go(place, now_ms);
        }
    }

    /// Forgets the first window of a period if it is over; looks at it again later if it is not.
    fn let_go(&mut self, place: usize, now_ms: u64) {
        let period_ms = RATE_PERIODS_MS[place];
        let Some(key) = self.aging[place].pop(now_ms) else { return };
        let Some(used) = self.keys.get_mut(&key) else { return };
        let over_ms = used.windows.iter().find(|window| window.period_ms == period_ms).map(Window::over_ms);
        if let Some(over_ms) = over_ms.filter(|over_ms| *over_ms > now_ms) {
            self.aging[place].push(over_ms, key);
            return;
        }
        used.windows.retain(|window| window.period_ms != period_ms);
        if used.running == 0 && used.windows.is_empty() {
            self.keys.remove(&key);
        }
    }

    /// Jobs of a key that run.
    pub(crate) fn running(&self, key: &String) -> u32 {
        self.keys.get(key).map_or(0, |used| used.running)
    }

    /// Keys of all that run, with how many do.
    pub(crate) fn all_running(&self) -> BTreeMap<&str, u32> {
        let running = self.keys.iter().filter(|(_, used)| used.running > 0);
        running.map(|(key, used)| (key.as_str(), used.running)).collect()
    }

    /// What keeps a job with such bounds from starting, when so many starts and running ones come on top of those known here.
    pub(crate) fn full(&self, share: &Share, now_ms: u64, (running, starts): (u64, u64)) -> Option<Full> {
        let used = self.keys.get(&share.key);
        let running = running.max(used.map_or(0, |used| u64::from(used.running)));
        if share.concurrency.is_some_and(|most| running >= u64::from(most)) {
            return Some(Full::Running(running));
        }
        let (most, period_ms) = share.rate?;
        let place = RATE_PERIODS_MS.iter().position(|known| *known == period_ms)?;
        let window = used.and_then(|used| used.windows.iter().find(|window| window.period_ms == period_ms));
        let Some(window) = window else {
            let aging = &self.aging[place];
            let many = aging.next - aging.first >= RATE_KEYS;
            // The first that is over makes room for the next that starts.
            let until_ms = aging.first().map(|(at_ms, _)| *at_ms).filter(|at_ms| many && *at_ms > now_ms);
            return match until_ms {
                Some(until_ms) => Some(Full::Keys { until_ms }),
                None if starts >= u64::from(most) => Some(Full::Started { starts, until_ms: 0 }),
                None => None,
            };
        };
        let starts = window.starts(now_ms) + starts;
        let is_full = starts >= u64::from(most);
        is_full.then(|| Full::Started { starts, until_ms: window.below_ms(u64::from(most)) })
    }

    /// All starts that may count, in an order that says when to look at each again.
    pub(crate) fn all_started(&self) -> impl Iterator<Item = Started> + '_ {
        let aging = self.aging.iter().zip(RATE_PERIODS_MS);
        aging.flat_map(move |(aging, period_ms)| {
            let places = (aging.first..aging.next).filter_map(|place| aging.places.get(&place));
            places.filter_map(move |(look_ms, key)| {
                let windows = &self.keys.get(key)?.windows;
                let window = windows.iter().find(|window| window.period_ms == period_ms)?.clone();
                Some(Started { key: key.clone(), look_ms: *look_ms, window })
            })
        })
    }

    /// Takes starts back as a snapshot has them. False: their period is none of ours.
    pub(crate) fn take_back(&mut self, started: Started) -> bool {
        let Started { key, look_ms, window } = started;
        let Some(place) = RATE_PERIODS_MS.iter().position(|known| *known == window.period_ms) else {
            return false;
        };
        if self.keys.get(&key).is_none() {
            self.keys.insert(key.clone(), InUse::default());
        }
        if let Some(used) = self.keys.get_mut(&key) {
            used.windows.push(window);
        }
        self.aging[place].push(look_ms, key);
        true
    }
}

impl Ledger {
    /// Whether a job waits for others of its key, as far as the ledger says.
    #[must_use]
    pub fn is_held_back(&self, id: JobId) -> bool {
        let share = self.terms(id).and_then(|terms| terms.more.limits.as_ref());
        share.is_some_and(|share| self.shares.full(share, self.clock_ms(), (0, 0)).is_some())
    }
}

/// Why a queued job is held back by the bounds of its key, as a sentence; none: it is not.
pub(crate) fn held_back(ledger: &Ledger, job: &Job) -> Option<String> {
    let share = job.spec.more.limits.as_ref().filter(|_| job.state == JobState::Queued)?;
    let key = &share.key;
    Some(match ledger.shares.full(share, ledger.clock_ms(), (0, 0))? {
        Full::Running(running) => {
            let most = share.concurrency.unwrap_or(0);
            format!("waits: {running} of the key {key} run, and at most {most} may")
        }
        Full::Started { starts, .. } => {
            let (most, period_ms) = share.rate.unwrap_or((0, 0));
            let period = match period_ms {
                1_000 => "a second",
                60_000 => "a minute",
                _ => "an hour",
            };
            format!("waits: {starts} of the key {key} started within {period}, and at most {most} may")
        }
        Full::Keys { .. } => {
            format!("waits: starts of {RATE_KEYS} keys are counted already, as many as can be")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(n: u64) -> Share {
        Share { key: format!("key {n}"), concurrency: None, rate: Some((2, 1_000)) }
    }

    #[test]
    fn starts_that_count_no_more_are_forgotten() {
        let mut shares = Shares::new();
        for n in 0..5_000 {
            shares.started(&share(n), n * 10);
            shares.started(&share(0), n * 10);
        }
        let left = shares.all_started().count();
        assert_eq!(left, shares.keys.len());
        assert!((100..=110).contains(&left), "{left}");
        assert!(shares.full(&share(0), 50_000, (0, 0)).is_some(), "it started all the time");
    }

    #[test]
    fn a_start_counts_for_its_period_and_at_most_a_slice_longer() {
        let mut shares = Shares::new();
        for at_ms in [1_049, 1_400] {
            shares.started(&share(1), at_ms);
        }
        let at = |now_ms| shares.full(&share(1), now_ms, (0, 0));
        assert_eq!(at(1_400), Some(Full::Started { starts: 2, until_ms: 2_050 }));
        assert_eq!((at(2_049).is_some(), at(2_050)), (true, None));
        assert!(shares.full(&share(1), 2_050, (0, 1)).is_some(), "what is on its way counts, too");
        let other = Share { rate: Some((1, 60_000)), ..share(1) };
        assert_eq!(shares.full(&other, 1_400, (0, 0)), None, "another unit is counted for itself");
    }

    #[test]
    fn when_as_many_keys_are_counted_as_can_be_others_wait_until_one_is_over() {
        let mut shares = Shares::new();
        for n in 0..RATE_KEYS {
            shares.started(&share(n), 100);
        }
        assert_eq!(shares.full(&share(RATE_KEYS), 500, (0, 0)), Some(Full::Keys { until_ms: 1_150 }));
        assert_eq!(shares.full(&share(7), 500, (0, 0)), None, "who is counted goes on");
        assert_eq!(shares.full(&share(RATE_KEYS), 1_150, (0, 0)), None);
        for n in 0..10 {
            shares.started(&share(RATE_KEYS + n), 1_150);
        }
        assert!(shares.all_started().count() as u64 <= RATE_KEYS - 9);
    }
}
