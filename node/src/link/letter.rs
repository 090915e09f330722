//! What goes over a connection for messages after its hello, each way.

use std::fmt;

use consensus::{Message, MessageRead};
use serde::{Deserialize, Serialize};

use super::session::KEY_BYTES;

/// From the dialler, as it is written.
#[derive(Serialize)]
pub(super) enum LetterOut<'a> {
    Message(&'a Message),
    Key(KeyLetter),
}

/// From the dialler, as it is read.
#[derive(Deserialize)]
pub(super) enum Letter<'a> {
    #[serde(borrow)]
    Message(MessageRead<'a>),
    Key(KeyLetter),
}

/// From the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Back {
    /// It has the key with this tag: what is sealed by it is opened from now on.
    Taken { tag: u64 },
}

/// The dialler will speak on the broker link, under this session and sealed by this key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyLetter {
    pub(super) session: u64,
    pub(super) tag: u64,
    /// None where this link is not sealed either.
    pub(super) key: Option<[u8; KEY_BYTES]>,
}

/// Nobody sees the key in a log.
impl fmt::Debug for KeyLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLetter")
            .field("session", &self.session)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}
