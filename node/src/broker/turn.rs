//! The link's thread: it owns the sockets and never blocks on both ways at once.

use std::sync::Arc;

use protocol::limits::MESSAGE_BYTES;
use protocol::{Envelope, NodeId, ToMaster, ToNode, native};
use serde::de::DeserializeOwned;
use zmq::{Context, DONTWAIT, Message, PollItem, SNDMORE, Socket};

use super::counts::{BrokerCounts, Dropped};
use super::mailbox::{Keys, Mailbox, Order, To};
use super::sealing::{PROOF_BYTES, Sealing, Way};
use super::sessions::Sessions;
use super::{BrokerTold, Lead};
use crate::link::SessionKey;

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
    /// The key that the leader followed has, or one before it had. Its numbers go on for as long as the key is good, whatever
    /// becomes of the socket: no two messages may bear one number under one key.
    taken: Option<Taken>,
    mailbox: Arc<Mailbox>,
    sessions: Sessions,
    inbox: Inbox,
    /// What the inbox had no room for; nothing is read until it has.
    backlog: Vec<BrokerTold>,
    counts: BrokerCounts,
}

struct Dealer {
    socket: Socket,
    lead: Lead,
}

struct Taken {
    peer: NodeId,
    session: u64,
    sealing: Sealing,
}

impl Taken {
    fn new(key: &SessionKey) -> Self {
        let sealing = Sealing::new(key.tag, key.key.as_ref(), Way::ToMaster);
        Self { peer: key.peer, session: key.session, sealing }
    }
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

/// Which sockets have something to read: to ask one that has not costs calls of the kernel.
#[derive(Clone, Copy, Debug)]
struct Readable {
    router: bool,
    dealer: bool,
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
        counts: BrokerCounts,
    ) -> Self {
        let (dealer, sessions, backlog) = (None, Sessions::default(), Vec::new());
        Self { context, router, dealer, mailbox, sessions, inbox, backlog, counts, taken: None }
    }

    /// Runs until it is told to close; when it returns, the port is free.
    pub(super) fn run(mut self) {
        let mut left = Left::default();
        while let Some(readable) = self.wait(left) {
            if !self.obey() {
                break;
            }
            left = self.send_all();
            if self.offer() {
                self.receive_all(readable);
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

    /// Does what it is told beside sending. False: it is told to close.
    fn obey(&mut self) -> bool {
        while let Some(order) = self.mailbox.order() {
            match order {
                Order::Close => return false,
                Order::Keys(Keys { given, taken }) => {
                    self.sessions.keep_up(&given);
                    let live = self.taken.as_ref().map(|taken| taken.sealing.tag);
                    if live != taken.as_ref().map(|key| key.tag) {
                        self.taken = taken.as_ref().map(Taken::new);
                    }
                }
                Order::Follow(lead) => self.follow(lead),
            }
        }
        true
    }

    /// The socket to the leader followed, and what seals it; none until that leader has our key.
    fn speaking(&mut self) -> Option<(&Dealer, &mut Sealing)> {
        let dealer = self.dealer.as_ref()?;
        let fits =
            |taken: &&mut Taken| taken.peer == dealer.lead.node && taken.session == dealer.lead.session;
        let taken = self.taken.as_mut().filter(fits)?;
        Some((dealer, &mut taken.sealing))
    }

    /// Sleeps until there is something to do. None: polling itself fails, which ends the link.
    fn wait(&self, left: Left) -> Option<Readable> {
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
                return None;
            }
        }
        let mut sockets = items.iter().skip(1).map(PollItem::is_readable);
        let router = sockets.next().unwrap_or(false);
        Some(Readable { router, dealer: sockets.next().unwrap_or(false) })
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
            if to == To::Master && self.dealer.is_some() && self.speaking().is_none() {
                continue;
            }
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
                        self.counts.count(Dropped::Unsent);
                        tracing::debug!(?to, "broker link: nobody to send to");
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

    fn send_to_master(&mut self, mut message: Vec<u8>) -> Sent {
        let Some((Dealer { socket, .. }, sealing)) = self.speaking() else { return Sent::Never };
        match socket.send(sealing.head().as_slice(), DONTWAIT | SNDMORE) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Sent::Later(message),
            Err(_) => return Sent::Never,
        }
        // Once the head is taken the rest cannot be asked to wait; it is sealed where it stands, and not copied.
        let sealed = sealing.seal(&mut message);
        let rest = if sealed { message } else { Vec::new() };
        if socket.send(rest, DONTWAIT).is_ok() && sealed { Sent::Yes } else { Sent::Never }
    }

    fn send_to_node(&mut self, node: NodeId, session: u64, mut message: Vec<u8>) -> Sent {
        let Some(session) = self.sessions.heard(node, session) else { return Sent::Never };
        let way = self.router.send(session.route.as_slice(), DONTWAIT | SNDMORE);
        if matches!(way, Err(zmq::Error::EAGAIN | zmq::Error::EINTR)) {
            return Sent::Later(message);
        }
        // Once the way is chosen the rest cannot be asked to wait.
        if way.is_ok() && self.router.send(session.sealing.head().as_slice(), DONTWAIT | SNDMORE).is_ok() {
            let sealed = session.sealing.seal(&mut message);
            let rest = if sealed { message } else { Vec::new() };
            if self.router.send(rest, DONTWAIT).is_ok() && sealed {
                return Sent::Yes;
            }
        }
        // It is heard again when it speaks again, perhaps from elsewhere.
        session.route.clear();
        Sent::Never
    }

    /// Hands over what came in. False: the inbox is full.
    fn offer(&mut self) -> bool {
        if !self.backlog.is_empty() {
            self.backlog = (self.inbox)(std::mem::take(&mut self.backlog)).err().unwrap_or_default();
        }
        self.backlog.is_empty()
    }

    fn receive_all(&mut self, readable: Readable) {
        let most = |is_readable: bool| if is_readable { TURN_MESSAGES } else { 0 };
        let mut bytes = 0;
        for _ in 0..most(readable.router) {
            let Some(frames) = receive::<3>(&self.router) else { break };
            let heard = frames.ok_or(Dropped::Unreadable);
            if let Err(why) = heard.and_then(|frames| self.node_says(frames, &mut bytes)) {
                self.drop_unread(why);
            }
            if bytes > TURN_BYTES {
                break;
            }
        }
        bytes = 0;
        for _ in 0..most(readable.dealer) {
            let Some(dealer) = &self.dealer else { break };
            let Some(frames) = receive::<2>(&dealer.socket) else { break };
            let heard = frames.ok_or(Dropped::Unreadable);
            match heard.and_then(|frames| self.leader_says(frames, &mut bytes)) {
                Ok(envelopes) => {
                    let told = envelopes.into_iter().map(|envelope| BrokerTold::ToNode { envelope });
                    self.backlog.extend(told);
                }
                Err(why) => self.drop_unread(why),
            }
            if bytes > TURN_BYTES {
                break;
            }
        }
    }

    /// What a node said; it must be the one, and the session, that the key was given for.
    fn node_says(&mut self, [id, head, mut body]: [Message; 3], bytes: &mut usize) -> Result<(), Dropped> {
        *bytes += body.len();
        let (node, session, body) = self.sessions.open(&id, &head, &mut body)?;
        let envelopes = decode::<ToMaster>(body)?;
        if envelopes.iter().any(|envelope| envelope.from != node || envelope.session != session) {
            return Err(Dropped::Unreadable);
        }
        self.backlog.extend(envelopes.into_iter().map(|envelope| BrokerTold::ToMaster { envelope }));
        Ok(())
    }

    /// What the leader said.
    fn leader_says(
        &mut self,
        [head, mut body]: [Message; 2],
        bytes: &mut usize,
    ) -> Result<Vec<Envelope<ToNode>>, Dropped> {
        *bytes += body.len();
        let (dealer, sealing) = self.speaking().ok_or(Dropped::Ended)?;
        let envelopes = decode::<ToNode>(sealing.open(&head, &mut body)?)?;
        if envelopes.iter().any(|envelope| envelope.session != dealer.lead.session) {
            return Err(Dropped::Unreadable);
        }
        Ok(envelopes)
    }

    fn drop_unread(&self, why: Dropped) {
        self.counts.count(why);
        tracing::debug!(?why, "broker link: a message is let go");
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
fn decode<Body: DeserializeOwned>(body: &[u8]) -> Result<Vec<Envelope<Body>>, Dropped> {
    native::decode_all(body).map_err(|_| Dropped::Unreadable)
}

/// What both kinds of sockets have in common.
pub(super) fn configure(socket: &Socket, ipv6: bool) -> zmq::Result<()> {
    socket.set_ipv6(ipv6)?;
    socket.set_linger(0)?;
    socket.set_maxmsgsize(i64::try_from(MESSAGE_BYTES + PROOF_BYTES).unwrap_or(i64::MAX))?;
    socket.set_sndhwm(HIGH_WATER)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(SILENCE_MS)?;
    socket.set_heartbeat_ttl(SILENCE_MS)
}
