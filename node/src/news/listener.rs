//! Listens to other nodes' ports: a SUB on a thread of its own, connected to whichever addresses are wanted.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use zmq::{Context, DONTWAIT, PollItem, Socket};

use super::NewsError;
use super::limits::{BODY_BYTES, HIGH_WATER, TURN_HEARD};
use super::publisher::{HEARTBEAT_MS, SILENCE_MS};

/// Reconnecting: first pause, longest pause.
const RECONNECT_MS: (i32, i32) = (50, 1_000);
const HANDSHAKE_MS: i32 = 1_000;

/// The running listener. Dropping it closes its connections.
#[derive(Debug)]
pub(crate) struct Listener {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Debug)]
pub(crate) struct Orders {
    inside: Mutex<Wanted>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The newest wish, until the thread has taken it.
    endpoints: Option<BTreeSet<String>>,
    closing: bool,
}

impl Orders {
    /// Whom to listen to from now on (`tcp://HOST:PORT`; names are resolved at each attempt), and nobody else. Never waits.
    pub(crate) fn listen_to(&self, endpoints: BTreeSet<String>) {
        self.order(|wanted| wanted.endpoints = Some(endpoints));
    }

    fn order(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.inside.lock().unwrap_or_else(PoisonError::into_inner));
        // An error means that it is set 2^64 - 2 times already.
        let _ = self.wake.write(1);
    }
}

impl Listener {
    /// Subscribes to topics that begin with one of `prefixes` at whoever is named by [`Orders::listen_to`]; `heard` gets topic
    /// and body, on the listener's own thread.
    pub(crate) fn start(
        prefixes: &[&str],
        heard: impl FnMut(&str, &str) + Send + 'static,
    ) -> Result<Self, NewsError> {
        let failed = |why: String| NewsError { what: "listening to news".to_string(), why };
        let context = Context::new();
        let socket = socket(&context, prefixes).map_err(|error| failed(error.to_string()))?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let wake = wake.map_err(|error| failed(error.to_string()))?;
        let orders = Arc::new(Orders { inside: Mutex::default(), wake });
        let ear = Ear { context, socket, orders: Arc::clone(&orders), connected: BTreeSet::new(), heard };
        let thread = std::thread::Builder::new().name("ear".to_string()).spawn(move || ear.run());
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Where it takes its orders.
    pub(crate) fn orders(&self) -> Arc<Orders> {
        Arc::clone(&self.orders)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.orders.order(|wanted| wanted.closing = true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("news: the listener's thread ended by a panic");
        }
    }
}

fn socket(context: &Context, prefixes: &[&str]) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::SUB)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_maxmsgsize(i64::try_from(BODY_BYTES).unwrap_or(i64::MAX))?;
    socket.set_reconnect_ivl(RECONNECT_MS.0)?;
    socket.set_reconnect_ivl_max(RECONNECT_MS.1)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(SILENCE_MS)?;
    socket.set_heartbeat_ttl(SILENCE_MS)?;
    for prefix in prefixes {
        socket.set_subscribe(prefix.as_bytes())?;
    }
    Ok(socket)
}

/// What the thread owns.
struct Ear<Heard> {
    context: Context,
    socket: Socket,
    orders: Arc<Orders>,
    connected: BTreeSet<String>,
    heard: Heard,
}

impl<Heard: FnMut(&str, &str)> Ear<Heard> {
    fn run(mut self) {
        while self.wait() {
            let wanted =
                std::mem::take(&mut *self.orders.inside.lock().unwrap_or_else(PoisonError::into_inner));
            if wanted.closing {
                break;
            }
            if let Some(endpoints) = wanted.endpoints {
                self.turn_to(endpoints);
            }
            for _ in 0..TURN_HEARD {
                if !self.hear_one() {
                    break;
                }
            }
        }
        let Self { mut context, socket, .. } = self;
        drop(socket);
        if let Err(error) = context.destroy() {
            tracing::warn!(%error, "news: closing the listener's context");
        }
    }

    /// Sleeps until there is something to do. False: polling itself fails, which ends the listener.
    fn wait(&self) -> bool {
        let wake = &self.orders.wake;
        let mut items =
            [PollItem::from_fd(wake.as_raw_fd(), zmq::POLLIN), self.socket.as_poll_item(zmq::POLLIN)];
        match zmq::poll(&mut items, -1) {
            Ok(_) => {
                // An error means that it was not set.
                let _ = wake.read();
                true
            }
            Err(zmq::Error::EINTR) => true,
            Err(error) => {
                tracing::error!(%error, "news: waiting for the listener's socket failed, it ends");
                false
            }
        }
    }

    fn turn_to(&mut self, endpoints: BTreeSet<String>) {
        for gone in self.connected.difference(&endpoints) {
            if let Err(error) = self.socket.disconnect(gone) {
                tracing::debug!(endpoint = %gone, %error, "news: a connection to close was none");
            }
        }
        for new in endpoints.difference(&self.connected) {
            // Brackets are IPv6's own; a name is resolved to IPv4, as on the other links.
            let connected = self.socket.set_ipv6(new.contains('[')).and_then(|()| self.socket.connect(new));
            if let Err(error) = connected {
                tracing::warn!(endpoint = %new, %error, "news: cannot listen there");
            }
        }
        self.connected = endpoints;
    }

    /// The next message, if one waits. What has not two frames of text is let go.
    fn hear_one(&mut self) -> bool {
        let Ok(topic) = self.socket.recv_bytes(DONTWAIT) else { return false };
        let mut body = None;
        let mut frames = 1_usize;
        while self.socket.get_rcvmore().unwrap_or(false) {
            let Ok(frame) = self.socket.recv_bytes(DONTWAIT) else { return false };
            frames += 1;
            body = Some(frame).filter(|_| frames == 2);
        }
        if let (Ok(topic), Some(Ok(body))) = (str::from_utf8(&topic), body.as_deref().map(str::from_utf8)) {
            (self.heard)(topic, body);
        }
        true
    }
}
