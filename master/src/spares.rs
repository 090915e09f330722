//! Spare attempts: committed to a node ahead of a free slot, so that its slots do not stand still while the next commit is
//! under way. One that waits all the same is asked back as soon as another node could begin it.

use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::SPARE_PATIENCE_MS;
use crate::master::Master;
use crate::placement::Policy;
use crate::roster::{Peer, Spares};
use protocol::{NodeId, Report, ToNode};

impl Master {
    /// A node says what waits there: asks for those back that waited long, at most as many as others could begin now. It
    /// gives back what it has not begun ([`protocol::LossCause::Unbegun`]) and keeps the rest.
    pub(crate) fn ask_back(&mut self, ledger: &Ledger, from: NodeId, report: &Report) {
        let Some(peer) = self.peers.get(&from) else { return };
        // With a queue for each worker, what waits stays where it is.
        if report.waiting.is_empty() || self.settings.policy == Policy::Multi {
            return;
        }
        let others = |peer: &&Peer| peer.shown.id != from && peer.has_room();
        let free: Vec<NodeId> = self.peers.values().filter(others).map(|peer| peer.shown.id).collect();
        let room: u32 = free.iter().filter_map(|id| self.peers.get(id)).map(Peer::room).sum();
        let mut back = Vec::new();
        // The last to come would be the last to begin.
        for attempt in report.waiting.iter().rev() {
            if back.len() >= room as usize {
                break;
            }
            let slot = peer.slots().get(attempt).filter(|slot| !slot.planned);
            let is_late =
                slot.is_some_and(|slot| self.now_ms.saturating_sub(slot.since_ms) >= SPARE_PATIENCE_MS);
            let current = ledger.changed_job(attempt.job).filter(|job| {
                job.current().is_some_and(|current| current.number == attempt.attempt && current.node == from)
            });
            // What may have one attempt at most would not get another one.
            let current = current.filter(|job| !job.spec.more.at_most_once);
            if is_late && current.is_some_and(|job| self.place(&job.spec, &free, Spares::None).is_some()) {
                back.push(*attempt);
            }
        }
        if !back.is_empty() {
            self.send(from, ToNode::Recall { attempts: back });
        }
    }
}
