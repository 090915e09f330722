//! The link's thread: it owns the sockets and never blocks on both ways at once.

use std::sync::Arc;

use protocol::limits::MESSAGE_BYTES;
use protocol::{Envelope, NodeId, ToMaster, ToNode, native};
use serde::de::DeserializeOwned;
use zmq::{Context, DONTWAIT, Message, PollItem, SNDMORE, Socket};

use super::mailbox::{Mailbox, Order, To};
use super::routes::Routes;
use super::{BrokerTold, Lead};

/// Messages taken from one socket in a turn.
const TURN_MESSAGES: usize = 256;
/// Bytes taken from one socket in a turn, about.
const TURN_BYTES: usize = 16 << 20;
/// Messages that libzmq may hold for one peer, each way.
const HIGH_WATER: i32 = 128;
/// A peer that is slow to take is tried again after this.
const RETRY_MS: i64 = 2;
/// A full inbox is tried again after this.
const INBOX_RETRY_MS: i64 = 5;
const HEARTBEAT_MS: i32 = 500;
const SILENCE_MS: i32 = 2_000;
const HANDSHAKE_MS: i32 = 1_000;
const RECONNECT_FIRST_MS: i32 = 50;
const RECONNECT_LAST_MS: i32 = 1_000;

/// ZeroMQ's own threads, as bits: one for the ROUTER, one for the DEALER, whose slow look-ups of names then stop nobody else.
pub(super) const ROUTER_THREAD: u64 = 1;
const DEALER_THREAD: u64 = 2;
/// How many these are.
pub(super) const IO_THREADS: i32 = 2;

/// What the thread owns.
pub(super) struct Turn<Inbox> {
    context: Context,
    router: Socket,
    dealer: Option<Dealer>,
    mailbox: Arc<Mailbox>,
    routes: Routes,
    inbox: Inbox,
    /// What the inbox had no room for; nothing is read until it has.
    backlog: Vec<BrokerTold>,
    /// Drawn at the start: with the session it makes a routing id that nobody else can know.
    instance: u64,
    dropped: u64,
}

struct Dealer {
    socket: Socket,
    lead: Lead,
}

/// What is left to send after a turn.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// There was more than one turn may send.
    more: bool,
    /// The leader is not connected or slow: ZeroMQ tells when it takes again.
    master: bool,
    /// A node is slow: ZeroMQ does not tell of which, so it is tried again.
    nodes: bool,
}

/// Whether a peer took a message.
enum Sent {
    Yes,
    Later(Vec<u8>),
    Never,
}

impl<Inbox: Fn(Vec<BrokerTold>) -> Result<(), Vec<BrokerTold>>> Turn<Inbox> {
    pub(super) fn new(
        context: Context,
        router: Socket,
        mailbox: Arc<Mailbox>,
        inbox: Inbox,
        instance: u64,
    ) -> Self {
        let (dealer, routes, backlog) = (None, Routes::default(), Vec::new());
        Self { context, router, dealer, mailbox, routes, inbox, backlog, instance, dropped: 0 }
    }

    /// Runs until it is told to close; when it returns, the port is free.
    pub(super) fn run(mut self) {
        let mut left = Left::default();
        while self.wait(left) {
            match self.mailbox.order() {
                Some(Order::Close) => break,
                Some(Order::Follow(lead)) => self.follow(lead),
                None => {}
            }
            left = self.send_all();
            if self.offer() {
                self.receive_all();
                self.offer();
            }
        }
        let Self { mut context, router, dealer, .. } = self;
        drop((router, dealer));
        // Returns when the last socket is really closed.
        if let Err(error) = context.destroy() {
            tracing::warn!(%error, "broker link: closing its context");
        }
    }

    /// Sleeps until there is something to do. False: polling itself fails, which ends the link.
    fn wait(&self, left: Left) -> bool {
        let reads = if self.backlog.is_empty() { zmq::POLLIN } else { zmq::PollEvents::empty() };
        let writes = if left.master { zmq::POLLOUT } else { zmq::PollEvents::empty() };
        let mut items =
            vec![PollItem::from_fd(self.mailbox.wake_fd(), zmq::POLLIN), self.router.as_poll_item(reads)];
        items.extend(self.dealer.iter().map(|dealer| dealer.socket.as_poll_item(reads | writes)));
        let timeout_ms = match (left, self.backlog.is_empty()) {
            (Left { more: true, .. }, _) => 0,
            (Left { nodes: true, .. }, _) => RETRY_MS,
            (_, false) => INBOX_RETRY_MS,
            (_, true) => -1,
        };
        match zmq::poll(&mut items, timeout_ms) {
            Ok(_) => self.mailbox.awake(),
            Err(zmq::Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "broker link: waiting for its sockets failed, it ends");
                return false;
            }
        }
        true
    }

    fn follow(&mut self, lead: Option<Lead>) {
        if self.dealer.as_ref().map(|dealer| &dealer.lead) == lead.as_ref() {
            return;
        }
        self.dealer = None;
        let Some(lead) = lead else { return };
        match self.dial(&lead) {
            Ok(socket) => self.dealer = Some(Dealer { socket, lead }),
            Err(error) => {
                tracing::warn!(leader = %lead.node, address = %lead.address, %error, "broker link: dialling")
            }
        }
    }

    fn dial(&self, lead: &Lead) -> zmq::Result<Socket> {
        let socket = self.context.socket(zmq::DEALER)?;
        configure(&socket, lead.address.starts_with('['))?;
        socket.set_affinity(DEALER_THREAD)?;
        // The first byte must not be zero: those ids are ZeroMQ's own.
        let mut id = vec![b'u'];
        id.extend_from_slice(&self.instance.to_be_bytes());
        id.extend_from_slice(&lead.session.to_be_bytes());
        socket.set_identity(&id)?;
        // Nothing is handed to libzmq for a peer that is not connected.
        socket.set_immediate(true)?;
        socket.set_reconnect_ivl(RECONNECT_FIRST_MS)?;
        socket.set_reconnect_ivl_max(RECONNECT_LAST_MS)?;
        socket.connect(&format!("tcp://{}", lead.address))?;
        Ok(socket)
    }

    /// Sends what waits and can leave.
    fn send_all(&mut self) -> Left {
        let mut left = Left::default();
        for to in self.mailbox.waiting() {
            let mut room = TURN_MESSAGES;
            while let Some(message) = self.mailbox.next(to) {
                match self.send(to, message) {
                    Sent::Yes => room -= 1,
                    Sent::Later(message) => {
                        self.mailbox.put_back(to, message);
                        left.master |= to == To::Master;
                        left.nodes |= to != To::Master;
                        break;
                    }
                    Sent::Never => {
                        self.dropped += 1;
                        tracing::debug!(?to, dropped = self.dropped, "broker link: nobody to send to");
                        self.mailbox.forget(to);
                        break;
                    }
                }
                if room == 0 {
                    left.more = true;
                    break;
                }
            }
        }
        left
    }

    fn send(&mut self, to: To, message: Vec<u8>) -> Sent {
        match to {
            To::Master => self.send_to_master(message),
            To::Node(node, session) => self.send_to_node(node, session, message),
        }
    }

    fn send_to_master(&self, message: Vec<u8>) -> Sent {
        let Some(dealer) = &self.dealer else { return Sent::Never };
        match dealer.socket.send(message.as_slice(), DONTWAIT) {
            Ok(()) => Sent::Yes,
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Sent::Later(message),
            Err(_) => Sent::Never,
        }
    }

    fn send_to_node(&mut self, node: NodeId, session: u64, message: Vec<u8>) -> Sent {
        let Some(id) = self.routes.id(node, session) else { return Sent::Never };
        let way = self.router.send(id, DONTWAIT | SNDMORE);
        if matches!(way, Err(zmq::Error::EAGAIN | zmq::Error::EINTR)) {
            return Sent::Later(message);
        }
        // Once the way is chosen the rest cannot be asked to wait.
        if way.is_ok() && self.router.send(message, DONTWAIT).is_ok() {
            return Sent::Yes;
        }
        self.routes.forget(node, session);
        Sent::Never
    }

    /// Hands over what came in. False: the inbox is full.
    fn offer(&mut self) -> bool {
        if !self.backlog.is_empty() {
            self.backlog = (self.inbox)(std::mem::take(&mut self.backlog)).err().unwrap_or_default();
        }
        self.backlog.is_empty()
    }

    fn receive_all(&mut self) {
        let mut bytes = 0;
        for _ in 0..TURN_MESSAGES {
            let Some(frames) = receive::<2>(&self.router) else { break };
            match frames.and_then(|[id, body]| Some((id, decode(&body, &mut bytes)?))) {
                Some((id, envelopes)) => envelopes.into_iter().for_each(|envelope| self.heard(&id, envelope)),
                None => self.drop_unread(),
            }
            if bytes > TURN_BYTES {
                break;
            }
        }
        bytes = 0;
        for _ in 0..TURN_MESSAGES {
            let Some(frames) = self.dealer.as_ref().and_then(|dealer| receive::<1>(&dealer.socket)) else {
                break;
            };
            let of = self.dealer.as_ref().map(|dealer| dealer.lead.session);
            let envelopes = frames.and_then(|[body]| decode::<ToNode>(&body, &mut bytes));
            let Some(envelopes) = envelopes else {
                self.drop_unread();
                continue;
            };
            for envelope in envelopes {
                if Some(envelope.session) == of {
                    self.backlog.push(BrokerTold::ToNode { envelope });
                } else {
                    self.drop_unread();
                }
            }
            if bytes > TURN_BYTES {
                break;
            }
        }
    }

    fn heard(&mut self, id: &[u8], envelope: Envelope<ToMaster>) {
        let Envelope { from, session, .. } = envelope;
        if self.routes.heard(from, session, id) {
            self.backlog.push(BrokerTold::ToMaster { envelope });
        } else {
            self.dropped += 1;
            tracing::debug!(%from, dropped = self.dropped, "broker link: a session of somebody else");
        }
    }

    fn drop_unread(&mut self) {
        self.dropped += 1;
        tracing::debug!(dropped = self.dropped, "broker link: a message that is none of ours");
    }
}

/// The next message: `None` when there is none, `Some(None)` when it has not so many frames.
fn receive<const FRAMES: usize>(socket: &Socket) -> Option<Option<[Message; FRAMES]>> {
    let mut frames = Vec::with_capacity(FRAMES);
    loop {
        let mut frame = Message::new();
        socket.recv(&mut frame, DONTWAIT).ok()?;
        let more = frame.get_more();
        // Frames beyond the first few are let go one by one.
        if frames.len() <= FRAMES {
            frames.push(frame);
        }
        if !more {
            return Some(frames.try_into().ok());
        }
    }
}

/// The envelopes of one message: all that a turn of the sender had for its peer.
fn decode<Body: DeserializeOwned>(body: &[u8], bytes: &mut usize) -> Option<Vec<Envelope<Body>>> {
    *bytes += body.len();
    native::decode_all(body).ok()
}

/// What both kinds of sockets have in common.
pub(super) fn configure(socket: &Socket, ipv6: bool) -> zmq::Result<()> {
    socket.set_ipv6(ipv6)?;
    socket.set_linger(0)?;
    socket.set_maxmsgsize(i64::try_from(MESSAGE_BYTES).unwrap_or(i64::MAX))?;
    socket.set_sndhwm(HIGH_WATER)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(SILENCE_MS)?;
    socket.set_heartbeat_ttl(SILENCE_MS)
}
