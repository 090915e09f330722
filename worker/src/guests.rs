//! Workers of ReCodEx attached to this node: what each can do, who is free, who holds which attempt, who is silent.
//!
//! ```text
//!   welcome ─▶ free ──(hand)──▶ busy ──done──▶ free
//!                │                └──(silent for the whole liveness, or the hold moved to a newcomer)──▶ ∅
//!                └──(silent, or its connection is gone)──▶ ∅
//! ```
//! Those of the same headers make a pool; the leader counts pools, not workers. A worker has another identity after each
//! reconnect: it says itself what it is at work at, and then the one that held it before is the same worker, and no more.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use protocol::limits::{RECODEX_POOLS, RECODEX_WORKERS};
use protocol::recodex::{Headers, Pool};
use protocol::{AttemptRef, JobId};

/// Names one worker of ReCodEx within a start of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestId(pub u64);

/// Silence after which a worker is lost, unless the node says otherwise: four pings of a second.
pub(crate) const GUESTS_LIVE_MS: u64 = 4_000;

/// What a worker is at work at when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtWork {
    /// Nothing: it is free, or at what it holds.
    Nothing,
    /// Something that nobody here knows (yet): it gets nothing until it is done.
    Unknown,
    /// This.
    Attempt(AttemptRef),
}

#[derive(Clone, Debug)]
struct One {
    pool: u32,
    holds: Option<AttemptRef>,
    /// It is at work at something that nobody here knows.
    is_elsewhere: bool,
    silent_ms: u64,
    /// Its connection is gone.
    is_away: bool,
}

/// Those of the same headers.
#[derive(Clone, Debug, Default)]
struct Same {
    headers: Headers,
    workers: u32,
    /// The longest free first.
    free: VecDeque<GuestId>,
}

/// What a newcomer takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    /// What it held itself, and holds no more.
    pub(crate) attempt: Option<AttemptRef>,
    /// Who held what it resumes.
    pub(crate) guest: Option<GuestId>,
}

/// There are too many, or too many kinds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// All workers of ReCodEx of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests {
    guests: BTreeMap<GuestId, One>,
    pools: BTreeMap<u32, Same>,
    last_pool: u32,
    held: BTreeMap<AttemptRef, GuestId>,
    /// Where each has a queue of its own: what waits for whom, and who was chosen last.
    bound: BTreeMap<AttemptRef, GuestId>,
    last_turn: Option<GuestId>,
}

impl Guests {
    /// A worker is there. One that is known can do what it said before, too.
    pub(crate) fn welcome(
        &mut self,
        id: GuestId,
        headers: &Headers,
        at_work: AtWork,
    ) -> Result<Displaced, TooMany> {
        let resumes = match at_work {
            AtWork::Attempt(attempt) => Some(attempt),
            AtWork::Nothing | AtWork::Unknown => None,
        };
        let known = self.guests.get(&id).and_then(|one| self.pools.get(&one.pool));
        let mut all = headers.clone();
        for (name, values) in known.into_iter().flat_map(|same| &same.headers) {
            all.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        let pool = self.pools.iter().find(|(_, same)| same.headers == all).map(|(number, _)| *number);
        let is_over = (!self.guests.contains_key(&id) && self.guests.len() >= RECODEX_WORKERS)
            || (pool.is_none() && self.pools.len() >= RECODEX_POOLS);
        if is_over {
            return Err(TooMany);
        }
        let held = self.remove(id);
        let before = resumes.and_then(|attempt| self.held.get(&attempt).copied());
        before.map(|before| self.remove(before));
        let pool = pool.filter(|number| self.pools.contains_key(number)).unwrap_or_else(|| {
            self.last_pool += 1;
            self.last_pool
        });
        let holds = resumes.or(held);
        let same = self.pools.entry(pool).or_insert_with(|| Same { headers: all, ..Same::default() });
        same.workers += 1;
        match holds {
            Some(attempt) => drop(self.held.insert(attempt, id)),
            None if at_work == AtWork::Unknown => {}
            None => same.free.push_back(id),
        }
        let is_elsewhere = holds.is_none() && at_work == AtWork::Unknown;
        self.guests.insert(id, One { pool, holds, is_elsewhere, silent_ms: 0, is_away: false });
        let attempt = held.filter(|attempt| resumes.is_some_and(|other| other != *attempt));
        Ok(Displaced { attempt, guest: before })
    }

    /// It said something.
    pub(crate) fn heard(&mut self, id: GuestId) {
        if let Some(one) = self.guests.get_mut(&id) {
            one.silent_ms = 0;
        }
    }

    /// Its connection is gone. Says whether it was forgotten for that: a busy one may come back under another identity.
    pub(crate) fn leave(&mut self, id: GuestId) -> bool {
        let Some(one) = self.guests.get_mut(&id) else { return false };
        one.is_away = true;
        let is_free = one.holds.is_none();
        if is_free {
            self.remove(id);
        }
        is_free
    }

    /// It is through with what it was at, and free. Brings what it held.
    pub(crate) fn done(&mut self, id: GuestId) -> Option<AttemptRef> {
        let one = self.guests.get_mut(&id)?;
        one.silent_ms = 0;
        let attempt = one.holds.take();
        let was_busy = core::mem::take(&mut one.is_elsewhere) || attempt.is_some();
        attempt.map(|attempt| self.held.remove(&attempt));
        if let Some(same) = self.pools.get_mut(&one.pool).filter(|_| was_busy) {
            same.free.push_back(id);
        }
        attempt
    }

    /// Gives an attempt to a free worker of the first of these pools that has one.
    pub(crate) fn hand(&mut self, pools: &[u32], attempt: AttemptRef) -> Option<GuestId> {
        let id = pools.iter().find_map(|pool| self.pools.get_mut(pool)?.free.pop_front())?;
        if let Some(one) = self.guests.get_mut(&id) {
            one.holds = Some(attempt);
            self.held.insert(attempt, id);
        }
        Some(id)
    }

    /// Gives an attempt to the worker in whose queue it is, if that is free; it comes into the queue of the next one in turn of
    /// these pools, if it is in none.
    pub(crate) fn hand_in_turn(&mut self, pools: &[u32], attempt: AttemptRef) -> Option<GuestId> {
        let id = match self.bound.get(&attempt) {
            Some(id) => *id,
            None => {
                let fit = |one: &One| pools.contains(&one.pool);
                let mut all = self.guests.iter().filter(|(_, one)| fit(one)).map(|(id, _)| *id);
                let first = all.clone().next();
                let next = all.find(|id| self.last_turn.is_none_or(|last| *id > last)).or(first)?;
                self.last_turn = Some(next);
                self.bound.insert(attempt, next);
                next
            }
        };
        let one = self.guests.get_mut(&id)?;
        let same = self.pools.get_mut(&one.pool)?;
        let place = same.free.iter().position(|free| *free == id)?;
        same.free.remove(place);
        one.holds = Some(attempt);
        self.bound.remove(&attempt);
        self.held.insert(attempt, id);
        Some(id)
    }

    /// Only these wait here.
    pub(crate) fn keep_bound(&mut self, waiting: &BTreeSet<AttemptRef>) {
        self.bound.retain(|attempt, _| waiting.contains(attempt));
    }

    /// This many milliseconds passed: who was silent for so long is lost, with what it held.
    pub(crate) fn tick(&mut self, elapsed_ms: u64, live_ms: u64) -> Vec<(GuestId, Option<AttemptRef>)> {
        let mut lost = Vec::new();
        for (id, one) in &mut self.guests {
            one.silent_ms = one.silent_ms.saturating_add(elapsed_ms);
            if one.silent_ms >= live_ms {
                lost.push(*id);
            }
        }
        lost.into_iter().map(|id| (id, self.remove(id))).collect()
    }

    /// The attempt of a job that one of them holds; `away`: one whose connection is gone.
    pub(crate) fn held_of(&self, job: JobId, away: bool) -> Option<AttemptRef> {
        let all = AttemptRef { job, attempt: 0 }..=AttemptRef { job, attempt: u32::MAX };
        let mut held =
            self.held.range(all).filter(|(_, id)| self.guests.get(id).is_some_and(|one| one.is_away == away));
        held.next_back().map(|(attempt, _)| *attempt)
    }

    /// What they hold, and the pool of whoever does.
    pub(crate) fn held(&self) -> impl Iterator<Item = (AttemptRef, u32)> + '_ {
        self.held.iter().filter_map(|(attempt, id)| Some((*attempt, self.guests.get(id)?.pool)))
    }

    pub(crate) fn holds(&self, attempt: AttemptRef) -> bool {
        self.held.contains_key(&attempt)
    }

    /// All pools, as an offer says them.
    pub(crate) fn pools(&self) -> BTreeMap<u32, Pool> {
        let pool = |same: &Same| Pool { workers: same.workers, headers: same.headers.clone() };
        self.pools.iter().map(|(number, same)| (*number, pool(same))).collect()
    }

    fn remove(&mut self, id: GuestId) -> Option<AttemptRef> {
        let one = self.guests.remove(&id)?;
        // What waited for it goes into other queues.
        self.bound.retain(|_, of| *of != id);
        if let Some(same) = self.pools.get_mut(&one.pool) {
            same.free.retain(|free| *free != id);
            same.workers -= 1;
            if same.workers == 0 {
                self.pools.remove(&one.pool);
            }
        }
        if let Some(attempt) = one.holds {
            self.held.remove(&attempt);
        }
        one.holds
    }
}
