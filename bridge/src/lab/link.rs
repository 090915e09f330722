//! One connection to one broker, under a name of its own. When it has ended it is thrown away and made anew under another
//! name: a broker that forgot the old name learns the new one, and one that did not cannot mix up the two.

use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, PollEvents, PollItem, Socket};

use super::frames::Part;
use crate::address::Address;
use crate::limits;
use crate::monitor::{Event, Monitor};

/// The kernel asks a silent peer after so many seconds, so often, and gives it up after so many questions. (ZeroMQ's own
/// heartbeats are no use here: a peer of an older ZeroMQ does not answer them.)
const KEEPALIVE_IDLE_S: i32 = 15;
const KEEPALIVE_INTERVAL_S: i32 = 5;
const KEEPALIVE_COUNT: i32 = 3;

/// A DEALER that a broker takes for a REQ.
pub(super) struct Link {
    socket: Socket,
    monitor: Monitor,
    is_up: bool,
    opened: Instant,
}

impl Link {
    /// Begins to connect; names are resolved at each try, and a broker that is away is tried again and again.
    pub(super) fn open(
        context: &Context,
        broker: &Address,
        name: &str,
        linger_ms: i32,
        now: Instant,
    ) -> zmq::Result<Self> {
        let socket = context.socket(zmq::DEALER)?;
        socket.set_identity(name.as_bytes())?;
        socket.set_linger(linger_ms)?;
        // What is sent goes to a broker that is there, not into a queue for one that may come.
        socket.set_immediate(true)?;
        socket.set_sndhwm(limits::LANE_MESSAGES)?;
        socket.set_rcvhwm(limits::LANE_MESSAGES)?;
        socket.set_maxmsgsize(i64::try_from(limits::FRAME_BYTES).unwrap_or(i64::MAX))?;
        socket.set_reconnect_ivl(limits::RECONNECT_MS)?;
        socket.set_reconnect_ivl_max(limits::RECONNECT_LAST_MS)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE_S)?;
        socket.set_tcp_keepalive_intvl(KEEPALIVE_INTERVAL_S)?;
        socket.set_tcp_keepalive_cnt(KEEPALIVE_COUNT)?;
        let monitor = Monitor::of(context, &socket)?;
        broker.attach(&socket)?;
        Ok(Self { socket, monitor, is_up: false, opened: now })
    }

    /// Hears what became of it. True: it was up, and has ended.
    fn look(&mut self) -> bool {
        for _ in 0..limits::LOOK_EVENTS {
            match self.monitor.next() {
                Some(Event::Up) => self.is_up = true,
                Some(Event::Ended(_)) if self.is_up => return true,
                // One that never was up goes on trying by itself.
                Some(Event::Ended(_) | Event::Failed | Event::Accepted(_)) => {}
                None => break,
            }
        }
        false
    }

    /// Whether the message has left for the broker.
    pub(super) fn send(&self, parts: &[Part<'_>]) -> bool {
        self.socket.send_multipart(parts, DONTWAIT).is_ok()
    }

    /// As [`Link::send`], for a request: what came before it is no reply to it, and is thrown away.
    pub(super) fn ask(&self, parts: &[Part<'_>]) -> bool {
        let mut stale = 0;
        while stale < limits::TURN_MESSAGES && self.receive().is_some() {
            stale += 1;
        }
        stale < limits::TURN_MESSAGES && self.send(parts)
    }

    /// The next message, if there is one.
    pub(super) fn receive(&self) -> Option<Vec<Vec<u8>>> {
        self.socket.recv_multipart(DONTWAIT).ok()
    }

    fn poll_items(&self, events: PollEvents) -> [PollItem<'_>; 2] {
        [self.socket.as_poll_item(events), self.monitor.poll_item()]
    }
}

/// A place for a link: there is one, or there will be one again.
pub(super) struct Slot {
    link: Option<Link>,
    /// Not before.
    renew_at: Instant,
}

impl Slot {
    pub(super) fn new(now: Instant) -> Self {
        Self { link: None, renew_at: now }
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_up)
    }

    /// Has a link, opened now where there is none and it is time.
    pub(super) fn fill(&mut self, now: Instant, open: impl FnOnce() -> zmq::Result<Link>) -> zmq::Result<()> {
        if self.link.is_none() && now >= self.renew_at {
            // What fails here (no descriptors left) may pass.
            self.renew_at = now + Duration::from_millis(limits::RENEW_MS);
            self.link = Some(open()?);
        }
        Ok(())
    }

    /// True: the connection has ended, and its link is thrown away.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let ended = self.link.as_mut().is_some_and(Link::look);
        if ended {
            self.close(now);
        }
        ended
    }

    /// Throws the link away.
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(link) = self.link.take() {
            self.renew_at = now.max(link.opened + Duration::from_millis(limits::RENEW_MS));
        }
    }

    /// When it may be filled, if it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        self.link.is_none().then_some(self.renew_at)
    }

    pub(super) fn poll_items(&self, events: PollEvents) -> impl Iterator<Item = PollItem<'_>> {
        self.link.iter().flat_map(move |link| link.poll_items(events))
    }
}
