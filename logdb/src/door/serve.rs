//! The accept loop: bounded in connections and requests, also of one address; a head that does not arrive in time closes its connection.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Guarded;
use super::caller::Caller;

/// Open connections, all together; more wait in the kernel's queue.
const CONNECTIONS: usize = 4_096;
/// Open connections of one address; one more is closed at once.
const CONNECTIONS_ADDRESS: usize = 1_024;
/// Requests under way on one connection, where it carries several (HTTP/2); more wait at whoever sends them.
const REQUESTS_CONNECTION: u32 = 512;
/// Requests under way on all such connections of one address, answers that are not all sent among them; one more is refused. As many as it
/// could have with a connection for each.
const REQUESTS_ADDRESS: usize = CONNECTIONS_ADDRESS;
/// How long the head of a request may take to arrive, counted from the connection or the answer before.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Bytes that may be on their way to us on one connection of HTTP/2 before we took the first of them,
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// and for one request of it: one that has to wait leaves room for others.
const REQUEST_WINDOW_BYTES: u32 = 256 << 10;
/// How often somebody on HTTP/2 who says nothing is asked whether he is there, and how long he may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Pause after the system refused to accept (no descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long open answers may take to end when the server ends.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Who is here, by address.
type Open = Arc<Mutex<BTreeMap<IpAddr, Guest>>>;

/// What one address has.
struct Guest {
    connections: usize,
    /// For its requests that share connections.
    requests: Arc<Semaphore>,
}

/// Counts one connection for as long as it lives.
struct Seat {
    open: Open,
    address: IpAddr,
    requests: Arc<Semaphore>,
}

impl Seat {
    fn take(open: &Open, address: IpAddr) -> Option<Self> {
        let mut guests = open.lock().unwrap_or_else(PoisonError::into_inner);
        let nobody = || Guest { connections: 0, requests: Arc::new(Semaphore::new(REQUESTS_ADDRESS)) };
        let guest = guests.entry(address).or_insert_with(nobody);
        if guest.connections >= CONNECTIONS_ADDRESS {
            return None;
        }
        guest.connections += 1;
        Some(Self { open: Arc::clone(open), address, requests: Arc::clone(&guest.requests) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = guests.get_mut(&self.address) {
            guest.connections -= 1;
            if guest.connections == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

/// How a connection is spoken with: HTTP/1.1, or HTTP/2 where its first bytes are that one's preface.
fn manner() -> auto::Builder<TokioExecutor> {
    let mut manner = auto::Builder::new(TokioExecutor::new());
    manner
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES.max(8 << 10));
    manner
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(REQUESTS_CONNECTION)
        .initial_stream_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    manner
}

/// Serves `app` on `listener` until `shutdown` ends; then open answers may end, for two seconds.
pub async fn serve(listener: TcpListener, app: Guarded, shutdown: impl Future<Output = ()> + Send) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let open = Open::default();
    let closing = GracefulShutdown::new();
    let manner = manner();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, address, permit)) = accepted else { continue };
        let Some(seat) = Seat::take(&open, address) else { continue };
        // Answers are small and wanted at once; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        let caller = Caller::new(app.clone(), Arc::clone(&seat.requests));
        let silence = caller.silence(HEAD_PATIENCE);
        let connection = closing.watch(manner.serve_connection(TokioIo::new(stream), caller).into_owned());
        tokio::spawn(async move {
            tokio::select! {
                // It ends in an error whenever a peer goes away; there is nobody to tell.
                _ = connection => {}
                // Before the version is known nothing else looks at the time.
                () = silence => {}
            }
            drop((seat, permit));
        });
    }
    // Event streams never end by themselves: they are cut when the patience is over.
    let _ = timeout(CLOSE_PATIENCE, closing.shutdown()).await;
}

/// Ends at SIGTERM or SIGINT.
pub async fn told_to_end() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address.ip(), permit)),
        Err(_) => {
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
