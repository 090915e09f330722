//! The first words on a connection after the greeting, and who is let in.
//!
//! ```text
//!   dialler ──Hello──▶ listener          both within HANDSHAKE, at most HELLO_BYTES
//!   dialler ◀─Reply─── listener          Welcome(its own Hello), or Refused(why)
//! ```

use protocol::{Boot, ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use super::LinkIdentity;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// Messages of the dialler go to the listener.
    Messages,
    /// The dialler asks for bulk, one question at a time.
    Bulk,
}

/// Who speaks. Bounded by the size of its frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) boot: Boot,
    /// Whom the speaker takes the other for.
    pub(super) to: NodeId,
    /// Drawn at each start of a link: tells the same process dialling again from a copy of its data folder.
    pub(super) instance: u64,
    /// Drawn for each connection.
    pub(super) session: u64,
    pub(super) addresses: Addresses,
}

/// How others name and reach a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) name: String,
    pub(super) http: String,
    pub(super) link: String,
    pub(super) broker: String,
    pub(super) news: String,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    Welcome(Hello),
    Refused(String),
}

impl Hello {
    pub(super) fn new(us: &LinkIdentity, purpose: Purpose, to: NodeId, instance: u64, session: u64) -> Self {
        Self {
            purpose,
            cluster: us.cluster,
            node: us.node,
            boot: us.boot,
            to,
            instance,
            session,
            addresses: Addresses {
                name: us.name.clone(),
                http: us.http.clone(),
                link: us.link.clone(),
                broker: us.broker.clone(),
                news: us.news.clone(),
            },
        }
    }

    /// Why the speaker cannot be talked to; `wanted` is the node that was dialled, if one was.
    pub(super) fn objection(&self, us: &LinkIdentity, wanted: Option<NodeId>) -> Option<String> {
        if self.cluster != us.cluster {
            return Some(format!(
                "node {} belongs to another cluster, {}; if one of the two was recovered by hand from the other, `understudy repair` \
                 sets the folder of the one left behind aside, and with --join it joins as a new node",
                self.node, self.cluster
            ));
        }
        if self.to != us.node {
            return Some(format!("node {} was wanted, this is node {}", self.to, us.node));
        }
        if self.node == us.node {
            return Some(format!("two nodes have the id {}: one data folder is a copy", us.node));
        }
        match wanted {
            Some(wanted) if wanted != self.node => {
                Some(format!("node {wanted} was wanted, node {} answered", self.node))
            }
            _ => None,
        }
    }
}

/// What must be known of a live connection to judge a second one by the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) boot: Boot,
    pub(super) instance: u64,
}

impl Claim {
    /// Whether `newer`, from a node of the same id, takes this one's place. The same process may dial again (its old connection is
    /// broken and we have not seen that yet); a later start may; anything else is a second process with a copied id.
    pub(super) fn yields_to(self, newer: Claim) -> bool {
        newer.boot > self.boot || newer == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_with_one_id_the_later_start_stays_and_a_redial_is_no_second() {
        let claim = |boot, instance| Claim { boot: Boot(boot), instance };
        assert!(claim(3, 10).yields_to(claim(3, 10)), "a redial");
        assert!(claim(3, 10).yields_to(claim(4, 11)), "a later start");
        assert!(!claim(3, 10).yields_to(claim(3, 11)), "a copy that started as often");
        assert!(!claim(3, 10).yields_to(claim(2, 11)), "a copy that started less often");
    }
}
