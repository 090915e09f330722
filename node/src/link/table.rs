//! What the link's tasks share: who they are, and what is known of each peer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::NodeId;
use protocol::limits::MEMBERS;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::bulk::{Asking, BulkServe};
use super::greeting::Us;
use super::hello::{Addresses, Claim, Hello};
use super::queue::Queue;
use super::session::{SessionKeys, Wanted};
use super::{LinkIdentity, LinkTold, Serving};
use crate::cluster_key::ClusterKey;
use crate::refusals::Refusals;

pub(super) struct Shared {
    pub(super) us: LinkIdentity,
    /// Drawn at the start of the link.
    pub(super) instance: u64,
    told: mpsc::Sender<LinkTold>,
    /// Who answers questions for bulk.
    pub(super) bulk: Arc<dyn BulkServe>,
    /// The questions for bulk that this node asks.
    pub(super) asking: Asking,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// The key of the cluster; none: links are not sealed.
    pub(super) key: Option<ClusterKey>,
    /// Who hears of keys for the broker link.
    pub(super) keys: Arc<dyn SessionKeys>,
    /// Where bulk is served.
    pub(super) elsewhere: Handle,
    wanted: Mutex<Option<Wanted>>,
    lines: AtomicU64,
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
pub(super) struct Peer {
    /// The task that dials it, while it is wanted.
    pub(super) dialler: Option<Dialler>,
    /// The queue of the connection we dialled, while it is up.
    pub(super) outgoing: Option<Arc<Queue>>,
    incoming: Option<Incoming>,
    /// The bulk connection that came in: its session, and what ends it when dropped.
    bulk: Option<(u64, oneshot::Sender<()>)>,
    /// What its last hello said.
    known: Option<(Claim, Addresses)>,
    /// It was said that the peer's process is gone, and nothing was heard since.
    gone_told: bool,
    /// The refusal last said.
    refusal_told: Option<String>,
}

pub(super) struct Dialler {
    pub(super) address: watch::Sender<String>,
    pub(super) task: AbortHandle,
    /// Ends a pause between two attempts.
    pub(super) nudge: Arc<Notify>,
}

impl Peer {
    /// It is wanted or connected.
    pub(super) fn is_of_use(&self) -> bool {
        self.dialler.is_some() || self.incoming.is_some() || self.bulk.is_some()
    }
}

struct Incoming {
    claim: Claim,
    session: u64,
    /// Dropped when another connection takes this one's place.
    _place: oneshot::Sender<()>,
}

impl Shared {
    pub(super) fn new(
        us: LinkIdentity,
        instance: u64,
        told: mpsc::Sender<LinkTold>,
        Serving { bulk, keys, elsewhere }: Serving,
        key: Option<ClusterKey>,
    ) -> Self {
        let (peers, wanted, refusals) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (asking, lines) = (Asking::default(), AtomicU64::new(0));
        Self { us, instance, told, bulk, asking, peers, key, keys, elsewhere, wanted, lines, refusals }
    }

    /// Who greets.
    pub(super) fn greeter(&self) -> Us<'_> {
        Us { name: &self.us.name, key: self.key.as_ref() }
    }

    /// A number for a connection.
    pub(super) fn next_line(&self) -> u64 {
        self.lines.fetch_add(1, Ordering::Relaxed)
    }

    /// Nothing that waits happens under this lock; the one of the peers is never taken under it.
    pub(super) fn wanted(&self) -> MutexGuard<'_, Option<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that panics happens under this lock, and nothing waits under it.
    pub(super) fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the stage; when it is gone, nobody needs to know.
    pub(super) async fn tell(&self, what: LinkTold) {
        let _ = self.told.send(what).await;
    }

    /// What was heard about a peer, if it is new.
    pub(super) fn learn(&self, hello: &Hello) -> Option<LinkTold> {
        let mut peers = self.peers();
        let peer = peers.entry(hello.node).or_default();
        peer.gone_told = false;
        peer.refusal_told = None;
        let heard = (hello.claim(), hello.addresses.clone());
        if peer.known.as_ref() == Some(&heard) {
            return None;
        }
        let Addresses { name, http, link, broker, news } = heard.1.clone();
        peer.known = Some(heard);
        Some(LinkTold::Address { peer: hello.node, boot: hello.boot, name, http, link, broker, news })
    }

    /// Gives a connection that came in its place; the receiver ends when another takes it.
    pub(super) fn admit(&self, hello: &Hello) -> Result<oneshot::Receiver<()>, String> {
        let mut peers = self.peers();
        let peer = place(&mut peers, hello.node)?;
        let claim = hello.claim();
        if let Some(live) = peer.incoming.as_ref().filter(|live| !live.claim.yields_to(claim)) {
            return Err(format!(
                "a node with the id {} is connected already, of boot {}; this one has boot {}: one data folder is a copy",
                hello.node, live.claim.boot.0, hello.boot.0
            ));
        }
        let (place, replaced) = oneshot::channel();
        peer.incoming = Some(Incoming { claim, session: hello.session, _place: place });
        if let Some(dialler) = &peer.dialler {
            dialler.nudge.notify_one();
        }
        Ok(replaced)
    }

    /// Gives a bulk connection that came in its place; a node has one, and the newest stays.
    pub(super) fn admit_bulk(&self, hello: &Hello) -> Result<oneshot::Receiver<()>, String> {
        let mut peers = self.peers();
        let (hold, replaced) = oneshot::channel();
        place(&mut peers, hello.node)?.bulk = Some((hello.session, hold));
        Ok(replaced)
    }

    /// The end of a bulk connection that came in.
    pub(super) fn leave_bulk(&self, node: NodeId, session: u64) {
        let mut peers = self.peers();
        let Some(peer) = peers.get_mut(&node) else { return };
        if peer.bulk.as_ref().is_some_and(|(live, _)| *live == session) {
            peer.bulk = None;
        }
        if !peer.is_of_use() {
            peers.remove(&node);
        }
    }

    /// Where a peer is dialled now: `HOST:PORT`.
    pub(super) fn target(&self, node: NodeId) -> Option<String> {
        let peers = self.peers();
        let peer = peers.get(&node)?;
        let dialled = peer.dialler.as_ref().map(|dialler| dialler.address.borrow().clone());
        dialled.or_else(|| peer.known.as_ref().map(|(_, addresses)| addresses.link.clone()))
    }

    /// The end of a connection that came in. False: another one is in its place already.
    pub(super) fn leave(&self, node: NodeId, session: u64) -> bool {
        let mut peers = self.peers();
        let Some(peer) = peers.get_mut(&node) else { return false };
        if peer.incoming.as_ref().is_none_or(|live| live.session != session) {
            return false;
        }
        peer.incoming = None;
        if !peer.is_of_use() {
            peers.remove(&node);
        }
        true
    }

    /// Says that a connection ended.
    pub(super) async fn tell_closed(&self, peer: NodeId, refused: bool) {
        if refused && let Some(peer) = self.peers().get_mut(&peer) {
            peer.gone_told = true;
        }
        self.tell(LinkTold::Closed { peer, refused }).await;
    }

    /// A dialled kernel refuses. That is news when the peer had been there and was not known to be gone.
    pub(super) async fn tell_nobody_listens(&self, peer: NodeId) {
        let news = self.peers().get(&peer).is_some_and(|peer| peer.known.is_some() && !peer.gone_told);
        if news {
            self.tell_closed(peer, true).await;
        }
    }

    /// Says once that a peer does not fit, until that changes.
    pub(super) async fn tell_refused(&self, peer: NodeId, target: &str, text: String) {
        let text = format!("at {target}: {text}");
        {
            let mut peers = self.peers();
            let Some(entry) = peers.get_mut(&peer) else { return };
            if entry.refusal_told.as_ref() == Some(&text) {
                return;
            }
            entry.refusal_told = Some(text.clone());
        }
        tracing::warn!(%peer, %text, "consensus link: refused");
        self.tell(LinkTold::Refused { peer, text }).await;
    }

    /// Says why somebody was not let in; a repetition only now and then.
    pub(super) async fn tell_stranger(&self, text: String) {
        let is_news =
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).is_news(&text, Instant::now());
        if is_news {
            self.tell(LinkTold::Stranger { text }).await;
        } else {
            tracing::debug!(text, "consensus link: a connection was refused again");
        }
    }
}

/// The entry of a node; strangers cannot make the table grow without end.
fn place(peers: &mut BTreeMap<NodeId, Peer>, node: NodeId) -> Result<&mut Peer, String> {
    if !peers.contains_key(&node) && peers.len() >= MEMBERS {
        return Err(format!("{MEMBERS} nodes are connected here already"));
    }
    Ok(peers.entry(node).or_default())
}

impl Hello {
    fn claim(&self) -> Claim {
        Claim { boot: self.boot, instance: self.instance }
    }
}
