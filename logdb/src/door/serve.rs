//! The accept loop: bounded in connections, also of one address; a head that does not arrive in time closes its connection.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Guarded;

/// Open connections, all together; more wait in the kernel's queue.
const CONNECTIONS: usize = 4_096;
/// Open connections of one address; one more is closed at once.
const CONNECTIONS_ADDRESS: usize = 1_024;
/// How long the head of a request may take to arrive, counted from the connection or the answer before.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Pause after the system refused to accept (no descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long open answers may take to end when the server ends.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Connections by address.
type Open = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// Counts one connection for as long as it lives.
struct Seat {
    open: Open,
    address: IpAddr,
}

impl Seat {
    fn take(open: &Open, address: IpAddr) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Self { open: Arc::clone(open), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves `app` on `listener` until `shutdown` ends; then open answers may end, for two seconds.
pub async fn serve(listener: TcpListener, app: Guarded, shutdown: impl Future<Output = ()> + Send) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let open = Open::default();
    let closing = GracefulShutdown::new();
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
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(HEAD_BYTES.max(8 << 10))
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let connection = closing.watch(connection);
        tokio::spawn(async move {
            // It ends in an error whenever a peer goes away; there is nobody to tell.
            let _ = connection.await;
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
