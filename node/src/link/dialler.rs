//! The way out to one peer: dial, greet, carry its queue, and again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::frame::{ALIVE, End, Frames, KEEPALIVE, put};
use super::hello::{Hello, Purpose, Reply};
use super::queue::Queue;
use super::table::Shared;
use super::{HANDSHAKE, HELLO_BYTES, LinkTold};

/// Pauses between attempts double from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// A name must be resolved within this.
const RESOLVE: Duration = Duration::from_secs(2);

pub(super) enum Failed {
    /// Its kernel says that nobody listens.
    NobodyListens,
    /// It answered, and does not fit.
    Refused(String),
    /// Anything else; tried again.
    Other(String),
}

/// Runs until it is aborted.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: NodeId,
    mut address: watch::Receiver<String>,
    nudge: Arc<Notify>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let target = address.borrow_and_update().clone();
        match connect(&shared, peer, &target, Purpose::Messages).await {
            Ok(stream) => {
                pause = PAUSE_FIRST;
                session(&shared, peer, stream).await;
            }
            Err(Failed::NobodyListens) => shared.tell_nobody_listens(peer).await,
            Err(Failed::Refused(text)) => {
                pause = PAUSE_LAST;
                shared.tell_refused(peer, text).await;
            }
            Err(Failed::Other(text)) => {
                tracing::debug!(%peer, %target, %text, "consensus link: dialling failed")
            }
        }
        tokio::select! {
            () = sleep(jittered(pause)) => pause = (pause * 2).min(PAUSE_LAST),
            () = nudge.notified() => pause = PAUSE_FIRST,
            changed = address.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = PAUSE_FIRST;
            }
        }
    }
}

/// Half to all of a pause: peers that lost one another at once do not dial at once.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    // Without chance there is no jitter; that is no reason to fail.
    half + Duration::from_millis(getrandom::u64().unwrap_or(0) % span)
}

/// Dials a peer and greets it.
pub(super) async fn connect(
    shared: &Shared,
    peer: NodeId,
    target: &str,
    purpose: Purpose,
) -> Result<TcpStream, Failed> {
    let mut stream = open(target).await?;
    match timeout(HANDSHAKE, greet(shared, peer, purpose, &mut stream)).await {
        Err(_) => Err(Failed::Other("the handshake took too long".to_owned())),
        Ok(Err(failed)) => Err(failed),
        Ok(Ok(hello)) => {
            if let Some(news) = shared.learn(&hello) {
                shared.tell(news).await;
            }
            Ok(stream)
        }
    }
}

/// Resolves the name anew and tries its addresses in turn.
async fn open(target: &str) -> Result<TcpStream, Failed> {
    let addresses = match timeout(RESOLVE, tokio::net::lookup_host(target)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(Failed::Other(format!("resolving {target}: {error}"))),
        Err(_) => return Err(Failed::Other(format!("resolving {target} took too long"))),
    };
    let mut failed = Failed::Other(format!("{target} has no address"));
    for address in addresses {
        failed = match timeout(HANDSHAKE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => Failed::Other(error.to_string()),
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Failed::NobodyListens,
            Ok(Err(error)) => Failed::Other(error.to_string()),
            Err(_) => Failed::Other(format!("connecting to {address} took too long")),
        };
    }
    Err(failed)
}

async fn greet(
    shared: &Shared,
    peer: NodeId,
    purpose: Purpose,
    stream: &mut TcpStream,
) -> Result<Hello, Failed> {
    let session = getrandom::u64().map_err(|error| Failed::Other(error.to_string()))?;
    let mut out = Vec::new();
    put(&mut out, &Hello::new(&shared.us, purpose, peer, shared.instance, session));
    stream.write_all(&out).await.map_err(|error| Failed::Other(error.to_string()))?;
    match Frames::new(stream, HELLO_BYTES).next::<Reply>().await {
        Ok(Reply::Welcome(hello)) => match hello.objection(&shared.us, Some(peer)) {
            None => Ok(hello),
            Some(text) => Err(Failed::Refused(text)),
        },
        Ok(Reply::Refused(text)) => Err(Failed::Refused(text)),
        Err(End::Gone) => Err(Failed::Other("it was closed during the handshake".to_owned())),
        Err(End::Ours(text)) => Err(Failed::Other(text)),
    }
}

async fn session(shared: &Shared, peer: NodeId, mut stream: TcpStream) {
    let queue = Arc::new(Queue::default());
    match shared.peers().get_mut(&peer) {
        Some(entry) => entry.outgoing = Some(Arc::clone(&queue)),
        None => return,
    }
    shared.tell(LinkTold::Up { peer }).await;
    let (read, write) = stream.split();
    let end = tokio::select! {
        end = carry(write, &queue) => end,
        () = queue.overflown() => End::Ours("its queue was full".to_owned()),
        end = async { Frames::new(read, HELLO_BYTES).only_alive().await } => end,
    };
    if let Some(entry) = shared.peers().get_mut(&peer) {
        entry.outgoing = None;
    }
    // The socket is closed before anybody hears of it.
    drop(stream);
    tracing::debug!(%peer, ?end, "consensus link: a connection we dialled ended");
    shared.tell_closed(peer, end == End::Gone).await;
}

/// Writes what waits, and a sign of life when nothing does.
async fn carry(mut write: impl AsyncWrite + Unpin, queue: &Queue) -> End {
    let mut out = Vec::new();
    loop {
        out.clear();
        match timeout(KEEPALIVE, queue.take()).await {
            Err(_) => out.extend_from_slice(&ALIVE),
            Ok(messages) => {
                for message in &messages {
                    if !put(&mut out, message) {
                        tracing::error!(
                            bytes = message.bytes(),
                            "consensus link: a message is larger than any may be"
                        );
                    }
                }
            }
        }
        if let Err(error) = write.write_all(&out).await {
            return End::by(&error);
        }
        if out.capacity() > 2 * protocol::limits::ENTRY_BYTES {
            out = Vec::new();
        }
    }
}
