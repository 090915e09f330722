//! ReCodEx's programs as scripted peers: what they say and when, frame by frame, as the real ones do.
//!
//! ```text
//!   FrontEnd ── DEALER, one a call ──▶ clients' port ┐          ┌── ROUTER ──▶ Monitor (ROUTER, bound)
//!   Worker   ── DEALER, no name ─────▶ workers' port ├─ node k ─┤
//!   Crew     ── many such, one thread ▶ workers' port┘          └── HTTP ────▶ Notifier
//! ```
//! A [`Backend`] is a cluster whose nodes were told of all of them by the YAML of the original broker.

mod backend;
mod config;
mod crew;
mod front_end;
mod monitor;
mod notifier;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::OnceLock;
use std::time::Duration;

use zmq::{Context, Socket, SocketType};

pub use backend::Backend;
pub use config::Config;
pub use crew::{Crew, Hand, Noted, What};
pub use front_end::{FrontEnd, Stats, Verdict};
pub use monitor::Monitor;
pub use notifier::{Call, Notifier};
pub use worker::Worker;

/// The frames of one message as text; what is no UTF-8 is shown as what it cannot be read as.
pub type Frames = Vec<String>;

/// Sockets of one process share a context, as many as libzmq gives it.
fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(Context::new)
}

/// A socket that neither waits when it is dropped nor sends what nobody took by then.
fn socket(kind: SocketType) -> Socket {
    let socket = context().socket(kind).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket
}

/// A DEALER as a front end and a worker have it: it gives itself no name.
fn dealer(url: &str) -> Socket {
    let dealer = socket(zmq::DEALER);
    // The real ones' reconnect at once; a node that starts again is found before a ping is missed.
    dealer.set_reconnect_ivl(100).expect("an option");
    dealer.connect(url).expect("an address");
    dealer
}

fn text(frames: Vec<Vec<u8>>) -> Frames {
    frames.into_iter().map(|frame| String::from_utf8_lossy(&frame).into_owned()).collect()
}

/// The next message of a socket, if one comes within that time.
fn next(socket: &Socket, within: Duration) -> Option<Frames> {
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let ready = socket.poll(zmq::POLLIN, within_ms).expect("a socket can be asked");
    (ready > 0).then(|| text(socket.recv_multipart(0).expect("there is a message")))
}

fn send<T: AsRef<[u8]>>(socket: &Socket, frames: &[T]) {
    let frames = frames.iter().map(AsRef::as_ref);
    // A peer that takes nothing more is full of what it should have taken: that is a fault of the test or of the node.
    socket.send_multipart(frames, zmq::DONTWAIT).expect("a message leaves");
}
