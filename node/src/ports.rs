//! Ports for programs that know nothing of this cluster: clients of theirs ask at one, workers attach at the other.
//!
//! ```text
//!   program ══tcp══▶ gate ══▶ ROUTER ─┐                  ┌─ Told ─▶ the owner loop
//!                                     ├─ thread ─ Wire ──┤
//!   program ◀══tcp══ gate ◀══ ROUTER ─┘                  └◀ Letter ─
//! ```
//! A gate stands before each port: it bounds what comes in, gives every connection a routing id of its own, and says who came and
//! went. One thread owns the sockets of both ports; a [`Wire`] knows what their messages say.
//!
//! **Decides:** nothing; it carries.

mod mailbox;
mod turn;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use gate::{Conn, Gate, Rules, Told as GateTold, Upstream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zmq::{Context, Socket};

use self::mailbox::{Mail, Mailbox, Visit};
use self::turn::Turn;
use crate::settings::SOCKETS;

/// Messages that libzmq may hold for one peer, each way.
const HIGH_WATER: i32 = 1_000;
/// A program that is called and does not answer is called again after at most this.
const CALL_AGAIN_MS: i32 = 1_000;

/// Which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Clients,
    Workers,
}

/// Who is connected: the routing id that the port gave the connection, never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(crate) Bytes);

/// Frames on their way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) side: Side,
    pub(crate) to: PeerId,
    pub(crate) frames: Vec<Bytes>,
}

/// What came in.
#[derive(Clone, Debug)]
pub(crate) enum Told<S> {
    /// A connection, with the name it gave itself.
    Opened { side: Side, peer: PeerId, identity: Bytes },
    /// It ended.
    Closed { side: Side, peer: PeerId },
    /// A letter could not reach it.
    Undelivered { side: Side, peer: PeerId },
    /// It says something.
    Said { peer: PeerId, said: S },
}

/// What a message says: some of it may be answered without asking anybody.
#[derive(Debug)]
pub(crate) struct Read<S> {
    pub(crate) said: Option<S>,
    pub(crate) answer: Option<Vec<Bytes>>,
}

/// Reads the messages of both ports, on their thread.
pub(crate) trait Wire: Send + 'static {
    /// What a message says to the owner loop.
    type Said: Send + 'static;
    /// The thread, in lines and to the system.
    const NAME: &'static str;
    /// Whose ports they are, in an error.
    const WHOSE: &'static str;

    /// Reads a message, without its peer.
    fn read(&mut self, side: Side, peer: &PeerId, frames: &[Bytes]) -> Read<Self::Said>;
}

/// The ports could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("opening {whose} port for {side} at {address}: {why}")]
pub struct PortError {
    whose: &'static str,
    side: &'static str,
    address: String,
    why: String,
}

/// Where one port is.
pub(crate) struct Door {
    /// Its private socket behind the gate.
    pub(crate) name: &'static str,
    /// `HOST:PORT` to bind.
    pub(crate) address: String,
}

/// What is to be opened.
pub(crate) struct Opening<'a> {
    /// The data folder.
    pub(crate) data: &'a Path,
    pub(crate) clients: Door,
    pub(crate) workers: Door,
    /// Of each of them.
    pub(crate) rules: fn() -> Rules,
    /// A program that is told things and says nothing: a ROUTER at this endpoint, which this side calls.
    pub(crate) outward: Option<String>,
}

/// The running ports. Dropping them closes them too.
pub(crate) struct Ports {
    name: &'static str,
    mailbox: Arc<Mailbox>,
    gates: Vec<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl Ports {
    /// Binds both ports and hands over what comes in.
    pub(crate) fn open<W: Wire>(
        handle: &Handle,
        opening: Opening<'_>,
        wire: W,
        inbox: mpsc::Sender<Vec<Told<W::Said>>>,
    ) -> Result<Self, PortError> {
        let Opening { data, clients, workers, rules, outward } = opening;
        let context = Context::new();
        let failed = |side: &'static str, address: &str, why: &dyn std::fmt::Display| PortError {
            whose: W::WHOSE,
            side,
            address: address.to_owned(),
            why: why.to_string(),
        };
        let thread_failed = |why: &dyn std::fmt::Display| failed("clients", &clients.address, why);
        let mailbox = Arc::new(Mailbox::new().map_err(|error| thread_failed(&error))?);
        let (mut sockets, mut gates) = (Vec::new(), Vec::new());
        for (side, named, door) in
            [(Side::Clients, "clients", &clients), (Side::Workers, "workers", &workers)]
        {
            let address = &door.address;
            let upstream = Upstream::in_folder(&data.join(SOCKETS), door.name)
                .map_err(|error| failed(named, address, &error))?;
            sockets.push(router(&context, &upstream).map_err(|error| failed(named, address, &error))?);
            let visitors = Arc::clone(&mailbox);
            let told = move |told| visited::<W>(&visitors, side, told);
            let gate = Gate::open(handle, address, &upstream, rules(), told);
            gates.push(gate.map_err(|error| failed(named, address, &error))?);
        }
        let call = |endpoint: &String| caller(endpoint).map_err(|error| failed("monitor", endpoint, &error));
        let outward = outward.as_ref().map(call).transpose()?;
        let takers = gates.iter().map(Gate::taker).collect();
        let turn = Turn::new((context, sockets), takers, outward, Arc::clone(&mailbox), inbox, wire);
        let thread = std::thread::Builder::new().name(W::NAME.to_owned()).spawn(move || turn.run());
        let thread = thread.map_err(|error| thread_failed(&error))?;
        Ok(Self { name: W::NAME, mailbox, gates, thread: Some(thread) })
    }

    /// Sends a letter, or drops it when its peer is gone or too much waits.
    pub(crate) fn post(&self, letter: Letter) {
        self.mailbox.post(Mail::Letter(letter));
    }

    /// Tells the program that this side calls, its name first; nobody hears it while it is not there.
    pub(crate) fn post_outward(&self, frames: Vec<Bytes>) {
        self.mailbox.post(Mail::Outward(frames));
    }

    /// Closes ports and connections; when it returns the ports are free.
    pub(crate) fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.gates.clear();
        self.mailbox.close();
        let name = self.name;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("{name}: the ports' thread ended by a panic");
        }
        if self.mailbox.dropped() > 0 {
            tracing::warn!(dropped = self.mailbox.dropped(), "{name}: letters found no room");
        }
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.end();
    }
}

fn router(context: &Context, upstream: &Upstream) -> zmq::Result<Socket> {
    let socket = bounded(context)?;
    // A send to somebody who is gone fails instead of vanishing.
    socket.set_router_mandatory(true)?;
    socket.bind(&upstream.endpoint())?;
    Ok(socket)
}

/// A socket that calls, in a context of its own: a name that is looked up for long holds up nobody else.
fn caller(endpoint: &str) -> zmq::Result<Socket> {
    let socket = bounded(&Context::new())?;
    socket.set_reconnect_ivl_max(CALL_AGAIN_MS)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

fn bounded(context: &Context) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::ROUTER)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_sndhwm(HIGH_WATER)?;
    Ok(socket)
}

fn peer(conn: Conn) -> PeerId {
    PeerId(Bytes::copy_from_slice(&conn.routing_id()))
}

fn visited<W: Wire>(mailbox: &Mailbox, side: Side, told: GateTold) {
    match told {
        GateTold::Opened { conn, identity, .. } => {
            mailbox.visit(Visit { side, peer: peer(conn), came: Some(identity) });
        }
        GateTold::Closed { conn } => mailbox.visit(Visit { side, peer: peer(conn), came: None }),
        GateTold::Refused { address, why } => {
            tracing::warn!(%address, %why, ?side, "{}: a connection was refused", W::NAME);
        }
    }
}
