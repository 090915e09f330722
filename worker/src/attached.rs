//! Foreign workers attached to this node: who is free, who holds which attempt and for how long.
//!
//! ```text
//!   attach ─▶ free ──(hand)──▶ busy ──returned──▶ free
//!              │                 │ window over: late, offered to others too; its answer still counts
//!              └─(gone)─▶ ∅      └─(gone)─▶ away ──back in time──▶ busy
//!                                             └──(AWAY_MS)──▶ ∅
//! ```
//! Each serves one class and holds one attempt at a time. A slow one is not forgotten: it stays busy until it answers.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use protocol::limits::{ANSWER_WINDOW_MS, AWAY_MS};
use protocol::{AttemptRef, LossCause};

/// Names one attached worker within a start of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachedId(pub u64);

/// How long an attached worker has for a job until it is offered to another one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// For classes that are not named.
    pub default_ms: u64,
    /// For those that are.
    pub by_class: BTreeMap<String, u64>,
}

impl Default for Windows {
    fn default() -> Self {
        Self { default_ms: ANSWER_WINDOW_MS, by_class: BTreeMap::new() }
    }
}

impl Windows {
    /// The window of a class.
    #[must_use]
    pub fn of(&self, class: &str) -> u64 {
        self.by_class.get(class).copied().unwrap_or(self.default_ms)
    }
}

/// What became of a worker's attempt as time went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its window is over.
    Late { worker: AttachedId, attempt: AttemptRef },
    /// The job's own time is over; the worker stays busy.
    TimedOut { attempt: AttemptRef, timeout_ms: u64 },
}

#[derive(Clone, Debug)]
struct One {
    class: String,
    holds: Option<Hold>,
    /// Since when its connection is gone.
    away_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    attempt: AttemptRef,
    since_ms: u64,
    window_ms: u64,
    timeout_ms: Option<u64>,
    late: bool,
    timed_out: bool,
}

/// All attached workers of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attached {
    workers: BTreeMap<AttachedId, One>,
    /// Free ones of each class, the longest free first.
    free: BTreeMap<String, VecDeque<AttachedId>>,
    /// What they hold.
    held: BTreeSet<AttemptRef>,
    now_ms: u64,
}

impl Attached {
    /// A worker is there and free, whatever it was before. What it held is given back: it knows nothing of it any more.
    pub(crate) fn attach(&mut self, id: AttachedId, class: &str) -> Option<AttemptRef> {
        let held = self.remove(id);
        self.workers.insert(id, One { class: class.into(), holds: None, away_ms: None });
        self.free.entry(class.into()).or_default().push_back(id);
        held
    }

    /// Its connection is gone. A free one is forgotten; of a busy one the attempt is named, and it may come back with it.
    pub(crate) fn leave(&mut self, id: AttachedId) -> Option<AttemptRef> {
        let now_ms = self.now_ms;
        match self.workers.get_mut(&id) {
            Some(One { holds: Some(hold), away_ms, .. }) => {
                away_ms.get_or_insert(now_ms);
                Some(hold.attempt)
            }
            _ => {
                self.remove(id);
                None
            }
        }
    }

    /// It brought something back and is free: what it held, unless that had timed out.
    pub(crate) fn returned(&mut self, id: AttachedId, class: &str) -> Option<AttemptRef> {
        let live = self.workers.get(&id).and_then(|one| one.holds).filter(|hold| !hold.timed_out);
        self.attach(id, class);
        live.map(|hold| hold.attempt)
    }

    /// Gives an attempt to the worker of this class that has been free the longest.
    pub(crate) fn hand(
        &mut self,
        class: &str,
        attempt: AttemptRef,
        window_ms: u64,
        timeout_ms: Option<u64>,
    ) -> Option<AttachedId> {
        let queue = self.free.get_mut(class)?;
        let id = queue.pop_front()?;
        if queue.is_empty() {
            self.free.remove(class);
        }
        let since_ms = self.now_ms;
        let hold = Hold { attempt, since_ms, window_ms, timeout_ms, late: false, timed_out: false };
        if let Some(one) = self.workers.get_mut(&id) {
            one.holds = Some(hold);
            self.held.insert(attempt);
        }
        Some(id)
    }

    /// This many milliseconds passed. Names whose time is over; second: whose worker will not come back.
    pub(crate) fn tick(&mut self, elapsed_ms: u64) -> (Vec<Due>, Vec<AttemptRef>) {
        self.now_ms = self.now_ms.saturating_add(elapsed_ms);
        let now_ms = self.now_ms;
        let (mut due, mut gone) = (Vec::new(), Vec::new());
        for (id, one) in &mut self.workers {
            let Some(hold) = &mut one.holds else { continue };
            let waited_ms = now_ms.saturating_sub(hold.since_ms);
            if !hold.late && waited_ms >= hold.window_ms {
                hold.late = true;
                due.push(Due::Late { worker: *id, attempt: hold.attempt });
            }
            if let Some(timeout_ms) = hold.timeout_ms.filter(|ms| !hold.timed_out && waited_ms >= *ms) {
                hold.timed_out = true;
                due.push(Due::TimedOut { attempt: hold.attempt, timeout_ms });
            }
            if one.away_ms.is_some_and(|away_ms| now_ms.saturating_sub(away_ms) >= AWAY_MS) {
                gone.push(*id);
            }
        }
        let gone = gone.into_iter().filter_map(|id| self.remove(id)).collect();
        (due, gone)
    }

    /// Attempts that occupy a worker.
    pub(crate) fn held(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.held.iter().copied()
    }

    /// Whether one of them holds this.
    pub(crate) fn holds(&self, attempt: AttemptRef) -> bool {
        self.held.contains(&attempt)
    }

    /// Workers of each class, busy or not; one that is away counts while its attempt does.
    pub(crate) fn counts(&self) -> BTreeMap<String, u32> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for one in self.workers.values() {
            match counts.get_mut(&one.class) {
                Some(count) => *count += 1,
                None => drop(counts.insert(one.class.clone(), 1)),
            }
        }
        counts
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The class a worker serves, if it is there.
    pub(crate) fn class_of(&self, id: AttachedId) -> Option<&str> {
        self.workers.get(&id).map(|one| one.class.as_str())
    }

    fn remove(&mut self, id: AttachedId) -> Option<AttemptRef> {
        let one = self.workers.remove(&id)?;
        if let Some(queue) = self.free.get_mut(&one.class) {
            queue.retain(|free| *free != id);
            if queue.is_empty() {
                self.free.remove(&one.class);
            }
        }
        let held = one.holds.map(|hold| hold.attempt)?;
        self.held.remove(&held);
        Some(held)
    }
}

/// Why an attempt is given back, the stronger word where there are two.
pub(crate) fn stronger(one: LossCause, other: LossCause) -> LossCause {
    if one == LossCause::Left || other == LossCause::Left { LossCause::Left } else { one }
}
