//! The broker link (9990): forwards, reports and results to the leader; dispatch and answers back. ZeroMQ.
//!
//! ```text
//!   this node ─ to_master ─▶ DEALER ════ tcp ════▶ ROUTER of the leader ─▶ BrokerTold::ToMaster
//!   BrokerTold::ToNode ◀──── DEALER ◀═══ tcp ════  ROUTER ◀─ to_node(peer, session)
//! ```
//!
//! Every node binds a ROUTER, whoever leads; a node that does not lead drops what comes in there (the stage does). Each
//! session to a leader has a DEALER and a key of its own, which the consensus link hands over ([`crate::link`]). Messages
//! are numbered and sealed by that key; what is of an ended session, was heard before or was not sealed by it is dropped
//! and counted. One thread owns the sockets. It may lose messages (a full lane, a cut, a leader that went away) and never repeats one: whoever needs an answer repeats.
//! A node that leads does not talk to itself here.
//!
//! **Leaves out:** who gets a key (the consensus link); whether a message is of the right term (the minds).

mod counts;
mod mailbox;
mod sealing;
mod sessions;
mod turn;

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread::JoinHandle;

use protocol::limits::MESSAGE_BYTES;
use protocol::{Envelope, NodeId, ToMaster, ToNode};
use zmq::Context;

pub use counts::{BrokerCounts, Dropped};
use mailbox::{Mailbox, To};

use crate::link::SessionKeys;
use turn::{IO_THREADS, ROUTER_THREAD, Turn, configure};

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The leader.
    pub node: NodeId,
    /// `HOST:PORT` of its broker link. A name is resolved at each attempt, to IPv4; IPv6 is given as `[ADDRESS]:PORT`.
    pub address: String,
    /// The session chosen for this connection, at random.
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
    /// The node followed says something, under the present session.
    ToNode {
        /// What.
        envelope: Envelope<ToNode>,
    },
}

/// More waited for that peer than may; all that waited for it is dropped. What is put in afterwards may leave again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queueing a broker message: the peer's queue was full and is dropped")]
pub struct Full;

/// The broker link could not be started.
#[derive(Debug, thiserror::Error)]
#[error("binding the broker link to {address}: {why}")]
pub struct BrokerError {
    /// Where.
    pub address: String,
    /// Why not.
    pub why: String,
}

/// The running broker link. Dropping it closes it too.
#[derive(Debug)]
pub struct Broker {
    address: String,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Binds `bind` (`tcp://HOST:PORT`). `told` is called from the link's own thread and must not block: it takes the batch, or
    /// gives it back when the inbox is full (`tx.try_send(batch).map_err(|e| e.into_inner())`); then it is offered again, and
    /// nothing is read meanwhile. `counts` counts what is let go.
    ///
    /// # Errors
    /// [`BrokerError`], naming the address.
    pub fn start(
        bind: &str,
        told: impl Fn(Vec<BrokerTold>) -> Result<(), Vec<BrokerTold>> + Send + 'static,
        counts: BrokerCounts,
    ) -> Result<Broker, BrokerError> {
        let failed = |why: String| BrokerError { address: bind.to_owned(), why };
        let context = Context::new();
        context.set_io_threads(IO_THREADS).map_err(|error| failed(error.to_string()))?;
        let router = bound(&context, bind).map_err(failed)?;
        let address = match router.get_last_endpoint() {
            Ok(Ok(address)) => address,
            Ok(Err(_)) => return Err(failed("its address is no text".to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mailbox = Arc::new(Mailbox::new().map_err(|error| failed(error.to_string()))?);
        let turn = Turn::new(context, router, Arc::clone(&mailbox), told, counts);
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || turn.run())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Broker { address, mailbox, thread: Some(thread) })
    }

    /// Where it is bound (`tcp://HOST:PORT`, for port 0).
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the consensus link brings the keys of sessions. Without one nothing is said and nothing heard.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn SessionKeys> {
        Arc::clone(&self.mailbox) as Arc<dyn SessionKeys>
    }

    /// Follows a leader under a new session, or nobody. What waited for the one before is dropped.
    pub fn follow(&self, lead: Option<Lead>) {
        self.mailbox.follow(lead);
    }

    /// Queues `native::encode(&Envelope<ToMaster>)` for the node followed; dropped when none is, kept until it has our key. Never
    /// blocks.
    ///
    /// # Errors
    /// [`Full`].
    pub fn to_master(&self, envelope: Vec<u8>) -> Result<(), Full> {
        self.put(To::Master, envelope)
    }

    /// Queues `native::encode(&Envelope<ToNode>)` for a node heard under that session; dropped when it was not. Never blocks.
    ///
    /// # Errors
    /// [`Full`].
    pub fn to_node(&self, peer: NodeId, session: u64, envelope: Vec<u8>) -> Result<(), Full> {
        self.put(To::Node(peer, session), envelope)
    }

    fn put(&self, to: To, envelope: Vec<u8>) -> Result<(), Full> {
        if envelope.len() > MESSAGE_BYTES {
            // ZeroMQ would let it vanish without a word and cut the connection.
            tracing::error!(
                ?to,
                bytes = envelope.len(),
                "broker link: a message is larger than any may be, it is dropped"
            );
            return Ok(());
        }
        self.mailbox.put(to, envelope)
    }

    /// Closes the sockets and ends the thread; when it returns the port is free.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.mailbox.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("broker link: its thread ended by a panic");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// ZeroMQ does not resolve names when it binds, so this does.
fn bound(context: &Context, bind: &str) -> Result<zmq::Socket, String> {
    let host_port = bind.strip_prefix("tcp://").ok_or("it is no tcp:// address")?;
    let mut addresses: Vec<_> = host_port.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    addresses.sort_by_key(std::net::SocketAddr::is_ipv6);
    let address = addresses.first().ok_or("the name has no address")?;
    let make = || {
        let router = context.socket(zmq::ROUTER)?;
        configure(&router, address.is_ipv6())?;
        router.set_affinity(ROUTER_THREAD)?;
        router.set_router_mandatory(true)?;
        router.bind(&format!("tcp://{address}"))?;
        Ok(router)
    };
    make().map_err(|error: zmq::Error| error.to_string())
}

#[cfg(test)]
mod tests;
