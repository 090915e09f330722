//! Changes of the cluster itself: who belongs to it, and whether it takes jobs.

use super::Turn;
use protocol::{Change, What};

impl Turn<'_> {
    pub(super) fn configure(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Member(member) => {
                self.ledger.members.join(member).then_some(())?;
                self.fact(What::Joined { node: member.id, name: member.name.clone() });
            }
            Change::Open => {
                (!self.ledger.open).then_some(())?;
                self.ledger.open = true;
                self.fact(What::Opened);
            }
            Change::Leave(node) => {
                self.ledger.members.leave(*node).then_some(())?;
                self.ledger.gateways.retire(*node);
                self.fact(What::Left { node: *node });
            }
            Change::Drain { node, draining } => {
                self.ledger.members.drain(*node, *draining).then_some(())?;
                self.fact(What::Drained { node: *node, draining: *draining });
            }
        }
        Some(())
    }
}
