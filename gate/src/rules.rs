//! What a port lets in: chosen by the program for each port.

use std::time::Duration;

use crate::error::GateError;
use crate::limits;

/// What a peer's socket says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks and waits for the answer.
    Req,
    /// Asks without waiting.
    Dealer,
    /// Routes by identity itself.
    Router,
    /// Only sends.
    Push,
    /// Only subscribes.
    Sub,
    /// Subscribes for others.
    Xsub,
    /// Talks to one peer alone.
    Pair,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Req, Self::Dealer, Self::Router, Self::Push, Self::Sub, Self::Xsub, Self::Pair];

    /// The word of the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Req => "REQ",
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
            Self::Push => "PUSH",
            Self::Sub => "SUB",
            Self::Xsub => "XSUB",
            Self::Pair => "PAIR",
        }
    }

    /// The kind of that word; none for kinds that have no business at a gate (REP, PULL, PUB, …).
    pub(crate) fn read(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word)
    }

    /// Whether such a peer sends nothing but subscriptions.
    pub(crate) fn only_subscribes(self) -> bool {
        matches!(self, Self::Sub | Self::Xsub)
    }
}

/// What a port lets in, and how much of it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Kinds of peers that are served; others are closed.
    pub kinds: &'static [Kind],
    /// Bytes of one frame's body.
    pub frame_bytes: usize,
    /// Bytes of all bodies of one message.
    pub message_bytes: usize,
    /// Frames of one message.
    pub message_frames: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64 network).
    pub connections_an_address: usize,
    /// Bytes of bodies that may have gone to libzmq without the program having [`taken`](crate::Gate::taken) them, all
    /// connections together. `usize::MAX`: they are not counted, and the program need not say what it takes.
    pub unread_bytes: usize,
    /// Time from a connection's beginning until its introduction is complete.
    pub handshake: Duration,
    /// Time from a message's first byte until it is complete, without the time in which the program kept it waiting.
    pub message: Duration,
    /// Topics a SUB or XSUB peer may be subscribed to at once. libzmq keeps about 50 bytes for each byte of a topic, and a
    /// topic is at most `frame_bytes` long.
    pub subscriptions: usize,
}

impl Rules {
    /// Whether unread bytes are counted.
    pub(crate) fn counts_unread(&self) -> bool {
        self.unread_bytes != usize::MAX
    }

    /// Refuses rules under which a message that is allowed could never arrive.
    pub(crate) fn check(&self) -> Result<(), GateError> {
        let positive = [
            ("frame_bytes", self.frame_bytes),
            ("message_bytes", self.message_bytes),
            ("message_frames", self.message_frames),
            ("connections", self.connections),
            ("connections_an_address", self.connections_an_address),
            ("kinds", self.kinds.len()),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(GateError::Rules { field, why: "is zero, so nothing could pass".to_string() });
        }
        let share = self.unread_bytes / limits::CONNECTION_SHARE;
        if self.message_bytes > share {
            let why = format!("is {}, more than the {share} one connection may hold", self.message_bytes);
            return Err(GateError::Rules { field: "message_bytes", why });
        }
        Ok(())
    }
}
