//! Keys of the broker link, agreed on over the consensus link.
//!
//! ```text
//!   open_session(leader, session) ─▶ Key{session, tag, key} ══▶ SessionKeys::given at the leader
//!   SessionKeys::taken ◀──────────── Taken{tag} ◀═══════════════╛
//! ```
//!
//! A key lives as long as the connection over which it was handed out: when that ends, both ends forget it, and the next
//! connection brings a new one under a new tag. So whatever the broker link delivers late is of a tag that nobody knows.

use std::fmt;

use protocol::NodeId;

use super::letter::KeyLetter;
use super::table::Shared;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// What one session on the broker link is sealed by.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// The node at the other end.
    pub peer: NodeId,
    /// The session, as its messages name it.
    pub session: u64,
    /// Drawn with the key; each message names it.
    pub tag: u64,
    /// The key; none where links are not sealed.
    pub key: Option<[u8; KEY_BYTES]>,
}

/// Nobody sees the key in a log.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, session, tag, .. } = self;
        f.debug_struct("SessionKey")
            .field("peer", peer)
            .field("session", session)
            .field("tag", tag)
            .finish_non_exhaustive()
    }
}

/// Hears which keys the broker link may use. Called from the link's tasks; must not block.
pub trait SessionKeys: Send + Sync + 'static {
    /// A peer will speak to this node under this key. It takes the place of the one given before by that peer.
    fn given(&self, key: SessionKey);
    /// A peer has this key: this node may speak to it.
    fn taken(&self, key: SessionKey);
    /// The connection that brought the key with this tag is gone, or another session has begun.
    fn ended(&self, tag: u64);
}

/// The session this node wants with a leader.
pub(super) struct Wanted {
    peer: NodeId,
    session: u64,
    offered: Option<Offered>,
}

/// A key that is on its way to the leader, or there.
struct Offered {
    line: u64,
    key: SessionKey,
}

impl Shared {
    /// From now on this session is wanted, or none; what was agreed on before ends.
    pub(super) fn want_session(&self, with: Option<(NodeId, u64)>) {
        {
            let mut wanted = self.wanted();
            if wanted.as_ref().map(|wanted| (wanted.peer, wanted.session)) == with {
                return;
            }
            let old = wanted.take().and_then(|wanted| wanted.offered);
            *wanted = with.map(|(peer, session)| Wanted { peer, session, offered: None });
            if let Some(old) = old {
                self.keys.ended(old.key.tag);
            }
        }
        let Some((peer, _)) = with else { return };
        let queue = self.peers().get(&peer).and_then(|peer| peer.outgoing.clone());
        if let Some(queue) = queue
            && let Some(key) = self.offer(peer, queue.line)
        {
            queue.put_key(key);
        }
    }

    /// A new key for a peer with which a session is wanted; it is to be sent over this connection.
    pub(super) fn offer(&self, peer: NodeId, line: u64) -> Option<KeyLetter> {
        let mut wanted = self.wanted();
        let wanted = wanted.as_mut().filter(|wanted| wanted.peer == peer)?;
        let tag = match getrandom::u64() {
            Ok(tag) => tag,
            Err(error) => {
                tracing::error!(%error, "consensus link: drawing a key for the broker link");
                return None;
            }
        };
        let mut key = [0; KEY_BYTES];
        let key = match self.key.is_some() {
            true if getrandom::fill(&mut key).is_err() => return None,
            true => Some(key),
            false => None,
        };
        let session = wanted.session;
        let offered = Offered { line, key: SessionKey { peer, session, tag, key } };
        if let Some(old) = wanted.offered.replace(offered) {
            self.keys.ended(old.key.tag);
        }
        Some(KeyLetter { session, tag, key })
    }

    /// The peer has the key with this tag.
    pub(super) fn key_taken(&self, peer: NodeId, tag: u64) {
        let wanted = self.wanted();
        let offered =
            wanted.as_ref().filter(|wanted| wanted.peer == peer).and_then(|wanted| wanted.offered.as_ref());
        if let Some(offered) = offered.filter(|offered| offered.key.tag == tag) {
            self.keys.taken(offered.key.clone());
        }
    }

    /// A connection we dialled ended, and what was agreed on over it.
    pub(super) fn session_over(&self, peer: NodeId, line: u64) {
        let mut wanted = self.wanted();
        let Some(wanted) = wanted.as_mut().filter(|wanted| wanted.peer == peer) else { return };
        if let Some(old) = wanted.offered.take_if(|offered| offered.line == line) {
            self.keys.ended(old.key.tag);
        }
    }
}
