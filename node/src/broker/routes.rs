//! Which ZeroMQ routing id leads to which session of which node.

use std::collections::BTreeMap;

use protocol::NodeId;
use protocol::limits::MEMBERS;

/// Sessions kept of one node: the present one, and the one before while its last messages are on their way.
const SESSIONS: usize = 2;
/// Sessions kept of all nodes.
const ROUTES: usize = SESSIONS * MEMBERS;

#[derive(Debug, Default)]
pub(super) struct Routes {
    of: BTreeMap<(NodeId, u64), Route>,
    clock: u64,
}

#[derive(Debug)]
struct Route {
    id: Vec<u8>,
    /// When it was last heard, counted in messages.
    heard: u64,
}

impl Routes {
    /// Somebody speaks under a session. False: that session came another way before; whoever this is gets nothing.
    pub(super) fn heard(&mut self, node: NodeId, session: u64, id: &[u8]) -> bool {
        self.clock += 1;
        if let Some(route) = self.of.get_mut(&(node, session)) {
            route.heard = self.clock;
            return route.id == id;
        }
        let of_node = |key: &(NodeId, u64)| key.0 == node;
        if self.of.keys().filter(|key| of_node(key)).count() >= SESSIONS {
            self.drop_oldest(of_node);
        } else if self.of.len() >= ROUTES {
            self.drop_oldest(|_| true);
        }
        self.of.insert((node, session), Route { id: id.to_vec(), heard: self.clock });
        true
    }

    pub(super) fn id(&self, node: NodeId, session: u64) -> Option<&[u8]> {
        self.of.get(&(node, session)).map(|route| route.id.as_slice())
    }

    pub(super) fn forget(&mut self, node: NodeId, session: u64) {
        self.of.remove(&(node, session));
    }

    fn drop_oldest(&mut self, among: impl Fn(&(NodeId, u64)) -> bool) {
        let oldest = self.of.iter().filter(|(key, _)| among(key)).min_by_key(|(_, route)| route.heard);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.of.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_the_way_it_came_first() {
        let mut routes = Routes::default();
        assert!(routes.heard(NodeId(1), 5, b"a"));
        assert!(!routes.heard(NodeId(1), 5, b"thief"));
        assert_eq!(routes.id(NodeId(1), 5), Some(b"a".as_slice()));
    }

    #[test]
    fn a_newer_session_pushes_out_the_oldest_of_its_node_only() {
        let mut routes = Routes::default();
        routes.heard(NodeId(2), 1, b"other");
        for session in 1..=3 {
            routes.heard(NodeId(1), session, b"x");
        }
        assert_eq!(routes.id(NodeId(1), 1), None);
        assert!(routes.id(NodeId(1), 2).is_some() && routes.id(NodeId(1), 3).is_some());
        assert!(routes.id(NodeId(2), 1).is_some());
    }

    #[test]
    fn invented_nodes_cannot_make_it_grow() {
        let mut routes = Routes::default();
        for node in 0..10_000 {
            routes.heard(NodeId(node), 1, b"x");
        }
        assert_eq!(routes.of.len(), ROUTES);
        assert!(routes.id(NodeId(9_999), 1).is_some());
    }
}
