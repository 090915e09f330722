//! The consensus link between nodes (9991): TCP, sealed by the cluster key where there is one; one connection for each direction of a pair, and one for bulk when
//! somebody asks for bulk.
//!
//! ```text
//!   dial(peers) ─▶ one dialler a peer ══ messages ══▶ listener of the peer ─▶ LinkTold::Message
//!   send ─▶ queue ─┘        ◀── signs of life ──
//!   ask_bulk ─────────────────── question ─────▶ BulkServe
//!            ◀────────────────── answer ────────
//! ```
//!
//! A connection is a session: what waits for it ends with it, and nothing is ever sent twice. Both ends say every 200 ms
//! that they are there; one second of silence, a full queue or bytes that are no message close it. The end of a
//! connection is told at once, and whether the other kernel did it: that is how a dead leader is noticed long before an
//! election timeout. Addresses are hints: a name is resolved anew at each attempt.
//!
//! A peer without the key, or with another one, is refused by both ends, and both say so. Over this link the nodes also hand
//! each other the keys of the broker link ([`SessionKeys`]).
//!
//! **Leaves out:** what is asked in bulk ([`crate::bulk`]); whether a message makes sense (`consensus`).

mod bulk;
mod bulk_listener;
mod dialler;
mod frame;
mod greeting;
mod hello;
mod letter;
mod line;
mod listener;
mod queue;
mod seal;
mod session;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consensus::Message;
use protocol::{Boot, ClusterId, NodeId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use table::{Dialler, Peer, Shared};

use crate::cluster_key::ClusterKey;

pub use bulk::{BULK_PATIENCE, BulkAnswer, BulkError, BulkHandle, BulkServe};
pub(crate) use session::KEY_BYTES;
pub use session::{SessionKey, SessionKeys};

/// Connecting, and each half of a handshake, end within this.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// Bytes of a hello and of its answer.
const HELLO_BYTES: usize = 8 << 10;

/// Held by every task; when none is left, all sockets are closed.
type Alive = mpsc::Sender<()>;

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
    /// `HOST:PORT` where others hear its news.
    pub news: String,
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
        /// `HOST:PORT` of its news.
        news: String,
    },
    /// Somebody who dialled was not let in. The same is said once a minute.
    Stranger {
        /// From where, and why.
        text: String,
    },
    /// The peer does not want us, or is not who it should be. Said once until it changes.
    Refused {
        /// Who was dialled.
        peer: NodeId,
        /// Where it was dialled, and why.
        text: String,
    },
}

/// Who serves what comes over the link beside messages.
#[derive(Clone)]
pub struct Serving {
    /// Answers questions for bulk, on the link's runtime.
    pub bulk: Arc<dyn BulkServe>,
    /// Hears of keys for the broker link.
    pub keys: Arc<dyn SessionKeys>,
    /// Where bulk is served: much of it must not be in the way of messages.
    pub elsewhere: Handle,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// The running link. Dropping it closes everything, soon; [`Link::close`] waits for that.
pub struct Link {
    handle: Handle,
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
    alive: Alive,
    ended: mpsc::Receiver<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Link {
    /// Listens at `HOST:PORT` and runs on the runtime of `handle`. What it hears goes to `told`; a full inbox slows the peers down.
    /// With a `key` every connection is sealed by it; without one, none is.
    ///
    /// # Errors
    /// The address cannot be listened at; the text names it.
    pub fn start(
        handle: &Handle,
        listen: &str,
        identity: LinkIdentity,
        told: mpsc::Sender<LinkTold>,
        serving: Serving,
        key: Option<ClusterKey>,
    ) -> io::Result<Link> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("listening at {listen} for the consensus link: {error}"))
        };
        let socket = TcpListener::bind(listen).map_err(explain)?;
        socket.set_nonblocking(true).map_err(explain)?;
        let address = socket.local_addr().map_err(explain)?;
        let instance = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let socket = {
            let _inside = handle.enter();
            tokio::net::TcpListener::from_std(socket).map_err(explain)?
        };
        let shared = Arc::new(Shared::new(identity, instance, told, serving, key));
        let (alive, ended) = mpsc::channel(1);
        let listener = handle.spawn(listener::run(Arc::clone(&shared), socket, alive.clone()));
        Ok(Link { handle: handle.clone(), address, shared, listener, alive, ended })
    }

    /// Where it listens (for port 0).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The peers wanted from now on, each with `HOST:PORT`. Connections we dialled to others are closed; a changed address is used
    /// at the next attempt.
    pub fn dial(&self, peers: Vec<(NodeId, String)>) {
        let us = self.shared.us.node;
        let wanted: BTreeMap<NodeId, String> = peers.into_iter().filter(|(peer, _)| *peer != us).collect();
        let mut table = self.shared.peers();
        table.retain(|node, peer| {
            if !wanted.contains_key(node) {
                peer.hang_up();
            }
            peer.is_of_use()
        });
        for (node, address) in wanted {
            let peer = table.entry(node).or_default();
            match &peer.dialler {
                Some(dialler) => {
                    dialler.address.send_if_modified(|old| {
                        *old != address && {
                            *old = address;
                            true
                        }
                    });
                }
                None => peer.dialler = Some(self.dialler(node, address)),
            }
        }
    }

    fn dialler(&self, node: NodeId, address: String) -> Dialler {
        let (address, heard) = watch::channel(address);
        let nudge = Arc::new(Notify::new());
        let (shared, alive, nudged) = (Arc::clone(&self.shared), self.alive.clone(), Arc::clone(&nudge));
        let task = self.handle.spawn(async move {
            let _alive = alive;
            dialler::run(shared, node, heard, nudged).await;
        });
        Dialler { address, task: task.abort_handle(), nudge }
    }

    /// Queues messages for a peer, in order. False: it is not connected, or its queue was full and the connection is being closed;
    /// they are dropped (the engine wants to hear `unreachable`).
    #[must_use]
    pub fn send(&self, to: NodeId, messages: Vec<Message>) -> bool {
        let queue = self.shared.peers().get(&to).and_then(|peer| peer.outgoing.clone());
        queue.is_some_and(|queue| queue.put(messages).is_ok())
    }

    /// The session wanted on the broker link: its key is handed to that peer now, and again over each new connection.
    pub fn open_session(&self, with: Option<(NodeId, u64)>) {
        self.shared.want_session(with);
    }

    /// What other tasks ask peers for bulk with; of no more use once the link is closed.
    #[must_use]
    pub fn bulk(&self) -> BulkHandle {
        BulkHandle::new(Arc::clone(&self.shared))
    }

    /// Asks a peer for bulk: [`BulkHandle::ask`].
    ///
    /// # Errors
    /// [`BulkError`].
    pub fn ask_bulk(
        &self,
        peer: NodeId,
        question: Bytes,
    ) -> impl Future<Output = Result<Bytes, BulkError>> + Send + 'static {
        let bulk = self.bulk();
        async move { bulk.ask(peer, question).await }
    }

    /// Closes all sockets; when it is done the port is free. Nothing is told about it.
    pub async fn close(mut self) {
        self.end();
        // It was aborted: that error is the expected end. Once it is here, the listening socket is closed.
        let _ = (&mut self.listener).await;
        let (closed, _) = mpsc::channel(1);
        // Ours must not keep the link alive while we wait for the others.
        self.alive = closed;
        while self.ended.recv().await.is_some() {}
    }

    fn end(&self) {
        self.listener.abort();
        self.shared.asking.close();
        for (_, peer) in std::mem::take(&mut *self.shared.peers()) {
            if let Some(dialler) = peer.dialler {
                dialler.task.abort();
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

impl Peer {
    fn hang_up(&mut self) {
        self.outgoing = None;
        if let Some(dialler) = self.dialler.take() {
            dialler.task.abort();
        }
    }
}

#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod seal_tests;
#[cfg(test)]
mod tests;
