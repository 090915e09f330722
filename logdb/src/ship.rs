//! Ships a container's own lines to the log store, from a thread of its own. Nobody who records a line waits for it.
//!
//! ```text
//!   Log (ring) ──▶ Shipper ── PUSH ═══ tcp ═══▶ PULL of the store
//!                    └─ each new connection begins with the oldest line still in the ring; the store keeps each once
//! ```
//! A PUSH hears no answer, and what ZeroMQ had under way dies with a connection. So nothing is remembered as delivered:
//! a store that comes back is sent the whole ring (bounded), and knows what it has.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use zmq::{Context, DONTWAIT, Socket, SocketEvent};

use crate::allowance::Allowance;
use crate::arrived::Arrived;
use crate::limits;
use crate::pull::{HEARTBEAT_MS, SILENCE_MS};
use crate::ring::Log;

/// How long an idle shipper waits until it looks at its connection.
const LOOK: Duration = Duration::from_millis(200);
/// Pause while the store takes nothing.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the first lines wait for the container's number.
const NUMBER_PATIENCE: Duration = Duration::from_secs(5);
/// How long ZeroMQ may flush at the end.
const LINGER_MS: i32 = 200;
/// Reconnecting: first pause, longest pause.
const RECONNECT_MS: (i32, i32) = (100, 1_000);
/// Where the connection tells of itself.
const MONITOR: &str = "inproc://connection";

/// Lines cannot be shipped there.
#[derive(Debug, thiserror::Error)]
#[error("shipping the log to {endpoint}: {why}")]
pub struct ShipError {
    endpoint: String,
    why: String,
}

/// The running shipper; dropping it ends it without waiting for lines under way.
#[derive(Debug)]
pub struct Shipper {
    until: Arc<watch::Sender<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Shipper {
    /// Ships `log` to `endpoint` (`tcp://HOST:PORT`; the name is resolved at each attempt). While `stopped` holds true its
    /// socket is closed.
    ///
    /// # Errors
    /// [`ShipError`] when the endpoint is none or no thread can be started.
    pub fn start(log: &Log, endpoint: &str, stopped: watch::Receiver<bool>) -> Result<Self, ShipError> {
        let failed = |why: String| ShipError { endpoint: endpoint.to_string(), why };
        let wire = Wire::open(endpoint).map_err(|error| failed(error.to_string()))?;
        let (until, ending) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let mut work = Work {
            runtime: runtime.map_err(|error| failed(error.to_string()))?,
            log: log.clone(),
            endpoint: endpoint.to_string(),
            wire: Some(wire),
            stopped,
            ending,
            begun: Instant::now(),
            allowance: Allowance::new(limits::SHIP_LINES_A_SECOND, limits::RING_LINES as u64),
        };
        let thread = std::thread::Builder::new().name("ship".to_string()).spawn(move || work.serve());
        let thread = thread.map_err(|error: io::Error| failed(error.to_string()))?;
        Ok(Self { until: Arc::new(until), thread: Some(thread) })
    }

    /// Ends it; lines recorded so far may still leave within `patience`.
    pub fn end(mut self, patience: Duration) {
        self.until.send_replace(Some(Instant::now() + patience));
        if let Some(thread) = self.thread.take() {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.until.send_replace(Some(Instant::now()));
        }
    }
}

struct Work {
    runtime: Runtime,
    log: Log,
    endpoint: String,
    wire: Option<Wire>,
    stopped: watch::Receiver<bool>,
    ending: watch::Receiver<Option<Instant>>,
    begun: Instant,
    allowance: Allowance,
}

/// What a turn came to.
#[derive(PartialEq, Eq)]
enum Turn {
    /// All that was recorded is on its way.
    Idle,
    /// The store takes nothing now.
    Stuck,
    /// There is more.
    Busy,
}

impl Work {
    fn serve(&mut self) {
        loop {
            let is_stopped = *self.stopped.borrow_and_update();
            let turn = if is_stopped {
                self.wire = None;
                Turn::Idle
            } else {
                self.turn()
            };
            let until = *self.ending.borrow_and_update();
            if until.is_some_and(|until| is_stopped || turn == Turn::Idle || Instant::now() >= until) {
                return;
            }
            match turn {
                Turn::Busy => {}
                Turn::Stuck => std::thread::sleep(PAUSE),
                Turn::Idle => self.wait(is_stopped),
            }
        }
    }

    /// Ships what was recorded since, as far as it goes at once.
    fn turn(&mut self) -> Turn {
        let number = self.log.number();
        if number.is_none() && self.begun.elapsed() < NUMBER_PATIENCE && self.ending.borrow().is_none() {
            return Turn::Stuck;
        }
        if self.wire.is_none() {
            // The endpoint was good at the start: what fails here (no descriptors) may pass.
            self.wire = Wire::open(&self.endpoint).ok();
        }
        let Some(wire) = &mut self.wire else { return Turn::Stuck };
        wire.look();
        let most = usize::try_from(self.allowance.left()).unwrap_or(usize::MAX).min(limits::SHIP_BATCH);
        if most == 0 {
            return Turn::Stuck;
        }
        let lines = self.log.after(wire.seen, most);
        self.allowance.spend(lines.len() as u64);
        for record in &lines {
            let frame = Arrived { record: (**record).clone(), number }.frame();
            if wire.socket.send(frame.as_bytes(), DONTWAIT).is_err() {
                return Turn::Stuck;
            }
            wire.seen = record.seq;
        }
        if lines.is_empty() { Turn::Idle } else { Turn::Busy }
    }

    fn wait(&mut self, is_stopped: bool) {
        let seen = self.wire.as_ref().map_or(u64::MAX, |wire| wire.seen);
        let Self { runtime, log, stopped, ending, .. } = self;
        // Whoever comes first; an end of the other side counts as well.
        runtime.block_on(async {
            tokio::select! {
                () = log.newer(seen), if !is_stopped => {}
                Ok(()) = stopped.changed() => {}
                Ok(()) = ending.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        });
    }
}

/// One socket, what it tells of itself, and how far this connection has come.
struct Wire {
    socket: Socket,
    monitor: Socket,
    seen: u64,
}

impl Wire {
    fn open(endpoint: &str) -> zmq::Result<Self> {
        let context = Context::new();
        let socket = context.socket(zmq::PUSH)?;
        socket.set_linger(LINGER_MS)?;
        socket.set_ipv6(endpoint.contains('['))?;
        socket.set_sndhwm(limits::FRAMES)?;
        // Without a connection nothing is taken: lines wait in the ring, not in ZeroMQ.
        socket.set_immediate(true)?;
        socket.set_reconnect_ivl(RECONNECT_MS.0)?;
        socket.set_reconnect_ivl_max(RECONNECT_MS.1)?;
        socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
        socket.set_heartbeat_timeout(SILENCE_MS)?;
        socket.set_heartbeat_ttl(SILENCE_MS)?;
        socket.monitor(MONITOR, i32::from(SocketEvent::HANDSHAKE_SUCCEEDED.to_raw()))?;
        let monitor = context.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(MONITOR)?;
        socket.connect(endpoint)?;
        Ok(Self { socket, monitor, seen: 0 })
    }

    /// A new connection begins with the oldest line.
    fn look(&mut self) {
        // Each event is two frames: its kind, and whose it is.
        while self.monitor.recv_multipart(DONTWAIT).is_ok() {
            self.seen = 0;
        }
    }
}

#[cfg(test)]
#[path = "ship_tests.rs"]
mod tests;
