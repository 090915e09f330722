//! Whether a job may begin by the bounds it shares with others of its key. The ledger counts what is committed
//! (`shares`); here comes what is on its way, and what workers still hold of jobs that the ledger has ended already.
//!
//! So the bounds hold twice: never do more jobs of a key run by the ledger, and never by what present workers say that they
//! hold. What is held back waits apart from the queue, and comes back by an event of its key, or when its time has come.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::master::Master;
use crate::roster::Peer;
use crate::shares::Full;
use protocol::{JobId, JobSpec, Share};

/// `Assign`s on their way of jobs that share bounds, and when to look again at what is held back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turnstile {
    of: BTreeMap<JobId, Share>,
    /// How many of each key.
    running: BTreeMap<String, u64>,
    /// How many of each key that name the same period.
    starts: BTreeMap<(String, u64), u64>,
    due: BTreeSet<(u64, Share)>,
}

impl Turnstile {
    /// A job's `Assign` is on its way.
    pub(crate) fn goes(&mut self, job: JobId, spec: &JobSpec) {
        let Some(share) = &spec.more.limits else { return };
        self.gone(job);
        *self.running.entry(share.key.clone()).or_default() += 1;
        if let Some((_, period_ms)) = share.rate {
            *self.starts.entry((share.key.clone(), period_ms)).or_default() += 1;
        }
        self.of.insert(job, share.clone());
    }

    /// It has arrived, or never will.
    pub(crate) fn gone(&mut self, job: JobId) -> Option<Share> {
        let share = self.of.remove(&job)?;
        if let Some((_, period_ms)) = share.rate {
            less(&mut self.starts, (share.key.clone(), period_ms));
        }
        less(&mut self.running, share.key.clone());
        Some(share)
    }

    fn running(&self, key: &String) -> u64 {
        self.running.get(key).copied().unwrap_or(0)
    }

    fn starts(&self, share: &Share) -> u64 {
        let Some((_, period_ms)) = share.rate.filter(|_| !self.starts.is_empty()) else { return 0 };
        self.starts.get(&(share.key.clone(), period_ms)).copied().unwrap_or(0)
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(&key)),
    }
}

impl Master {
    /// What keeps jobs with such bounds from beginning now.
    fn full(&self, ledger: &Ledger, share: &Share) -> Option<Full> {
        #[cfg(feature = "mutants")]
        if self.breaks(crate::Mutant::IgnoresShares) {
            return None;
        }
        let committed = u64::from(ledger.shares.running(&share.key)) + self.turnstile.running(&share.key);
        let present = self.peers.values().filter(|peer| peer.shown.alive);
        let held: u64 = present.map(|peer| u64::from(peer.held_of(&share.key))).sum();
        let starts = self.turnstile.starts(share);
        ledger.shares.full(share, self.now_ms, (committed.max(held), starts))
    }

    /// Whether a job with such bounds must wait; then it is looked at again by itself.
    pub(crate) fn must_wait(&mut self, ledger: &Ledger, spec: &JobSpec) -> bool {
        let Some(share) = &spec.more.limits else { return false };
        let Some(full) = self.full(ledger, share) else { return false };
        if let Full::Started { until_ms, .. } | Full::Keys { until_ms } = full {
            self.turnstile.due.insert((until_ms, share.clone()));
        }
        true
    }

    /// Something of a job's key may have become free.
    pub(crate) fn share_freed(&mut self, ledger: &Ledger, share: Option<&Share>) {
        let Some(share) = share else { return };
        let waiting: Vec<Share> = self.queue.held_back_by(&share.key).cloned().collect();
        for share in waiting {
            match self.full(ledger, &share) {
                None => self.queue.release(&share),
                Some(Full::Started { until_ms, .. } | Full::Keys { until_ms }) => {
                    self.turnstile.due.insert((until_ms, share));
                }
                Some(Full::Running(_)) => {}
            }
        }
    }

    /// Looks again at what was held back until now.
    pub(crate) fn let_through(&mut self) {
        while self.turnstile.due.first().is_some_and(|(at_ms, _)| *at_ms <= self.now_ms)
            && let Some((_, share)) = self.turnstile.due.pop_first()
        {
            self.queue.release(&share);
        }
    }
}

impl Peer {
    /// Attempts of jobs of this key that it holds, or is to hold.
    pub(crate) fn held_of(&self, key: &str) -> u32 {
        self.uses().held_of_key(key)
    }
}
