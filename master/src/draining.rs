//! Nodes that are to get no new attempts because somebody asked. It is a property of the member, in the log: every leader to
//! come knows it, and the node itself, whatever it is started with.

use alloc::string::ToString;

use crate::ledger::Ledger;
use crate::master::{Asker, Master};
use protocol::{Answer, Change, Command, NodeId, Refusal};

impl Master {
    /// Somebody wants a node to get no new attempts, or some again.
    pub(crate) fn drain_node(&mut self, ledger: &Ledger, asker: Asker, node: NodeId, draining: bool) {
        if let Some(answer) = so_already(ledger, node, draining) {
            self.answer(asker, answer);
            return;
        }
        let wish = (asker, node, draining);
        if !self.drains.contains(&wish) {
            self.push(Command::Configure(Change::Drain { node, draining }));
            self.drains.push(wish);
        }
    }

    /// Answers those whose wish is so now. Where a change did nothing, their wish is looked at anew.
    pub(crate) fn drained(&mut self, ledger: &Ledger, of: Option<NodeId>) {
        let wishes = core::mem::take(&mut self.drains);
        for (asker, node, draining) in wishes {
            if of.is_none_or(|of| of == node) {
                self.drain_node(ledger, asker, node, draining);
            } else {
                self.drains.push((asker, node, draining));
            }
        }
    }
}

/// What is answered when nothing has to be done.
fn so_already(ledger: &Ledger, node: NodeId, draining: bool) -> Option<Answer> {
    if ledger.member(node).is_none() {
        let text = "it is no member of the cluster any more".to_string();
        return Some(Answer::Refused(Refusal::Impossible(text)));
    }
    (ledger.is_draining(node) == draining).then_some(Answer::Done)
}
