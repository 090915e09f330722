//! The way in: who is let in, and what they say.

use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::limits::MESSAGE_BYTES;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::frame::{ALIVE, End, Frames, KEEPALIVE, put};
use super::greeting::{self, NoLine};
use super::hello::{Hello, Purpose, Reply};
use super::letter::{Back, KeyLetter, Letter};
use super::line::{Line, Out};
use super::session::SessionKey;
use super::table::Shared;
use super::{HANDSHAKE, HELLO_BYTES, LinkTold, bulk_listener};

/// Connections that may be in their handshake at once; more are closed unread.
const HANDSHAKES: usize = 64;
/// Keys taken that wait to be told; a peer that gives them faster is closed.
const KEYS_TAKEN: usize = 8;
/// When the system has no socket to give, it is asked again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs until it is aborted; its connections end with it.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, alive: super::Alive) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "consensus link: accepting failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            shared.tell_stranger("too many connections at once are in their handshake".to_owned()).await;
            continue;
        };
        let (shared, alive) = (Arc::clone(&shared), alive.clone());
        connections.spawn(async move {
            let _alive = alive;
            if let Err(text) = serve(&shared, stream, permit).await {
                shared.tell_stranger(format!("a connection from {}: {text}", from.ip())).await;
            }
        });
    }
}

/// One connection from its first byte to its last; an error is why it was not let in.
async fn serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (line, hello) = match timeout(HANDSHAKE, greeted(shared, stream)).await {
        Err(_) => return Err("no hello came in time".to_owned()),
        Ok(Err(NoLine::Ended(End::Gone))) => return Err("it was closed before its hello".to_owned()),
        Ok(Err(NoLine::Refused(text) | NoLine::Ended(End::Ours(text)))) => return Err(text),
        Ok(Ok(greeted)) => greeted,
    };
    let Line { mut frames, out: mut way } = line;
    let judged = match hello.objection(&shared.us, None) {
        Some(text) => Err(text),
        None if hello.purpose == Purpose::Bulk => shared.admit_bulk(&hello),
        None => shared.admit(&hello),
    };
    let mut out = Vec::new();
    let mut replaced = match judged {
        Ok(replaced) => replaced,
        Err(text) => {
            put(&mut out, &Reply::Refused(text.clone()));
            // It may be gone already; it is refused all the same.
            let _ = timeout(HANDSHAKE, way.send(&out)).await;
            return Err(text);
        }
    };
    let reply = Hello::new(&shared.us, hello.purpose, hello.node, shared.instance, hello.session);
    put(&mut out, &Reply::Welcome(reply));
    let written = timeout(HANDSHAKE, way.send(&out)).await;
    drop(permit);
    if let Some(news) = shared.learn(&hello) {
        shared.tell(news).await;
    }
    if hello.purpose == Purpose::Bulk {
        if let Ok(Ok(())) = written {
            let (asks, peer) = (Arc::clone(shared), hello.node);
            let serving = async move {
                let end = tokio::select! {
                    end = bulk_listener::serve(&asks, peer, &mut frames, &mut way) => end,
                    _ = &mut replaced => End::Ours("a newer connection took its place".to_owned()),
                };
                tracing::debug!(%peer, ?end, "consensus link: a bulk connection that came in ended");
            };
            let mut elsewhere = JoinSet::new();
            elsewhere.spawn_on(serving, &shared.elsewhere);
            // It has nothing to say at its end; dropped before, it is aborted.
            let _ = elsewhere.join_next().await;
        }
        shared.leave_bulk(hello.node, hello.session);
        return Ok(());
    }
    frames.set_bound(MESSAGE_BYTES);
    let end = match written {
        Err(_) => End::Ours("the handshake took too long".to_owned()),
        Ok(Err(end)) => end,
        Ok(Ok(())) => {
            let is_sealed = way.is_sealed();
            let (say, said) = mpsc::channel(KEYS_TAKEN);
            tokio::select! {
                end = listen(shared, hello.node, &mut frames, is_sealed, say) => end,
                end = stay_alive(&mut way, said) => end,
                _ = &mut replaced => End::Ours("a newer connection took its place".to_owned()),
            }
        }
    };
    drop((frames, way));
    tracing::debug!(peer = %hello.node, ?end, "consensus link: a connection that came in ended");
    if shared.leave(hello.node, hello.session) {
        shared.tell_closed(hello.node, end == End::Gone).await;
    }
    Ok(())
}

/// The greeting, and the hello that comes through what it agreed on.
async fn greeted(shared: &Shared, stream: TcpStream) -> Result<(Line, Hello), NoLine> {
    let mut line = greeting::accept(stream, shared.greeter(), HELLO_BYTES).await?;
    let hello = line.frames.next().await.map_err(NoLine::Ended)?;
    Ok((line, hello))
}

/// A key that a peer gave: forgotten when the connection that brought it ends.
struct Given<'a> {
    shared: &'a Shared,
    tag: u64,
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.shared.keys.ended(self.tag);
    }
}

async fn listen(
    shared: &Shared,
    from: NodeId,
    frames: &mut Frames<impl AsyncRead + Unpin>,
    is_sealed: bool,
    taken: mpsc::Sender<u64>,
) -> End {
    let mut _given: Option<Given<'_>> = None;
    loop {
        let frame = match frames.next_bytes().await {
            Ok(frame) => frame.freeze(),
            Err(end) => return end,
        };
        match protocol::native::decode::<Letter<'_>>(&frame) {
            Ok(Letter::Message(message)) => {
                let message = message.share(&frame);
                shared.tell(LinkTold::Message { from, message }).await;
            }
            Ok(Letter::Key(KeyLetter { session, tag, key })) => {
                if key.is_some() != is_sealed {
                    return End::Ours("its key for the broker link does not fit this link".to_owned());
                }
                shared.keys.given(SessionKey { peer: from, session, tag, key });
                _given = Some(Given { shared, tag });
                if taken.try_send(tag).is_err() {
                    return End::Ours("it gave too many keys at once".to_owned());
                }
            }
            Err(error) => return End::Ours(error.to_string()),
        }
    }
}

/// The way back: signs of life, and which keys were taken. Returns when that fails.
async fn stay_alive(way: &mut Out<impl AsyncWrite + Unpin>, mut taken: mpsc::Receiver<u64>) -> End {
    let mut out = Vec::new();
    loop {
        out.clear();
        match timeout(KEEPALIVE, taken.recv()).await {
            Ok(Some(tag)) => drop(put(&mut out, &Back::Taken { tag })),
            Ok(None) => return End::Ours("nobody listens to it any more".to_owned()),
            Err(_) => out.extend_from_slice(&ALIVE),
        }
        if let Err(end) = way.send(&out).await {
            return end;
        }
    }
}
