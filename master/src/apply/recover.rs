//! A recovery by hand, as every node applies it.

use alloc::string::ToString;

use super::Turn;
use crate::limits::RECOVERIES;
use protocol::{ClusterId, NodeId, What};

impl Turn<'_> {
    /// The next epoch begins. The name of the node that it begins on is kept: it may bear none one day.
    pub(super) fn recover(&mut self, epoch: u32, node: NodeId, former: ClusterId) -> Option<()> {
        (epoch == self.ledger.epoch() + 1 && epoch <= RECOVERIES).then_some(())?;
        self.ledger.former.push(former);
        let name = self.ledger.member(node).map_or_else(|| node.to_string(), |member| member.name.clone());
        self.fact(What::Recovered { epoch, node, name });
        Some(())
    }
}
