//! Both ports and the thread that owns their sockets. A gate stands before each: it bounds what comes in, gives every
//! connection a routing id of its own, and says who came and went.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use gate::{Conn, Gate, Kind, Rules, Taker, Told, Upstream};
use protocol::cbw::{self, BadAsk, WorkerSays};
use protocol::limits::{LAB_ENVELOPE_BYTES, LAB_FRAMES, PAYLOAD_BYTES};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zmq::{Context, DONTWAIT, PollItem, SNDMORE, Socket};

use super::clients::{Asks, error};
use super::mailbox::{Mailbox, Visit};
use super::{Letter, PeerId, Side};
use crate::mint::Mint;
use crate::settings::{SOCKETS, Settings};

/// Messages taken from one socket in a turn, and letters sent in one.
const TURN_MESSAGES: usize = 256;
/// Messages that libzmq may hold for one peer, each way.
const HIGH_WATER: i32 = 1_000;
/// A full inbox is tried again after this.
const INBOX_RETRY_MS: i64 = 5;
/// Connections of one port, and of one address at it.
const CONNECTIONS: usize = 8_192;
const CONNECTIONS_AN_ADDRESS: usize = 4_096;
/// Bytes that came in at one port and that this thread has not taken yet.
const UNREAD_BYTES: usize = 32 << 20;
/// How long a connection may take to say who it is, and to finish a message it has begun.
const HANDSHAKE: Duration = Duration::from_secs(5);
const MESSAGE: Duration = Duration::from_secs(10);

/// The ports could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("opening the lab's port for {side} at {address}: {why}")]
pub struct LabError {
    side: &'static str,
    address: String,
    why: String,
}

/// What came in.
#[derive(Clone, Debug)]
pub(crate) enum LabTold {
    /// A connection, with the name it gave itself.
    Opened { side: Side, peer: PeerId, identity: Bytes },
    /// It ended.
    Closed { side: Side, peer: PeerId },
    /// It says something that is none of the wire's messages.
    Unreadable { side: Side, peer: PeerId },
    /// A letter could not reach it.
    Undelivered { side: Side, peer: PeerId },
    /// A client's request.
    Asks(Asks),
    /// A worker is there and free.
    Registers { peer: PeerId, class: Bytes },
    /// A worker has done what it was given.
    Returns { peer: PeerId, client: Bytes, text: Bytes, class: Bytes },
}

/// The running ports. Dropping them closes them too.
pub(super) struct Port {
    mailbox: Arc<Mailbox>,
    gates: Vec<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Binds both ports at the host of `settings` and hands over what comes in.
    pub(super) fn open(
        handle: &Handle,
        settings: &Settings,
        data: &Path,
        inbox: mpsc::Sender<Vec<LabTold>>,
    ) -> Result<Self, LabError> {
        let context = Context::new();
        let at = |side: Side| match side {
            Side::Clients => ("clients", format!("{}:{}", settings.listen_host, settings.clients_port)),
            Side::Workers => ("workers", format!("{}:{}", settings.listen_host, settings.workers_port)),
        };
        let failed = |side: Side, why: String| LabError { side: at(side).0, address: at(side).1, why };
        let mailbox = Mailbox::new().map_err(|error| failed(Side::Clients, error.to_string()))?;
        let mailbox = Arc::new(mailbox);
        let (mut sockets, mut gates) = (Vec::new(), Vec::new());
        for side in [Side::Clients, Side::Workers] {
            let (name, address) = at(side);
            let upstream = Upstream::in_folder(&data.join(SOCKETS), name)
                .map_err(|error| failed(side, error.to_string()))?;
            sockets.push(router(&context, &upstream).map_err(|error| failed(side, error.to_string()))?);
            let visitors = Arc::clone(&mailbox);
            let gate =
                Gate::open(handle, &address, &upstream, rules(), move |told| visited(&visitors, side, told));
            gates.push(gate.map_err(|error| failed(side, error.to_string()))?);
        }
        let turn = Turn {
            context,
            sockets,
            takers: gates.iter().map(Gate::taker).collect(),
            mailbox: Arc::clone(&mailbox),
            inbox,
            backlog: Vec::new(),
            mint: Mint::default(),
        };
        let thread = std::thread::Builder::new().name("lab".to_owned()).spawn(move || turn.run());
        let thread = thread.map_err(|error| failed(Side::Clients, error.to_string()))?;
        Ok(Self { mailbox, gates, thread: Some(thread) })
    }

    /// Sends a letter, or drops it when its peer is gone or too much waits.
    pub(super) fn post(&self, letter: Letter) {
        self.mailbox.post(letter);
    }

    /// Closes ports and connections; when it returns the ports are free.
    pub(super) fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.gates.clear();
        self.mailbox.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("lab: the ports' thread ended by a panic");
        }
        if self.mailbox.dropped() > 0 {
            tracing::warn!(dropped = self.mailbox.dropped(), "lab: letters found no room");
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.end();
    }
}

fn rules() -> Rules {
    Rules {
        kinds: &[Kind::Req, Kind::Dealer, Kind::Router],
        frame_bytes: PAYLOAD_BYTES + LAB_ENVELOPE_BYTES,
        message_bytes: PAYLOAD_BYTES + 2 * LAB_ENVELOPE_BYTES,
        message_frames: LAB_FRAMES,
        connections: CONNECTIONS,
        connections_an_address: CONNECTIONS_AN_ADDRESS,
        unread_bytes: UNREAD_BYTES,
        handshake: HANDSHAKE,
        message: MESSAGE,
        subscriptions: 0,
    }
}

fn router(context: &Context, upstream: &Upstream) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::ROUTER)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_sndhwm(HIGH_WATER)?;
    // A send to somebody who is gone fails instead of vanishing.
    socket.set_router_mandatory(true)?;
    socket.bind(&upstream.endpoint())?;
    Ok(socket)
}

fn peer(conn: Conn) -> PeerId {
    PeerId(Bytes::copy_from_slice(&conn.routing_id()))
}

fn visited(mailbox: &Mailbox, side: Side, told: Told) {
    match told {
        Told::Opened { conn, identity, .. } => {
            mailbox.visit(Visit { side, peer: peer(conn), came: Some(identity) });
        }
        Told::Closed { conn } => mailbox.visit(Visit { side, peer: peer(conn), came: None }),
        Told::Refused { address, why } => {
            tracing::warn!(%address, %why, ?side, "lab: a connection was refused");
        }
    }
}

/// What the thread owns.
struct Turn {
    context: Context,
    /// Clients', workers'.
    sockets: Vec<Socket>,
    takers: Vec<Taker>,
    mailbox: Arc<Mailbox>,
    inbox: mpsc::Sender<Vec<LabTold>>,
    /// What the inbox had no room for; nothing is read until it has.
    backlog: Vec<LabTold>,
    mint: Mint,
}

impl Turn {
    fn run(mut self) {
        while self.wait() && !self.mailbox.is_closing() {
            let mut undelivered = self.send();
            if self.offer() {
                let mut said = self.receive(Side::Clients);
                said.extend(self.receive(Side::Workers));
                // Whoever said something came before: its coming is in here. Whoever went has said what is in there.
                let (came, went): (Vec<Visit>, Vec<Visit>) =
                    self.mailbox.visits().into_iter().partition(|visit| visit.came.is_some());
                self.backlog.extend(came.into_iter().map(told));
                self.backlog.append(&mut said);
                self.backlog.extend(went.into_iter().map(told));
            }
            self.backlog.append(&mut undelivered);
            self.offer();
        }
        let Self { mut context, sockets, .. } = self;
        drop(sockets);
        // Returns when the last socket is really closed.
        if let Err(error) = context.destroy() {
            tracing::warn!(%error, "lab: closing the ports' context");
        }
    }

    /// Sleeps until there is something to do. False: polling itself fails, which ends the ports.
    fn wait(&self) -> bool {
        let reads = if self.backlog.is_empty() { zmq::POLLIN } else { zmq::PollEvents::empty() };
        let mut items = vec![PollItem::from_fd(self.mailbox.wake_fd(), zmq::POLLIN)];
        items.extend(self.sockets.iter().map(|socket| socket.as_poll_item(reads)));
        let timeout_ms = match (self.backlog.is_empty(), self.mailbox.has_letters()) {
            (_, true) => 0,
            (false, _) => INBOX_RETRY_MS,
            (true, _) => -1,
        };
        match zmq::poll(&mut items, timeout_ms) {
            Ok(_) => self.mailbox.awake(),
            Err(zmq::Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "lab: waiting for the ports' sockets failed, they end");
                return false;
            }
        }
        true
    }

    /// Hands over what waits. False: the inbox is full.
    fn offer(&mut self) -> bool {
        if self.backlog.is_empty() {
            return true;
        }
        match self.inbox.try_send(std::mem::take(&mut self.backlog)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch)) => {
                self.backlog = batch;
                false
            }
        }
    }

    /// Sends letters; says which found nobody. A peer that takes nothing loses its letter: there is no end to how long it might not.
    fn send(&self) -> Vec<LabTold> {
        let mut undelivered = Vec::new();
        for Letter { side, to, frames } in self.mailbox.letters(TURN_MESSAGES) {
            let socket = self.socket(side);
            let mut parts = vec![&to.0];
            parts.extend(&frames);
            let last = parts.len() - 1;
            let send = |(place, part): (usize, &&Bytes)| {
                let more = if place < last { SNDMORE } else { 0 };
                socket.send(&part[..], DONTWAIT | more)
            };
            if let Err(error) = parts.iter().enumerate().try_for_each(send) {
                tracing::debug!(%error, ?side, "lab: a letter found nobody");
                undelivered.push(LabTold::Undelivered { side, peer: to });
            }
        }
        undelivered
    }

    fn receive(&mut self, side: Side) -> Vec<LabTold> {
        (0..TURN_MESSAGES).map_while(|_| self.message(side)).flatten().collect()
    }

    /// The next message, when one waits; inside, what it says, when that is for the stage.
    fn message(&mut self, side: Side) -> Option<Option<LabTold>> {
        let mut parts = self.socket(side).recv_multipart(DONTWAIT).ok()?.into_iter().map(Bytes::from);
        let peer = PeerId(parts.next()?);
        let frames: Vec<Bytes> = parts.collect();
        if let Some(conn) = Conn::from_routing_id(&peer.0) {
            self.takers[side as usize].taken(conn, frames.iter().map(Bytes::len).sum());
        }
        Some(match side {
            Side::Clients => self.client(peer, &frames),
            Side::Workers => Some(worker(peer, &frames)),
        })
    }

    fn client(&mut self, peer: PeerId, frames: &[Bytes]) -> Option<LabTold> {
        let (envelope, why) = match cbw::ask(frames) {
            Ok(ask) => match self.mint.job() {
                Ok(job) => return Some(LabTold::Asks(Asks { peer, job, ask })),
                Err(error) => (ask.envelope, error.to_string()),
            },
            Err(BadAsk::Frames { envelope }) => (envelope, "frames".to_owned()),
            Err(BadAsk::NoEnvelope) => return Some(LabTold::Unreadable { side: Side::Clients, peer }),
        };
        let frames = cbw::reply(envelope, error(&why));
        self.mailbox.post(Letter { side: Side::Clients, to: peer, frames });
        None
    }

    fn socket(&self, side: Side) -> &Socket {
        &self.sockets[side as usize]
    }
}

fn told(visit: Visit) -> LabTold {
    let Visit { side, peer, came } = visit;
    match came {
        Some(identity) => LabTold::Opened { side, peer, identity },
        None => LabTold::Closed { side, peer },
    }
}

fn worker(peer: PeerId, frames: &[Bytes]) -> LabTold {
    match cbw::worker_says(frames) {
        Some(WorkerSays::Registers { class }) => LabTold::Registers { peer, class },
        Some(WorkerSays::Returns { client, text, class }) => LabTold::Returns { peer, client, text, class },
        None => LabTold::Unreadable { side: Side::Workers, peer },
    }
}
