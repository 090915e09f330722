//! The consensus link between nodes (9991). Stub of the API; being filled in.
#![allow(clippy::todo, unused_variables, clippy::allow_attributes)]

use std::io;

use consensus::Message;
use protocol::{Boot, ClusterId, NodeId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Who this node is, for its hellos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkIdentity {
    /// Its cluster: others are refused.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Its start.
    pub boot: Boot,
    /// Its name.
    pub name: String,
    /// `HOST:PORT` where others reach its HTTP.
    pub http: String,
    /// `HOST:PORT` where others reach this link.
    pub link: String,
    /// `HOST:PORT` where others reach its broker link.
    pub broker: String,
}

/// What the link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTold {
    /// A peer says something.
    Message {
        /// Who.
        from: NodeId,
        /// What. Not checked yet: `Consensus::step` does.
        message: Message,
    },
    /// From here on messages to the peer leave.
    Up {
        /// Who.
        peer: NodeId,
    },
    /// A connection with the peer ended. Comes for each direction, so perhaps twice.
    Closed {
        /// Who.
        peer: NodeId,
        /// The peer's kernel closed or refused it: the process is gone (or wants to look so). False for silence, a full queue and
        /// whatever this side chose.
        refused: bool,
    },
    /// A hello told addresses, or a boot, that were not known yet.
    Address {
        /// Who.
        peer: NodeId,
        /// Its start.
        boot: Boot,
        /// Its name.
        name: String,
        /// `HOST:PORT` of its HTTP.
        http: String,
        /// `HOST:PORT` of its consensus link.
        link: String,
        /// `HOST:PORT` of its broker link.
        broker: String,
    },
    /// The peer does not want us, or is not who it should be. Said once until it changes.
    Refused {
        /// Who was dialled.
        peer: NodeId,
        /// Why.
        text: String,
    },
}

/// The running link. Dropping it closes everything, soon; [`Link::close`] waits for that.
#[derive(Debug)]
pub struct Link {}

impl Link {
    /// Listens at `HOST:PORT` and runs on the runtime of `handle`.
    ///
    /// # Errors
    /// The address cannot be listened at; the text names it.
    pub fn start(
        handle: &Handle,
        listen: &str,
        identity: LinkIdentity,
        told: mpsc::Sender<LinkTold>,
    ) -> io::Result<Link> {
        todo!()
    }

    /// Where it listens (for port 0).
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        todo!()
    }

    /// The peers wanted from now on, each with `HOST:PORT`; connections to others are closed.
    pub fn dial(&self, peers: Vec<(NodeId, String)>) {
        todo!()
    }

    /// Queues messages for a peer, in order. False: it is not connected, or its queue was full and the connection is being closed;
    /// they are dropped (the engine wants to hear `unreachable`).
    #[must_use]
    pub fn send(&self, to: NodeId, messages: Vec<Message>) -> bool {
        todo!()
    }

    /// Closes all sockets; when it is done the port is free.
    pub async fn close(self) {
        todo!()
    }
}
