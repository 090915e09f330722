//! The way out to one peer: dial, greet, carry its queue, and again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::frame::{ALIVE, End, Frames, KEEPALIVE, put};
use super::greeting::{self, NoLine};
use super::hello::{Hello, Purpose, Reply};
use super::letter::{Back, LetterOut};
use super::line::{Line, Out};
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
            Ok(line) => {
                pause = PAUSE_FIRST;
                session(&shared, peer, line).await;
            }
            Err(Failed::NobodyListens) => shared.tell_nobody_listens(peer).await,
            Err(Failed::Refused(text)) => {
                pause = PAUSE_LAST;
                shared.tell_refused(peer, &target, text).await;
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
) -> Result<Line, Failed> {
    let stream = open(target).await?;
    match timeout(HANDSHAKE, greet(shared, peer, purpose, stream)).await {
        Err(_) => Err(Failed::Other("the handshake took too long".to_owned())),
        Ok(Err(failed)) => Err(failed),
        Ok(Ok((line, hello))) => {
            if let Some(news) = shared.learn(&hello) {
                shared.tell(news).await;
            }
            Ok(line)
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
    stream: TcpStream,
) -> Result<(Line, Hello), Failed> {
    let mut line =
        greeting::dial(stream, shared.greeter(), HELLO_BYTES).await.map_err(|none| match none {
            NoLine::Refused(text) => Failed::Refused(text),
            NoLine::Ended(end) => Failed::by(end),
        })?;
    let session = getrandom::u64().map_err(|error| Failed::Other(error.to_string()))?;
    let mut out = Vec::new();
    put(&mut out, &Hello::new(&shared.us, purpose, peer, shared.instance, session));
    line.out.send(&out).await.map_err(Failed::by)?;
    match line.frames.next::<Reply>().await.map_err(Failed::by)? {
        Reply::Welcome(hello) => match hello.objection(&shared.us, Some(peer)) {
            None => Ok((line, hello)),
            Some(text) => Err(Failed::Refused(text)),
        },
        Reply::Refused(text) => Err(Failed::Refused(text)),
    }
}

impl Failed {
    fn by(end: End) -> Failed {
        match end {
            End::Gone => Failed::Other("it was closed during the handshake".to_owned()),
            End::Ours(text) => Failed::Other(text),
        }
    }
}

/// Ends the broker session that was agreed on over a connection when the connection ends, however it does.
struct OverWith<'a> {
    shared: &'a Shared,
    peer: NodeId,
    line: u64,
}

impl Drop for OverWith<'_> {
    fn drop(&mut self) {
        self.shared.session_over(self.peer, self.line);
    }
}

async fn session(shared: &Shared, peer: NodeId, line: Line) {
    let number = shared.next_line();
    let queue = Arc::new(Queue::new(number));
    match shared.peers().get_mut(&peer) {
        Some(entry) => entry.outgoing = Some(Arc::clone(&queue)),
        None => return,
    }
    let over = OverWith { shared, peer, line: number };
    if let Some(key) = shared.offer(peer, number) {
        queue.put_key(key);
    }
    shared.tell(LinkTold::Up { peer }).await;
    let Line { mut frames, mut out } = line;
    let end = tokio::select! {
        end = carry(&mut out, &queue) => end,
        () = queue.overflown() => End::Ours("its queue was full".to_owned()),
        end = hear(shared, peer, &mut frames) => end,
    };
    drop(over);
    if let Some(entry) = shared.peers().get_mut(&peer) {
        entry.outgoing = None;
    }
    // The socket is closed before anybody hears of it.
    drop((frames, out));
    tracing::debug!(%peer, ?end, "consensus link: a connection we dialled ended");
    shared.tell_closed(peer, end == End::Gone).await;
}

/// The way back: signs of life, and which key the peer has taken.
async fn hear(shared: &Shared, peer: NodeId, frames: &mut Frames<impl AsyncRead + Unpin>) -> End {
    loop {
        match frames.next::<Back>().await {
            Ok(Back::Taken { tag }) => shared.key_taken(peer, tag),
            Err(end) => return end,
        }
    }
}

/// Writes what waits, and a sign of life when nothing does.
async fn carry(line: &mut Out<impl AsyncWrite + Unpin>, queue: &Queue) -> End {
    let mut out = Vec::new();
    loop {
        out.clear();
        match timeout(KEEPALIVE, queue.take()).await {
            Err(_) => out.extend_from_slice(&ALIVE),
            Ok((key, messages)) => {
                if let Some(key) = key {
                    put(&mut out, &LetterOut::Key(key));
                }
                for message in &messages {
                    if !put(&mut out, &LetterOut::Message(message)) {
                        tracing::error!(
                            bytes = message.bytes(),
                            "consensus link: a message is larger than any may be"
                        );
                    }
                }
            }
        }
        if let Err(end) = line.send(&out).await {
            return end;
        }
        if out.capacity() > 2 * protocol::limits::ENTRY_BYTES {
            out = Vec::new();
        }
    }
}
