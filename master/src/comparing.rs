//! Whether all members built the same ledger. Each says with its reports what its digest was at the last checkpoint. Who
//! differs from a majority of the voters is odd and has to stop; where there is no such majority, people have to look.

use alloc::collections::{BTreeMap, VecDeque};

use crate::limits::CHECKPOINTS;
use crate::master::{Master, Output};
use protocol::{Checkpoint, NodeId, ToNode};

/// What a leader knows of its own ledger and others'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparing {
    own: VecDeque<Checkpoint>,
    /// Whether each node's ledger was as ours when last compared. One that differs once differs for ever.
    same: BTreeMap<NodeId, bool>,
}

impl Comparing {
    /// Whether it is as ours; none while we have nothing to compare with.
    fn is_same(&self, theirs: Checkpoint) -> Option<bool> {
        let own = self.own.iter().find(|own| own.index == theirs.index)?;
        Some(own.digest == theirs.digest)
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.same.remove(&node);
    }
}

impl Master {
    /// This node's own ledger passed a checkpoint.
    pub fn passed(&mut self, checkpoint: Checkpoint) {
        let own = &mut self.comparing.own;
        if own.len() >= CHECKPOINTS {
            own.pop_front();
        }
        own.push_back(checkpoint);
    }

    /// A node says where it passed its last one.
    pub(crate) fn compare_digest(&mut self, from: NodeId, theirs: Checkpoint) {
        let Some(is_same) = self.comparing.is_same(theirs) else { return };
        let before = self.comparing.same.insert(from, is_same);
        if is_same {
            return;
        }
        let index = theirs.index;
        if before != Some(false) {
            self.outputs.push(Output::Differs { node: from, index });
        }
        let me = self.settings.me;
        let of = |wanted: bool| {
            let same = |node: &NodeId| self.comparing.same.get(node) == Some(&wanted);
            self.electorate.voters().iter().filter(|node| same(node) || (wanted && **node == me)).count()
        };
        let majority = self.electorate.voters().len() / 2 + 1;
        if of(true) >= majority {
            self.send(from, ToNode::Odd { index });
        } else if of(false) >= majority {
            self.outputs.push(Output::Odd { index });
        }
    }
}
