//! What one turn says on the broker link: all of it for one peer leaves as few messages, not as many.

use std::collections::BTreeMap;

use protocol::{Envelope, NodeId, ToMaster, ToNode, native};

use crate::broker::{Broker, Full};

/// A message is closed when it has so many bytes; one envelope alone may be larger.
const LETTER_BYTES: usize = 256 << 10;

/// Envelopes of one turn on their way to the link.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    to_master: Vec<u8>,
    to_nodes: BTreeMap<(NodeId, u64), Vec<u8>>,
}

impl Letters {
    /// Adds what is said to the leader followed.
    ///
    /// # Errors
    /// [`Full`]: the link had no room for what was gathered before.
    pub(crate) fn for_master(&mut self, broker: &Broker, envelope: &Envelope<ToMaster>) -> Result<(), Full> {
        self.to_master = native::append(envelope, std::mem::take(&mut self.to_master));
        if self.to_master.len() < LETTER_BYTES { Ok(()) } else { self.post_to_master(broker) }
    }

    /// Adds what is said to a node. What a full link loses, full lists and repeats make up for.
    pub(crate) fn for_node(&mut self, broker: &Broker, to: NodeId, envelope: &Envelope<ToNode>) {
        let session = envelope.session;
        let letter = self.to_nodes.entry((to, session)).or_default();
        *letter = native::append(envelope, std::mem::take(letter));
        if letter.len() >= LETTER_BYTES {
            let _ = broker.to_node(to, session, std::mem::take(letter));
        }
    }

    /// Hands over what is gathered for the leader: also before another one is followed.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn post_to_master(&mut self, broker: &Broker) -> Result<(), Full> {
        match std::mem::take(&mut self.to_master) {
            letter if letter.is_empty() => Ok(()),
            letter => broker.to_master(letter),
        }
    }

    /// Hands over all the rest.
    ///
    /// # Errors
    /// [`Full`]: what was for the leader is lost.
    pub(crate) fn post(mut self, broker: &Broker) -> Result<(), Full> {
        for ((to, session), letter) in std::mem::take(&mut self.to_nodes) {
            if !letter.is_empty() {
                let _ = broker.to_node(to, session, letter);
            }
        }
        self.post_to_master(broker)
    }
}
