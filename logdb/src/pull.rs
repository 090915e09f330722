//! The store's port: a gate at the address, a ZeroMQ PULL behind it on a thread of its own. What the writer cannot take yet
//! stays with the senders.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gate::{Gate, GateError, Kind, Meter, Rules, Upstream};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zmq::{Context, DONTWAIT, PollEvents, Socket};

use crate::arrived::Arrived;
use crate::limits;

/// How long a silent port waits until it looks whether it shall close.
const LOOK_MS: i64 = 50;
/// Silence after which a connection is asked for a sign of life, and after which it is given up.
pub(crate) const HEARTBEAT_MS: i32 = 1_000;
/// See [`HEARTBEAT_MS`].
pub(crate) const SILENCE_MS: i32 = 3_000;
/// The private socket between gate and PULL.
const SOCKET: &str = "lines.sock";

/// The port could not be had.
#[derive(Debug, thiserror::Error)]
#[error("binding the log store's port {endpoint}: {why}")]
pub struct PullError {
    endpoint: String,
    why: String,
}

/// Where the private socket is.
#[derive(Debug)]
pub(crate) struct Private {
    upstream: Upstream,
    /// Removed when the store ends.
    _temporary: Option<TempDir>,
}

impl Private {
    /// A folder beside the database, or a fresh temporary one where that cannot have sockets: some file systems cannot.
    pub(crate) fn beside(database: &Path) -> Result<Self, GateError> {
        let mut folder = database.as_os_str().to_owned();
        folder.push(".port");
        let first = match Upstream::in_folder(Path::new(&folder), SOCKET) {
            Ok(upstream) => return Ok(Self { upstream, _temporary: None }),
            Err(error) => error,
        };
        let Ok(temporary) = tempfile::Builder::new().prefix("understudy-logdb-").tempdir() else {
            return Err(first);
        };
        let upstream = Upstream::in_folder(temporary.path(), SOCKET).map_err(|_| first)?;
        Ok(Self { upstream, _temporary: Some(temporary) })
    }
}

/// The bound port; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Pull {
    address: String,
    gate: Option<Gate>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pull {
    /// Binds `endpoint` (`tcp://HOST:PORT`) and hands over what comes in. `dropped` counts messages that nobody could read.
    /// Call it inside a runtime of tokio, which serves the gate.
    pub(crate) fn bind(
        endpoint: &str,
        private: &Private,
        lines: mpsc::Sender<Vec<Arrived>>,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, PullError> {
        let failed = |why: String| PullError { endpoint: endpoint.to_string(), why };
        let context = Context::new();
        let upstream = &private.upstream;
        let socket = open(&context, &upstream.endpoint()).map_err(|error| failed(error.to_string()))?;
        // Refusals are counted; a stranger at this port is of no concern to the lines.
        let gate = Gate::open(&Handle::current(), endpoint, upstream, rules(), |_| {});
        let gate = gate.map_err(|error| match error {
            GateError::Bind { cause, .. } => failed(cause.to_string()),
            other => failed(other.to_string()),
        })?;
        let address = format!("tcp://{}", gate.address());
        let closing = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closing);
        let port = Port { socket, lines, dropped, closing: ended };
        let thread = std::thread::Builder::new().name("pull".to_string()).spawn(move || {
            port.serve();
            // Ends when the last socket is really closed.
            drop(context);
        });
        let thread = thread.map_err(|error: io::Error| failed(error.to_string()))?;
        Ok(Self { address, gate: Some(gate), closing, thread: Some(thread) })
    }

    /// Where it is bound, with its number when the system chose it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Who comes and who is refused.
    pub(crate) fn meter(&self) -> Option<Meter> {
        self.gate.as_ref().map(Gate::meter)
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        // First the address, so that nobody comes any more.
        drop(self.gate.take());
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

fn rules() -> Rules {
    Rules {
        kinds: &[Kind::Push],
        frame_bytes: limits::FRAME_BYTES,
        message_bytes: limits::PULL_MESSAGE_BYTES,
        message_frames: limits::PULL_MESSAGE_FRAMES,
        connections: limits::PULL_CONNECTIONS,
        connections_an_address: limits::PULL_CONNECTIONS_AN_ADDRESS,
        // A PULL does not know whose line it has; libzmq holds so many of each sender and reads no more.
        unread_bytes: usize::MAX,
        handshake: Duration::from_millis(limits::PULL_HANDSHAKE_MS),
        message: Duration::from_millis(limits::PULL_MESSAGE_MS),
        subscriptions: 0,
    }
}

fn open(context: &Context, endpoint: &str) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::PULL)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(limits::FRAMES)?;
    socket.set_maxmsgsize(i64::try_from(limits::FRAME_BYTES).unwrap_or(i64::MAX))?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(SILENCE_MS)?;
    socket.set_heartbeat_ttl(SILENCE_MS)?;
    socket.bind(endpoint)?;
    Ok(socket)
}

struct Port {
    socket: Socket,
    lines: mpsc::Sender<Vec<Arrived>>,
    dropped: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
}

impl Port {
    fn serve(&self) {
        while !self.closing.load(Ordering::Relaxed) {
            // An interrupted poll is a short one; a closed context ends with the socket.
            if self.socket.poll(PollEvents::POLLIN, LOOK_MS).unwrap_or(0) == 0 {
                continue;
            }
            let batch: Vec<Arrived> =
                (0..limits::PULL_BATCH).map_while(|_| self.message()).flatten().collect();
            // Waits while the writer is behind; an error means that the store is gone.
            if !batch.is_empty() && self.lines.blocking_send(batch).is_err() {
                return;
            }
        }
    }

    /// The next message, when one waits; inside, the line, when it is one. A line is one frame: further frames are let go.
    fn message(&self) -> Option<Option<Arrived>> {
        let frame = self.socket.recv_bytes(DONTWAIT).ok()?;
        let mut is_line = true;
        while self.socket.get_rcvmore().unwrap_or(false) {
            is_line = false;
            self.socket.recv_bytes(DONTWAIT).ok()?;
        }
        let line = if is_line { Arrived::read(&frame) } else { None };
        if line.is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Some(line)
    }
}
