//! Many workers on a few threads, each thread with one poll loop: they ping each second and are through with a job at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Socket};

use super::{GROUP, dealer, failed};
use crate::lab::BenchError;
use crate::limits::{CONTEXT_WORKERS, DONE_UNREAD, TURN_MESSAGES, WORKER_THREADS};

/// A worker of ReCodEx pings so often.
const PING: Duration = Duration::from_secs(1);
/// How long a thread waits for a message before it looks at its clocks.
const TURN_MS: i64 = 10;

#[derive(Debug, Default)]
struct Counts {
    ending: AtomicBool,
    known: AtomicUsize,
    pongs: AtomicU64,
    longest_pong_us: AtomicU64,
}

/// All of them; gone when dropped.
pub(super) struct Workers {
    counts: Arc<Counts>,
    done: Receiver<String>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(urls: &[String], count: usize) -> Result<Self, BenchError> {
        let threads = WORKER_THREADS.max(count.div_ceil(CONTEXT_WORKERS)).min(count.max(1));
        let (tell, done) = sync_channel(DONE_UNREAD);
        let mut workers = Self { counts: Arc::default(), done, threads: Vec::new() };
        for thread in 0..threads {
            // libzmq gives one context so many sockets.
            let context = Context::new();
            let own = (thread..count).step_by(threads);
            let sockets = own.filter_map(|number| urls.get(number % urls.len().max(1)));
            let sockets = sockets.map(|url| dealer(&context, url)).collect::<Result<Vec<_>, _>>()?;
            let room = Room::new(sockets, Arc::clone(&workers.counts), tell.clone());
            let run = move || {
                // An error means that the measurement is over.
                let _ = room.run();
                drop(context);
            };
            let thread = std::thread::Builder::new().name("workers".to_owned()).spawn(run);
            workers.threads.push(thread.map_err(|error| BenchError::new("starting workers", error))?);
        }
        Ok(workers)
    }

    /// Workers whose first ping was answered.
    pub(super) fn known(&self) -> usize {
        self.counts.known.load(Ordering::Relaxed)
    }

    /// Ids of what was done since this was asked the last time.
    pub(super) fn done(&self) -> impl Iterator<Item = String> {
        self.done.try_iter()
    }

    /// Answered pings, and the longest answer in microseconds.
    pub(super) fn pongs(&self) -> (u64, u64) {
        (self.counts.pongs.load(Ordering::Relaxed), self.counts.longest_pong_us.load(Ordering::Relaxed))
    }

    pub(super) fn forget_pongs(&self) {
        self.counts.pongs.store(0, Ordering::Relaxed);
        self.counts.longest_pong_us.store(0, Ordering::Relaxed);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.counts.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

struct Attached {
    socket: Socket,
    ping_at: Instant,
    /// When the ping left that was not answered yet.
    asked: Option<Instant>,
    is_known: bool,
}

/// The workers of one thread.
struct Room {
    all: Vec<Attached>,
    counts: Arc<Counts>,
    done: SyncSender<String>,
}

impl Room {
    fn new(sockets: Vec<Socket>, counts: Arc<Counts>, done: SyncSender<String>) -> Self {
        let (now, count) = (Instant::now(), sockets.len().max(1) as u32);
        // Their pings are spread over the second.
        let attached = |(socket, place)| {
            let ping_at = now + PING * place / count;
            Attached { socket, ping_at, asked: None, is_known: false }
        };
        Self { all: sockets.into_iter().zip(0_u32..).map(attached).collect(), counts, done }
    }

    fn run(mut self) -> Result<(), BenchError> {
        for attached in &self.all {
            init(&attached.socket)?;
        }
        while !self.counts.ending.load(Ordering::Relaxed) {
            let ready = self.ready()?;
            for place in ready {
                self.listen(place)?;
            }
            let now = Instant::now();
            for attached in &mut self.all {
                if attached.ping_at <= now {
                    attached.socket.send("ping", 0).map_err(failed)?;
                    attached.asked.get_or_insert(now);
                    attached.ping_at = now + PING;
                }
            }
        }
        Ok(())
    }

    /// The places of those that were told something.
    fn ready(&self) -> Result<Vec<usize>, BenchError> {
        let mut items: Vec<_> =
            self.all.iter().map(|attached| attached.socket.as_poll_item(zmq::POLLIN)).collect();
        zmq::poll(&mut items, TURN_MS).map_err(failed)?;
        Ok((0..items.len()).filter(|place| items[*place].is_readable()).collect())
    }

    fn listen(&mut self, place: usize) -> Result<(), BenchError> {
        let attached = &mut self.all[place];
        for _ in 0..TURN_MESSAGES {
            let Ok(frames) = attached.socket.recv_multipart(DONTWAIT) else { break };
            match &frames[..] {
                [word] if word == b"pong" => {
                    if let Some(asked) = attached.asked.take() {
                        self.counts.pongs.fetch_add(1, Ordering::Relaxed);
                        let took_us = asked.elapsed().as_micros() as u64;
                        self.counts.longest_pong_us.fetch_max(took_us, Ordering::Relaxed);
                    }
                    if !std::mem::replace(&mut attached.is_known, true) {
                        self.counts.known.fetch_add(1, Ordering::Relaxed);
                    }
                }
                [word] if word == b"intro" => {
                    attached.asked = None;
                    init(&attached.socket)?;
                }
                [word, id, _, _] if word == b"eval" => {
                    let id = String::from_utf8_lossy(id).into_owned();
                    attached.socket.send_multipart(["done", &id, "OK", ""], 0).map_err(failed)?;
                    // Nobody counts any more: the measurement is over.
                    let _ = self.done.try_send(id);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn init(socket: &Socket) -> Result<(), BenchError> {
    let frames = ["init", GROUP, "env=c", "threads=8", "", "description="];
    socket.send_multipart(frames, 0).map_err(failed)
}
