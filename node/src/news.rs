//! News: what this node tells of itself and of jobs (9997), and what it heard of the others. ZeroMQ publish/subscribe.
//!
//! ```text
//!   owner loop ─ Standing ─▶ teller ─┐
//!   events (jobs, lead) ────▶ teller ─┼─▶ queue ─▶ publisher: XPUB ─ gate ════▶ whoever subscribes
//!   agents (HTTP) ──────────▶ board ──┘   board ◀── listener:  SUB ◀════ the other nodes' XPUB
//!                             board ─▶ views (HTTP)
//! ```
//!
//! Nothing here is a promise: a slow subscriber loses messages, a node that was away heard nothing meanwhile. What matters
//! is said again: the four kinds of information every 30 seconds and whenever somebody subscribes.
//!
//! **Leaves out:** who may subscribe; sealing.

mod board;
mod entrance;
mod host;
mod kinds;
mod limits;
mod listener;
mod publisher;
mod queue;
mod said;
mod scratch;
mod standing;
mod station;
mod teller;
mod topics;
mod views;

use std::sync::Arc;
use std::time::Instant;

use cast::Cast;
use protocol::limits::MEMBERS;
use protocol::{Boot, JobState, Load, Member, NodeId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use board::Board;
pub(crate) use board::Unsaid;
pub use kinds::{Kind, Share, share_all};
pub use limits::{MESSAGE_VALUE_BYTES, URLS, WORD_BYTES};
pub use station::{StationError, StationSettings, run as run_station};
pub use topics::is_word;
pub use views::Shown;

use crate::ask::Front;
use crate::disk::Identity;
use crate::settings::{SOCKETS, Settings};
use board::Voice;
use limits::LOOK;
use listener::Listener;
use publisher::Publisher;
use queue::Queue;
use said::Speaker;
use standing::{Addresses, Myself, Standing, State};
use teller::Teller;

/// News cannot be told or heard.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct NewsError {
    what: String,
    why: String,
}

/// The news of one start.
pub(crate) struct News {
    board: Board,
    me: Myself,
    standing: watch::Sender<Standing>,
    addresses: Arc<Addresses>,
    next_look: Instant,
    queue: Arc<Queue>,
    teller: JoinHandle<()>,
    listener: Listener,
    publisher: Publisher,
}

impl News {
    /// Binds the port and begins to listen. `quiet_index`: up to there the log is no news.
    pub(crate) fn open(
        handle: &Handle,
        front: &Front,
        settings: &Settings,
        identity: Identity,
        member: Member,
        load: watch::Receiver<Load>,
        quiet_index: u64,
    ) -> Result<Self, NewsError> {
        let board = front.news.clone();
        let failed =
            |error: nix::Error| NewsError { what: "queueing news".to_string(), why: error.to_string() };
        let queue = Arc::new(Queue::new().map_err(failed)?);
        let endpoint = format!("tcp://{}:{}", settings.listen_host, settings.pub_port);
        let again = board.clone();
        let sockets = settings.data.join(SOCKETS);
        let again = move |messages| again.again(messages);
        let publisher = Publisher::start(handle, &sockets, &endpoint, Arc::clone(&queue), again)?;
        tracing::debug!(address = publisher.address(), "news: told here");
        let heard = board.clone();
        let listener =
            Listener::start(&[topics::INFO, topics::MESSAGE, topics::AGAIN], move |topic, body| {
                heard.hear(topic, body);
            })?;
        let news = address(settings);
        let speaker = Speaker { node: member.name.clone(), id: member.id.to_string(), boot: member.boot.0 };
        let me = Myself { cluster: identity.cluster, member, news };
        board.open(Voice::new(speaker, settings.share.clone(), Arc::clone(&queue)));
        let (standing, stands) = watch::channel(Standing::default());
        let teller = Teller {
            board: board.clone(),
            queue: Arc::clone(&queue),
            orders: listener.orders(),
            me: me.clone(),
            standing: stands,
            load,
            events: front.events.subscribe(),
            quiet_index,
        };
        let teller = handle.spawn(teller.run());
        let (addresses, next_look) = (Arc::default(), Instant::now());
        Ok(Self { board, queue, me, standing, addresses, next_look, teller, listener, publisher })
    }

    /// Whether anybody subscribed to jobs here.
    pub(crate) fn jobs_wanted(&self) -> bool {
        self.queue.jobs_wanted()
    }

    /// Where a peer said that its news can be heard.
    pub(crate) fn heard_of(&mut self, peer: NodeId, boot: Boot, address: String) {
        if self.addresses.get(&peer).is_some_and(|(known, _)| *known > boot) {
            return;
        }
        let addresses = Arc::make_mut(&mut self.addresses);
        if addresses.len() >= MEMBERS && !addresses.contains_key(&peer) {
            let standing = self.standing.borrow();
            addresses.retain(|id, _| standing.members.iter().any(|member| member.id == *id));
        }
        addresses.insert(peer, (boot, address));
    }

    /// A turn of the owner loop is over. Looks at it now and then: whatever changed in between is seen at the next look.
    pub(crate) fn turned(&mut self, cast: &Cast, leader: Option<NodeId>, members: &Arc<Vec<Member>>) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let (status, offer) = (cast.status(), cast.worker().offer());
        self.standing.send_if_modified(|standing| {
            let same_offer = *standing.offer == *offer;
            let new = Standing {
                leader,
                term: status.term,
                commit: status.commit,
                applied: status.applied,
                voter: status.voters.contains(&status.id),
                running: cast.worker().running(),
                queued: cast.ledger().counts().get(&JobState::Queued).copied().unwrap_or(0),
                offer: if same_offer { Arc::clone(&standing.offer) } else { Arc::new(offer.clone()) },
                members: Arc::clone(members),
                addresses: Arc::clone(&self.addresses),
            };
            let changed = *standing != new;
            *standing = new;
            changed
        });
    }

    /// `/stop`: the last that is heard of this start.
    pub(crate) fn last_word(&self) {
        self.board.tell_last(Kind::State, &State::of(&self.standing.borrow(), &self.me, true));
    }

    /// Closes all sockets; then the port is free.
    pub(crate) fn close(self) {
        self.teller.abort();
        self.board.close();
        drop(self.listener);
        drop(self.publisher);
    }
}

/// `HOST:PORT` where others hear the news of a node with these settings.
pub(crate) fn address(settings: &Settings) -> String {
    format!("{}:{}", settings.advertise, settings.pub_port)
}
