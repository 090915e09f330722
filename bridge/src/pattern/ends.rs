//! The sockets of a bridge between patterns and jobs, whichever pattern it is.

use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, PollEvents, PollItem, Socket};

use super::peer::Peers;
use super::{Ends, PatternError, Say};
use crate::address::Address;
use crate::limits;
use crate::monitor::Monitor;

/// A peer that dials in must speak ZeroMQ within this.
const HANDSHAKE_MS: i32 = 2_000;
/// The kernel asks a silent peer after so many seconds, so often, and gives it up after so many questions.
const KEEPALIVE_S: (i32, i32, i32) = (15, 5, 3);
/// A port that is not free yet is tried again after this.
const AGAIN: Duration = Duration::from_millis(limits::RENEW_MS);

/// Where tasks come from and answers go.
pub(super) enum Sockets {
    Batch { pull: Socket, push: Socket, context: Context },
    Pair(Box<Pair>),
}

/// What came from a socket.
pub(super) enum Came {
    Task(Vec<u8>),
    /// A message of several frames is none.
    NoTask,
    Nothing,
}

impl Sockets {
    pub(super) fn open(ends: &Ends, say: &Say) -> Result<Self, PatternError> {
        match ends {
            Ends::Batch { pull, push } => {
                let context = Context::new();
                let open = |kind, address: &Address, does: &str| {
                    let socket = configured(&context, kind).map_err(|error| fault(address, error))?;
                    let at = address.attach(&socket).map_err(|error| fault(address, error))?;
                    say(&format!("{} {at} and {does}", verb(address)));
                    Ok(socket)
                };
                let pull = open(zmq::PULL, pull, "takes tasks")?;
                let push = open(zmq::PUSH, push, "sends confirmations")?;
                Ok(Self::Batch { pull, push, context })
            }
            Ends::Pair(address) => Ok(Self::Pair(Box::new(Pair::open(address, say)?))),
        }
    }

    /// True: whoever asked has gone, and all that is under way was his.
    pub(super) fn look(&mut self, now: Instant) -> Result<bool, PatternError> {
        match self {
            Self::Batch { .. } => Ok(false),
            Self::Pair(pair) => pair.look(now),
        }
    }

    pub(super) fn receive(&self) -> Came {
        let socket = match self {
            Self::Batch { pull, .. } => Some(pull),
            Self::Pair(pair) => pair.socket(),
        };
        match socket.and_then(|socket| socket.recv_multipart(DONTWAIT).ok()).map(<[Vec<u8>; 1]>::try_from) {
            Some(Ok([task])) => Came::Task(task),
            Some(Err(_)) => Came::NoTask,
            None => Came::Nothing,
        }
    }

    /// Whether the answer was taken.
    pub(super) fn send(&self, answer: &[u8]) -> bool {
        let socket = match self {
            Self::Batch { push, .. } => Some(push),
            Self::Pair(pair) => pair.socket(),
        };
        socket.is_some_and(|socket| socket.send(answer, DONTWAIT).is_ok())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Batch { .. } => None,
            Self::Pair(pair) => pair.open.is_none().then_some(pair.again),
        }
    }

    /// For a poll: `reads` when there is room for a task, `writes` when an answer waits.
    pub(super) fn poll_items(&self, reads: bool, writes: bool) -> Vec<PollItem<'_>> {
        let of = |wanted: bool, event: PollEvents| if wanted { event } else { PollEvents::empty() };
        match self {
            Self::Batch { pull, push, .. } => {
                vec![pull.as_poll_item(of(reads, zmq::POLLIN)), push.as_poll_item(of(writes, zmq::POLLOUT))]
            }
            Self::Pair(pair) => pair
                .open
                .iter()
                .flat_map(|open| {
                    let events = of(reads, zmq::POLLIN) | of(writes, zmq::POLLOUT);
                    [open.socket.as_poll_item(events), open.monitor.poll_item()]
                })
                .collect(),
        }
    }

    /// Closes them; what was sent may still leave for a while, unless it is urgent.
    pub(super) fn close(self, is_urgent: bool) -> zmq::Result<()> {
        let (sockets, mut context) = match self {
            Self::Batch { pull, push, context } => (vec![pull, push], context),
            Self::Pair(pair) => match pair.open {
                Some(Open { socket, monitor, context }) => {
                    drop(monitor);
                    (vec![socket], context)
                }
                None => return Ok(()),
            },
        };
        for socket in sockets {
            if is_urgent {
                socket.set_linger(0)?;
            }
        }
        context.destroy()
    }
}

/// An exclusive peer: bound or connected, and made anew when he has left. Then whoever was ignored meanwhile comes again,
/// and nothing that was under way for the one is read by the other.
pub(super) struct Pair {
    address: Address,
    open: Option<Open>,
    peers: Peers,
    again: Instant,
    say: Say,
}

struct Open {
    socket: Socket,
    monitor: Monitor,
    /// Its own: when it is destroyed, the port is free.
    context: Context,
}

impl Pair {
    fn open(address: &Address, say: &Say) -> Result<Self, PatternError> {
        let (open, at) = Open::at(address).map_err(|error| fault(address, error))?;
        say(&format!("{} {at} and answers one peer", verb(address)));
        // The port that was given for `*` is kept.
        let address = if address.binds() { address.bound_to(&at) } else { address.clone() };
        let (peers, again) = (Peers::default(), Instant::now());
        Ok(Self { address, open: Some(open), peers, again, say: say.clone() })
    }

    fn socket(&self) -> Option<&Socket> {
        self.open.as_ref().map(|open| &open.socket)
    }

    fn look(&mut self, now: Instant) -> Result<bool, PatternError> {
        if self.open.is_none() && now >= self.again {
            match Open::at(&self.address) {
                Ok((open, _)) => self.open = Some(open),
                Err(zmq::Error::EADDRINUSE) => self.again = now + AGAIN,
                Err(error) => return Err(fault(&self.address, error)),
            }
        }
        let Some(open) = &self.open else { return Ok(false) };
        for _ in 0..limits::LOOK_EVENTS {
            match open.monitor.next() {
                Some(event) if self.peers.hear(event) => {
                    self.renew(now);
                    return Ok(true);
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(false)
    }

    fn renew(&mut self, now: Instant) {
        (self.say)(&format!("{}: its peer has left", self.address));
        if let Some(Open { socket, monitor, mut context }) = self.open.take() {
            // Nobody is there to read what is left.
            let unlinger = socket.set_linger(0);
            drop((socket, monitor));
            if let Err(error) = unlinger.and(context.destroy()) {
                (self.say)(&format!("{}: {error}", self.address));
            }
        }
        self.peers = Peers::default();
        self.again = now + AGAIN;
    }
}

impl Open {
    fn at(address: &Address) -> zmq::Result<(Self, String)> {
        let context = Context::new();
        let socket = configured(&context, zmq::PAIR)?;
        let monitor = Monitor::of(&context, &socket)?;
        let at = address.attach(&socket)?;
        Ok((Self { socket, monitor, context }, at))
    }
}

fn configured(context: &Context, kind: zmq::SocketType) -> zmq::Result<Socket> {
    let socket = context.socket(kind)?;
    socket.set_linger(i32::try_from(limits::FINISH_MS).unwrap_or(i32::MAX))?;
    socket.set_rcvhwm(limits::READ_AHEAD)?;
    socket.set_sndhwm(limits::SEND_AHEAD)?;
    socket.set_maxmsgsize(i64::try_from(limits::FRAME_BYTES).unwrap_or(i64::MAX))?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_reconnect_ivl(limits::RECONNECT_MS)?;
    socket.set_reconnect_ivl_max(limits::RECONNECT_LAST_MS)?;
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(KEEPALIVE_S.0)?;
    socket.set_tcp_keepalive_intvl(KEEPALIVE_S.1)?;
    socket.set_tcp_keepalive_cnt(KEEPALIVE_S.2)?;
    Ok(socket)
}

fn verb(address: &Address) -> &'static str {
    if address.binds() { "listens on" } else { "connects to" }
}

fn fault(address: &Address, error: zmq::Error) -> PatternError {
    PatternError::Socket { address: address.to_string(), why: error.to_string() }
}
