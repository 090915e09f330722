//! What becomes of a socket's connections. ZeroMQ hides that on purpose; a bridge must know when a reply can no longer come.

use std::sync::atomic::{AtomicU64, Ordering};

use zmq::{Context, DONTWAIT, Socket, SocketEvent};

/// Something that happened to a connection; accepted and ended ones have a number (the descriptor), used again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A peer dialled in.
    Accepted(u32),
    /// Both sides understood each other: messages may flow.
    Up,
    /// They did not; [`Event::Ended`] of that connection comes next.
    Failed,
    /// The connection ended.
    Ended(u32),
}

/// The events of one socket, in order.
pub(crate) struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Listens to `socket`; has to stand before it binds or connects.
    pub(crate) fn of(context: &Context, socket: &Socket) -> zmq::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let at = format!("inproc://monitor-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let wanted = [
            SocketEvent::ACCEPTED,
            SocketEvent::HANDSHAKE_SUCCEEDED,
            SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
            SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
            SocketEvent::HANDSHAKE_FAILED_AUTH,
            SocketEvent::DISCONNECTED,
        ];
        socket.monitor(&at, wanted.iter().map(|event| i32::from(event.to_raw())).sum())?;
        let monitor = context.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&at)?;
        Ok(Self { socket: monitor })
    }

    /// The next event, if there is one.
    pub(crate) fn next(&self) -> Option<Event> {
        // Two frames: kind (16 bits) and value (32 bits); whose it is.
        let frames = self.socket.recv_multipart(DONTWAIT).ok()?;
        read(frames.first()?)
    }

    /// For a poll.
    pub(crate) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }
}

fn read(frame: &[u8]) -> Option<Event> {
    let kind = u16::from_ne_bytes(frame.get(0..2)?.try_into().ok()?);
    let value = u32::from_ne_bytes(frame.get(2..6)?.try_into().ok()?);
    if kind == SocketEvent::ACCEPTED.to_raw() {
        Some(Event::Accepted(value))
    } else if kind == SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() {
        Some(Event::Up)
    } else if kind == SocketEvent::DISCONNECTED.to_raw() {
        Some(Event::Ended(value))
    } else {
        Some(Event::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_seen_to_begin_and_to_end() {
        let context = Context::new();
        let server = context.socket(zmq::PULL).unwrap();
        let monitor = Monitor::of(&context, &server).unwrap();
        server.bind("tcp://127.0.0.1:*").unwrap();
        let at = server.get_last_endpoint().unwrap().unwrap();
        let client = context.socket(zmq::PUSH).unwrap();
        client.set_linger(0).unwrap();
        client.connect(&at).unwrap();
        let next = || {
            let mut items = [monitor.poll_item()];
            assert_eq!(zmq::poll(&mut items, 30_000).unwrap(), 1, "an event comes");
            monitor.next().unwrap()
        };
        let Event::Accepted(number) = next() else { panic!("first it is accepted") };
        assert_eq!(next(), Event::Up);
        drop(client);
        assert_eq!(next(), Event::Ended(number));
    }
}
