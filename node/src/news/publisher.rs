//! The port where a node tells its news: an XPUB on a thread of its own, behind a gate. A slow subscriber loses messages and
//! nobody waits for it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use zmq::{Context, DONTWAIT, PollItem, SNDMORE, Socket};

use super::NewsError;
use super::entrance::Entrance;
use super::limits::{BODY_BYTES, HIGH_WATER, TURN_POSTS, TURN_SUBSCRIPTIONS};
use super::queue::{JobSubscriptions, Post, Queue};
use super::topics::AGAIN;

/// How long what was told last may take to leave the socket when the port closes.
const LINGER_MS: i32 = 100;
/// And then the gate before it.
const LINGER_AT_GATE: Duration = Duration::from_millis(100);
/// Silence after which a connection is asked for a sign of life, and after which it is given up.
pub(super) const HEARTBEAT_MS: i32 = 1_000;
/// See [`HEARTBEAT_MS`].
pub(super) const SILENCE_MS: i32 = 3_000;

/// The bound port. Dropping it closes it; then the port is free.
#[derive(Debug)]
pub(crate) struct Publisher {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    entrance: Entrance,
}

impl Publisher {
    /// Opens `endpoint` (`tcp://HOST:PORT`), served on `handle`, with a private socket in `folder` behind it, and publishes
    /// what is put into `queue`. `again` gives what is repeated whenever somebody subscribes; its argument says whether
    /// messages are wanted too.
    pub(crate) fn start(
        handle: &Handle,
        folder: &Path,
        endpoint: &str,
        queue: Arc<Queue>,
        again: impl Fn(bool) -> Vec<Post> + Send + 'static,
    ) -> Result<Self, NewsError> {
        let failed =
            |why: String| NewsError { what: format!("binding the port for news to {endpoint}"), why };
        // First the port that others may hold: whoever comes early waits at the gate.
        let entrance = Entrance::open(handle, folder, endpoint).map_err(failed)?;
        let context = Context::new();
        let socket = bound(&context, &entrance.private()).map_err(|error| failed(error.to_string()))?;
        let jobs = JobSubscriptions::default();
        let port = Port { context, socket, queue: Arc::clone(&queue), again: Box::new(again), jobs };
        let thread = std::thread::Builder::new().name("news".to_string()).spawn(move || port.run());
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        Ok(Self { queue, thread: Some(thread), entrance })
    }

    /// Where it is bound (for port 0).
    pub(crate) fn address(&self) -> String {
        self.entrance.address()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.queue.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("news: the publisher's thread ended by a panic");
        }
        self.entrance.emptied(LINGER_AT_GATE);
    }
}

/// The socket that tells the news, bound behind the gate, which bounds what comes in.
fn bound(context: &Context, private: &str) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::XPUB)?;
    socket.set_linger(LINGER_MS)?;
    socket.set_sndhwm(HIGH_WATER)?;
    // Each subscription is told, also one that another peer has already.
    socket.set_xpub_verbose(true)?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(SILENCE_MS)?;
    socket.set_heartbeat_ttl(SILENCE_MS)?;
    socket.bind(private)?;
    Ok(socket)
}

/// What the thread owns.
struct Port {
    context: Context,
    socket: Socket,
    queue: Arc<Queue>,
    again: Box<dyn Fn(bool) -> Vec<Post> + Send>,
    jobs: JobSubscriptions,
}

/// What those want who subscribed in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wishes {
    somebody: bool,
    messages: bool,
}

impl Port {
    fn run(mut self) {
        let mut more = false;
        while self.wait(more) {
            let wishes = self.subscriptions();
            // Looked at first: nothing is put in after that.
            let closing = self.queue.is_closing();
            let posts = self.queue.take(TURN_POSTS);
            more = posts.len() == TURN_POSTS;
            for post in posts {
                self.send(&post);
            }
            // Behind what waited, so that nobody hears the newest first and older ones after it.
            if wishes.somebody {
                for post in (self.again)(wishes.messages) {
                    self.send(&post);
                }
            }
            if closing && !more {
                break;
            }
        }
        self.queue.want_jobs(false);
        let Self { mut context, socket, .. } = self;
        drop(socket);
        // Returns when the socket is really closed.
        if let Err(error) = context.destroy() {
            tracing::warn!(%error, "news: closing the publisher's context");
        }
    }

    /// Sleeps until there is something to do. False: polling itself fails, which ends the port.
    fn wait(&self, more: bool) -> bool {
        let mut items =
            [PollItem::from_fd(self.queue.wake_fd(), zmq::POLLIN), self.socket.as_poll_item(zmq::POLLIN)];
        match zmq::poll(&mut items, if more { 0 } else { -1 }) {
            Ok(_) => self.queue.awake(),
            Err(zmq::Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "news: waiting for the publisher's socket failed, it ends");
                return false;
            }
        }
        true
    }

    /// Who came and who went: each is a byte, 1 or 0, and the beginning of a topic.
    fn subscriptions(&mut self) -> Wishes {
        let mut wishes = Wishes::default();
        for _ in 0..TURN_SUBSCRIPTIONS {
            let Ok(frame) = self.socket.recv_bytes(DONTWAIT) else { break };
            let Some((came, prefix)) = frame.split_first().filter(|(came, _)| **came <= 1) else { continue };
            self.jobs.note(prefix, *came == 1);
            if *came == 1 {
                wishes.somebody = true;
                wishes.messages |= prefix.starts_with(AGAIN.as_bytes());
            }
        }
        self.queue.want_jobs(self.jobs.any());
        wishes
    }

    fn send(&self, (topic, body): &Post) {
        if body.len() > BODY_BYTES {
            self.queue.count_dropped(1);
            return;
        }
        // A subscriber whose queue is full misses it; the socket never makes anybody wait. Any other error is one of the whole
        // socket, and then the message is lost to all.
        let sent = self.socket.send(topic.as_bytes(), DONTWAIT | SNDMORE);
        if sent.and_then(|()| self.socket.send(body.as_bytes(), DONTWAIT)).is_err() {
            self.queue.count_dropped(1);
        }
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
