//! One connection: a peer on one side, libzmq on the other.
//!
//! ```text
//!   peer ──▶ Intake: read, understood, bounded ──▶ libzmq      one future
//!   peer ◀────────── bytes as they are ◀────────── libzmq      the other
//! ```
//! libzmq hears of a peer only after its greeting was good. Whichever side ends, the other is ended too, except that libzmq
//! may read to the end what was already passed on: it is told by a half-closed socket, because one that is closed while
//! libzmq's queue is full takes what is in it along.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::conn::Conn;
use crate::intake::{Ended, Intake};
use crate::limits;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::stream::{prepare, read_some, write_all};
use crate::told::Told;
use crate::zmtp::{GREETING_BYTES, OWN_GREETING};

/// Says that a connection has closed when it was said to be open, however it ends.
struct Goodbye {
    port: Arc<Port>,
    conn: Conn,
    opened: AtomicBool,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        if self.opened.load(Ordering::Relaxed) {
            self.port.tell(Told::Closed { conn: self.conn });
        }
    }
}

/// Serves a peer until one side ends.
pub(crate) async fn relay(port: Arc<Port>, mut seat: Seat, peer: TcpStream, address: SocketAddr, conn: Conn) {
    let goodbye = Goodbye { port: Arc::clone(&port), conn, opened: AtomicBool::new(false) };
    let mut libzmq = None;
    let leave = seat.leave();
    let ended = tokio::select! {
        ended = serve(&port, &goodbye, &mut seat, &peer, address, &mut libzmq) => ended,
        () = leave.notified() => Ended::Refused(Refusal::PushedOut),
    };
    if let Ended::Refused(why) = ended {
        port.refuse(address, why);
    }
    drop(peer);
    let opened = goodbye.opened.load(Ordering::Relaxed);
    drop(goodbye);
    if opened && let Some(libzmq) = libzmq {
        read_to_the_end(libzmq).await;
    }
    if let Some(budget) = &port.budget {
        budget.cut_off(conn);
        // Of a peer that was not told open nothing has gone to libzmq.
        let patience = if opened { limits::LINGER } else { Duration::ZERO };
        let given_up = budget.drained(conn, patience).await;
        port.counters.given_up(given_up);
    }
    drop(seat);
}

async fn serve(
    port: &Arc<Port>,
    goodbye: &Goodbye,
    seat: &mut Seat,
    peer: &TcpStream,
    address: SocketAddr,
    libzmq: &mut Option<UnixStream>,
) -> Ended {
    let introduced_by = Instant::now() + port.rules.handshake;
    let mut intake = Intake::new(peer, goodbye.conn, Arc::clone(port), introduced_by);
    let mut out = Vec::new();
    if let Err(ended) = greet(&mut intake, seat, peer, &mut out).await {
        return ended;
    }
    let libzmq = match port.upstream.connect(introduced_by).await {
        Ok(stream) => &*libzmq.insert(stream),
        Err(error) => {
            tracing::warn!(%address, %error, "no connection to the socket behind the gate");
            return Ended::Refused(Refusal::Upstream);
        }
    };
    let heard = Notify::new();
    let up = async {
        loop {
            let mut begin = 0;
            if let Some((said, end)) = intake.introduction() {
                if !seat.keep() {
                    return Ended::Refused(Refusal::PushedOut);
                }
                goodbye.opened.store(true, Ordering::Relaxed);
                port.counters.opened();
                let (identity, kind) = (said.identity, said.kind);
                port.tell(Told::Opened { conn: goodbye.conn, identity, address, kind });
                let (hello, _) = out.split_at_checked(end).unwrap_or_default();
                if write_all(libzmq, hello).await.is_err() {
                    return Ended::Gone;
                }
                // It takes whatever comes before its own introduction for a broken one.
                heard.notified().await;
                begin = end;
            }
            let start = Instant::now();
            if write_all(libzmq, out.get(begin..).unwrap_or_default()).await.is_err() {
                return Ended::Gone;
            }
            intake.waited_since(start);
            out = Vec::new();
            if let Err(ended) = intake.next(&mut out).await {
                return ended;
            }
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down(libzmq, peer, &heard) => ended,
    }
}

/// Both sides say at once what they speak; the gate says what libzmq would.
async fn greet(
    intake: &mut Intake<'_>,
    seat: &mut Seat,
    peer: &TcpStream,
    out: &mut Vec<u8>,
) -> Result<(), Ended> {
    prepare(peer).map_err(|_| Ended::Gone)?;
    // 64 bytes always fit into a new connection.
    write_all(peer, &OWN_GREETING).await.map_err(|_| Ended::Gone)?;
    while !intake.greeted() {
        intake.next(out).await?;
        if intake.speaks() {
            seat.speaks();
        }
    }
    Ok(())
}

/// From libzmq to the peer. A peer that cannot be written to any more may have sent something before: it is read to its end.
/// `heard` is told when libzmq has introduced itself.
async fn down(libzmq: &UnixStream, peer: &TcpStream, heard: &Notify) -> Ended {
    // The peer has heard a greeting already.
    let mut skip = GREETING_BYTES;
    loop {
        let Ok(bytes) = read_some(libzmq).await else { return Ended::Gone };
        if bytes.is_empty() {
            return Ended::Gone;
        }
        let said = bytes.get(skip.min(bytes.len())..).unwrap_or_default();
        skip = skip.saturating_sub(bytes.len());
        if !said.is_empty() {
            // More than once does no harm: it is waited for once.
            heard.notify_one();
        }
        if write_all(peer, said).await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Nothing more comes: libzmq reads what is there and closes. What it still says is for nobody.
async fn read_to_the_end(mut libzmq: UnixStream) {
    if libzmq.shutdown().await.is_err() {
        return;
    }
    // It does not read while the program is behind; at some time that must end.
    let _ = timeout(limits::LINGER, async {
        while read_some(&libzmq).await.is_ok_and(|bytes| !bytes.is_empty()) {}
    })
    .await;
}
