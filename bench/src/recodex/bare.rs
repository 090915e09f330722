//! The bare broker of ReCodEx's wire: two ROUTERs, the worker free the longest gets the oldest evaluation, any worker may have
//! any. Nothing is kept anywhere and nobody is watched.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use zmq::{Context, DONTWAIT, Socket};

use super::{Doors, failed, socket};
use crate::lab::BenchError;
use crate::limits::{LOOK_MS, TURN_MESSAGES};

/// The running broker; dropping it ends it.
#[derive(Debug)]
pub struct Bare {
    doors: Doors,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Binds two ports on loopback that the system chooses.
    ///
    /// # Errors
    /// [`BenchError`], saying what libzmq said.
    pub fn start() -> Result<Self, BenchError> {
        let context = Context::new();
        let (clients, clients_url) = bound(&context)?;
        let (workers, workers_url) = bound(&context)?;
        let ending = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ending);
        let (known, free, waiting) = (HashSet::new(), VecDeque::new(), VecDeque::new());
        let broker = Broker { clients, workers, known, free, waiting, given: 0, evaluated: 0 };
        let thread = std::thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || broker.run(&ended))
            .map_err(|error| BenchError::new("starting the bare broker", error))?;
        let doors = Doors { clients: vec![clients_url], workers: vec![workers_url] };
        Ok(Self { doors, ending, thread: Some(thread) })
    }

    /// Where it is bound.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

fn bound(context: &Context) -> Result<(Socket, String), BenchError> {
    let router = socket(context, zmq::ROUTER)?;
    router.bind("tcp://127.0.0.1:*").map_err(failed)?;
    let url = router.get_last_endpoint().map_err(failed)?;
    let url = url.map_err(|_| BenchError::new("binding the bare broker", "its address is no text"))?;
    Ok((router, url))
}

type Frames = Vec<Vec<u8>>;

struct Broker {
    clients: Socket,
    workers: Socket,
    known: HashSet<Vec<u8>>,
    free: VecDeque<Vec<u8>>,
    waiting: VecDeque<Frames>,
    given: u64,
    evaluated: u64,
}

impl Broker {
    fn run(mut self, ending: &AtomicBool) {
        while !ending.load(Ordering::Relaxed) {
            let mut items = [self.workers.as_poll_item(zmq::POLLIN), self.clients.as_poll_item(zmq::POLLIN)];
            if zmq::poll(&mut items, LOOK_MS).is_err() {
                return;
            }
            for _ in 0..TURN_MESSAGES {
                let Ok(frames) = self.workers.recv_multipart(DONTWAIT) else { break };
                self.heard_worker(&frames);
            }
            for _ in 0..TURN_MESSAGES {
                let Ok(frames) = self.clients.recv_multipart(DONTWAIT) else { break };
                self.heard_client(frames);
            }
            while !self.waiting.is_empty() {
                let Some(worker) = self.free.pop_front() else { break };
                let Some(job) = self.waiting.pop_front() else { break };
                let letter = [vec![worker, b"eval".to_vec()], job].concat();
                let _ = self.workers.send_multipart(letter, DONTWAIT);
                self.given += 1;
            }
        }
    }

    fn heard_worker(&mut self, frames: &[Vec<u8>]) {
        let [worker, word, ..] = frames else { return };
        match &word[..] {
            b"ping" => {
                let answer: &[u8] = if self.known.contains(worker) { b"pong" } else { b"intro" };
                let _ = self.workers.send_multipart([worker, answer], DONTWAIT);
            }
            b"init" if self.known.insert(worker.clone()) => self.free.push_back(worker.clone()),
            b"done" => {
                self.evaluated += 1;
                self.free.push_back(worker.clone());
            }
            _ => {}
        }
    }

    fn heard_client(&mut self, mut frames: Frames) {
        let [client, word, ..] = &frames[..] else { return };
        match &word[..] {
            b"eval" => {
                // Whoever went away misses its answer.
                for answer in [b"ack".as_slice(), b"accept"] {
                    let _ = self.clients.send_multipart([client, answer], DONTWAIT);
                }
                let Some(end) = frames.iter().position(Vec::is_empty) else { return };
                let addresses = frames.split_off(end + 1);
                self.waiting.push_back([vec![frames.swap_remove(2)], addresses].concat());
            }
            b"get-runtime-stats" => {
                let pairs = [
                    ("evaluated-jobs", self.evaluated),
                    ("failed-jobs", 0),
                    ("idle-worker-count", self.free.len() as u64),
                    ("jobs-in-progress", self.given - self.evaluated),
                    ("queued-jobs", self.waiting.len() as u64),
                    ("worker-count", self.known.len() as u64),
                    ("is-frozen", 0),
                ];
                let pairs =
                    pairs.map(|(name, count)| [name.as_bytes().to_vec(), count.to_string().into_bytes()]);
                let letter = [vec![client.clone()], pairs.concat()].concat();
                let _ = self.clients.send_multipart(letter, DONTWAIT);
            }
            _ => {}
        }
    }
}
