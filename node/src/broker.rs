//! The broker link (9990), ZeroMQ. Stub of the API; being filled in.
#![allow(clippy::todo, unused_variables, clippy::allow_attributes)]

use protocol::{Envelope, NodeId, ToMaster, ToNode};

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The leader.
    pub node: NodeId,
    /// `HOST:PORT` of its broker link.
    pub address: String,
    /// The session chosen for this connection.
    pub session: u64,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerTold {
    /// Someone takes this node for the leader.
    ToMaster {
        /// What it says.
        envelope: Envelope<ToMaster>,
    },
    /// The node followed says something.
    ToNode {
        /// What.
        envelope: Envelope<ToNode>,
    },
}

/// More waits for that peer than may; its session is dropped: nothing more leaves under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queueing a broker message: the peer's queue is full")]
pub struct Full;

/// The broker link could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BrokerError(String);

/// The running broker link. Dropping it closes it too.
#[derive(Debug)]
pub struct Broker {}

impl Broker {
    /// Binds `bind` (`tcp://HOST:PORT`). `told` is called from the link's own thread and must not block: it takes the batch, or
    /// gives it back when the inbox is full (`tx.try_send(batch).map_err(|e| e.into_inner())`); then it is offered again.
    ///
    /// # Errors
    /// [`BrokerError`], naming the address.
    pub fn start(
        bind: &str,
        told: impl Fn(Vec<BrokerTold>) -> Result<(), Vec<BrokerTold>> + Send + 'static,
    ) -> Result<Broker, BrokerError> {
        todo!()
    }

    /// Where it is bound (`tcp://HOST:PORT`, for port 0).
    #[must_use]
    pub fn address(&self) -> &str {
        todo!()
    }

    /// Follows a leader under a new session, or nobody. What waited for the one before is dropped.
    pub fn follow(&self, lead: Option<Lead>) {
        todo!()
    }

    /// Queues `native::encode(&Envelope<ToMaster>)` for the node followed. Never blocks.
    ///
    /// # Errors
    /// [`Full`]: the session is dropped; follow again under a new one.
    pub fn to_master(&self, envelope: Vec<u8>) -> Result<(), Full> {
        todo!()
    }

    /// Queues `native::encode(&Envelope<ToNode>)` for a node heard under that session. Never blocks; unknown sessions are dropped.
    ///
    /// # Errors
    /// [`Full`]: the session is dropped; the node will come with a new one.
    pub fn to_node(&self, peer: NodeId, session: u64, envelope: Vec<u8>) -> Result<(), Full> {
        todo!()
    }

    /// Closes the sockets and ends the thread; when it returns the port is free.
    pub fn close(self) {
        todo!()
    }
}
