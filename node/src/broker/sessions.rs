//! The sessions of nodes that speak to this one: the key of each, and which ZeroMQ routing id leads to it.
//!
//! A routing id is the ROUTER's own number for a connection, so nobody can claim another's. A session's way back is the
//! connection on which its newest message came that could be opened: whoever has not the key is nowhere.

use std::collections::BTreeMap;

use protocol::NodeId;

use super::counts::Dropped;
use super::sealing::{Sealing, Way, read_head};
use crate::link::SessionKey;

/// One session a node, and only of nodes that are connected on the consensus link.
#[derive(Default)]
pub(super) struct Sessions {
    of: BTreeMap<NodeId, Session>,
    tags: BTreeMap<u64, NodeId>,
}

pub(super) struct Session {
    number: u64,
    pub(super) sealing: Sealing,
    /// Empty until it was heard.
    pub(super) route: Vec<u8>,
}

impl Sessions {
    /// Takes over the keys that are good now; what is of another tag ends.
    pub(super) fn keep_up(&mut self, given: &BTreeMap<NodeId, SessionKey>) {
        self.of.retain(|node, session| given.get(node).is_some_and(|key| key.tag == session.sealing.tag));
        for (node, key) in given {
            self.of.entry(*node).or_insert_with(|| Session {
                number: key.session,
                sealing: Sealing::new(key.tag, key.key.as_ref(), Way::ToNode),
                route: Vec::new(),
            });
        }
        self.tags = self.of.iter().map(|(node, session)| (session.sealing.tag, *node)).collect();
    }

    /// Opens what came from the connection `id`: the message, its sender, and the session it must name.
    pub(super) fn open<'a>(
        &mut self,
        id: &[u8],
        head: &[u8],
        body: &'a mut [u8],
    ) -> Result<(NodeId, u64, &'a [u8]), Dropped> {
        let (tag, _) = read_head(head).ok_or(Dropped::Unreadable)?;
        let node = *self.tags.get(&tag).ok_or(Dropped::Ended)?;
        let session = self.of.get_mut(&node).ok_or(Dropped::Ended)?;
        let body = session.sealing.open(head, body)?;
        if session.route != id {
            session.route = id.to_vec();
        }
        Ok((node, session.number, body))
    }

    /// A session that was heard.
    pub(super) fn heard(&mut self, node: NodeId, number: u64) -> Option<&mut Session> {
        self.of.get_mut(&node).filter(|session| session.number == number && !session.route.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: u64, tag: u64) -> SessionKey {
        SessionKey { peer: NodeId(2), session, tag, key: Some([9; 32]) }
    }

    fn says(tag: u64) -> ([u8; 16], Vec<u8>) {
        let mut node = Sealing::new(tag, Some(&[9; 32]), Way::ToMaster);
        let (head, mut body) = (node.head(), b"hello".to_vec());
        assert!(node.seal(&mut body));
        (head, body)
    }

    #[test]
    fn a_session_is_where_its_newest_good_message_came_from_and_a_strangers_is_nowhere() {
        let mut sessions = Sessions::default();
        sessions.keep_up(&[(NodeId(2), key(5, 70))].into());
        assert!(sessions.heard(NodeId(2), 5).is_none());
        let (head, body) = says(70);
        let mut sealed = body.clone();
        let opened = sessions.open(b"way", &head, &mut sealed);
        assert_eq!(opened, Ok((NodeId(2), 5, b"hello".as_slice())));
        assert_eq!(sessions.open(b"thief", &head, &mut body.clone()), Err(Dropped::Repeated));
        let mut later = head;
        later[15] = 9;
        assert_eq!(sessions.open(b"thief", &later, &mut body.clone()), Err(Dropped::Forged));
        assert_eq!(sessions.heard(NodeId(2), 5).unwrap().route, b"way");
        assert!(sessions.heard(NodeId(2), 4).is_none());
    }

    #[test]
    fn another_tag_ends_the_session_before_and_the_same_one_keeps_its_numbers() {
        let mut sessions = Sessions::default();
        sessions.keep_up(&[(NodeId(2), key(5, 70))].into());
        let (head, body) = says(70);
        assert!(sessions.open(b"way", &head, &mut body.clone()).is_ok());
        sessions.keep_up(&[(NodeId(2), key(5, 70)), (NodeId(3), key(1, 71))].into());
        assert_eq!(sessions.open(b"way", &head, &mut body.clone()), Err(Dropped::Repeated));
        sessions.keep_up(&[(NodeId(2), key(5, 80))].into());
        assert_eq!(sessions.open(b"way", &head, &mut body.clone()), Err(Dropped::Ended));
        sessions.keep_up(&BTreeMap::new());
        assert!(sessions.of.is_empty() && sessions.tags.is_empty());
    }
}
