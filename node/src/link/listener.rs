//! The way in: who is let in, and what they say.

use std::sync::Arc;
use std::time::Duration;

use consensus::Message;
use protocol::NodeId;
use protocol::limits::MESSAGE_BYTES;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::frame::{End, Frames, put, stay_alive};
use super::hello::{Hello, Purpose, Reply};
use super::table::Shared;
use super::{HANDSHAKE, HELLO_BYTES, LinkTold, bulk_listener};

/// Connections that may be in their handshake at once; more are closed unread.
const HANDSHAKES: usize = 64;
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
            shared.note_refusal("too many connections at once are in their handshake");
            continue;
        };
        let (shared, alive) = (Arc::clone(&shared), alive.clone());
        connections.spawn(async move {
            let _alive = alive;
            serve(&shared, stream, permit).await.unwrap_or_else(|text| {
                shared.note_refusal(&format!("{}: {text}", from.ip()));
            });
        });
    }
}

/// One connection from its first byte to its last; an error is why it was not let in.
async fn serve(
    shared: &Shared,
    mut stream: TcpStream,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (read, mut write) = stream.split();
    let mut frames = Frames::new(read, HELLO_BYTES);
    let hello: Hello = match timeout(HANDSHAKE, frames.next()).await {
        Err(_) => return Err("no hello came in time".to_owned()),
        Ok(Err(End::Gone)) => return Err("it was closed before its hello".to_owned()),
        Ok(Err(End::Ours(text))) => return Err(text),
        Ok(Ok(hello)) => hello,
    };
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
            let _ = timeout(HANDSHAKE, write.write_all(&out)).await;
            return Err(text);
        }
    };
    let reply = Hello::new(&shared.us, hello.purpose, hello.node, shared.instance, hello.session);
    put(&mut out, &Reply::Welcome(reply));
    let written = timeout(HANDSHAKE, write.write_all(&out)).await;
    drop(permit);
    if let Some(news) = shared.learn(&hello) {
        shared.tell(news).await;
    }
    if hello.purpose == Purpose::Bulk {
        if let Ok(Ok(())) = written {
            let end = tokio::select! {
                end = bulk_listener::serve(shared, hello.node, &mut frames, write) => end,
                _ = &mut replaced => End::Ours("a newer connection took its place".to_owned()),
            };
            tracing::debug!(peer = %hello.node, ?end, "consensus link: a bulk connection that came in ended");
        }
        shared.leave_bulk(hello.node, hello.session);
        return Ok(());
    }
    frames.set_bound(MESSAGE_BYTES);
    let end = match written {
        Err(_) => End::Ours("the handshake took too long".to_owned()),
        Ok(Err(error)) => End::by(&error),
        Ok(Ok(())) => tokio::select! {
            end = listen(shared, hello.node, &mut frames) => end,
            end = stay_alive(write) => end,
            _ = &mut replaced => End::Ours("a newer connection took its place".to_owned()),
        },
    };
    drop(frames);
    drop(stream);
    tracing::debug!(peer = %hello.node, ?end, "consensus link: a connection that came in ended");
    if shared.leave(hello.node, hello.session) {
        shared.tell_closed(hello.node, end == End::Gone).await;
    }
    Ok(())
}

async fn listen(shared: &Shared, from: NodeId, frames: &mut Frames<impl AsyncRead + Unpin>) -> End {
    loop {
        match frames.next::<Message>().await {
            Ok(message) => shared.tell(LinkTold::Message { from, message }).await,
            Err(end) => return end,
        }
    }
}
