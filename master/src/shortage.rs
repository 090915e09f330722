//! What a leader does when voters run out of disk or memory: a full majority would stop the cluster, so new jobs are refused
//! before, and a leader that is short itself hands over. Whatever ends or takes back jobs always passes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::LIVE_SHARE;
use crate::master::{Master, Output};
use crate::roster::Peer;
use protocol::{Load, NodeId};

/// When a disk counts as nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBounds {
    /// Less free than this,
    pub low_bytes: u64,
    /// and less than this share of it.
    pub low_percent: u8,
}

impl Default for DiskBounds {
    fn default() -> Self {
        use protocol::limits::{DISK_LOW_BYTES, DISK_LOW_PERCENT};
        Self { low_bytes: DISK_LOW_BYTES, low_percent: DISK_LOW_PERCENT }
    }
}

impl DiskBounds {
    /// Whether the disk of this node is nearly full; not so when it does not say.
    #[must_use]
    pub fn are_broken_by(&self, load: &Load) -> bool {
        let share_bytes = load.disk_total_bytes / 100 * u64::from(self.low_percent);
        load.disk_total_bytes > 0 && load.disk_free_bytes < self.low_bytes.min(share_bytes)
    }
}

impl Master {
    /// Why no new job may be taken now, in words; none: it may.
    pub(crate) fn shortage(&self, ledger: &Ledger) -> Option<String> {
        self.disks(ledger).or_else(|| self.memory(ledger))
    }

    /// A leader on a disk that is nearly full gives the lead to a voter with more room, if there is one.
    pub(crate) fn flee_full_disk(&mut self) {
        let me = self.settings.me;
        let short = |peer: &Peer| self.settings.disk.are_broken_by(&peer.shown.load);
        if !self.electorate.votes(me) || !self.peers.get(&me).is_some_and(short) {
            return;
        }
        let others =
            self.electorate.voters().iter().filter(|id| **id != me).filter_map(|id| self.peers.get(id));
        let fit = others.filter(|peer| peer.fit() && !short(peer));
        let best = fit.max_by_key(|peer| (peer.shown.load.disk_free_bytes, peer.shown.id));
        if let Some(to) = best.map(|peer| peer.shown.id) {
            self.outputs.push(Output::Transfer { to: [to].into() });
        }
    }

    /// A majority of the voters must have room; one that was not heard yet is taken to have some.
    fn disks(&self, ledger: &Ledger) -> Option<String> {
        let load = |id: &NodeId| self.peers.get(id).map(|peer| peer.shown.load).unwrap_or_default();
        let voters = self.electorate.voters().len();
        let short: Vec<&NodeId> = self
            .electorate
            .voters()
            .iter()
            .filter(|id| self.settings.disk.are_broken_by(&load(id)))
            .collect();
        if 2 * (voters - short.len()) > voters || short.is_empty() {
            return None;
        }
        let words = |id: &&NodeId| {
            let (name, load) = (name(ledger, **id), load(id));
            let (free, total) = (load.disk_free_bytes >> 20, load.disk_total_bytes >> 20);
            format!("{name} has {free} MiB free of {total} MiB")
        };
        let each: Vec<String> = short.iter().map(words).collect();
        Some(format!("the disks of too many voters are nearly full: {}", each.join(", ")))
    }

    /// All voters hold all open jobs in memory.
    fn memory(&self, ledger: &Ledger) -> Option<String> {
        let heard = self.electorate.voters().iter().filter_map(|id| self.peers.get(id));
        let smallest = heard
            .filter(|peer| peer.shown.load.memory_total_bytes > 0)
            .min_by_key(|peer| (peer.shown.load.memory_total_bytes, peer.shown.id))?;
        let most_bytes = smallest.shown.load.memory_total_bytes / LIVE_SHARE;
        (ledger.live_bytes() > most_bytes).then(|| {
            format!(
                "the open jobs take {} MiB, more than one part in {LIVE_SHARE} of the memory of {} ({} MiB)",
                ledger.live_bytes() >> 20,
                name(ledger, smallest.shown.id),
                smallest.shown.load.memory_total_bytes >> 20
            )
        })
    }
}

fn name(ledger: &Ledger, id: NodeId) -> String {
    ledger.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
}
