//! The bare broker: two ROUTERs, the worker free the longest gets the oldest request, nothing is kept anywhere. It speaks the
//! lab's wire, so that the same clients and workers drive it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use zmq::{Context, DONTWAIT, Socket};

use crate::lab::{BenchError, Ends};
use crate::limits::{HIGH_WATER, LOOK_MS, TURN_MESSAGES};

/// The running broker; dropping it ends it.
#[derive(Debug)]
pub struct Bare {
    ends: Ends,
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
        let broker = Broker { clients, workers, free: VecDeque::new(), asked: VecDeque::new() };
        let thread = std::thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || broker.run(&ended))
            .map_err(|error| BenchError::new("starting the bare broker", error))?;
        let ends = Ends { clients: clients_url, workers: workers_url };
        Ok(Self { ends, ending, thread: Some(thread) })
    }

    /// Where it is bound.
    #[must_use]
    pub fn ends(&self) -> &Ends {
        &self.ends
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
    let failed = |error: zmq::Error| BenchError::new("binding the bare broker", error);
    let socket = context.socket(zmq::ROUTER).map_err(failed)?;
    let set = || {
        socket.set_linger(0)?;
        socket.set_rcvhwm(HIGH_WATER)?;
        socket.set_sndhwm(HIGH_WATER)?;
        socket.bind("tcp://127.0.0.1:*")
    };
    set().map_err(failed)?;
    let url = socket.get_last_endpoint().map_err(failed)?;
    let url = url.map_err(|_| BenchError::new("binding the bare broker", "its address is no text"))?;
    Ok((socket, url))
}

type Frames = Vec<Vec<u8>>;

struct Broker {
    clients: Socket,
    workers: Socket,
    free: VecDeque<Vec<u8>>,
    asked: VecDeque<Frames>,
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
                self.returned(frames);
            }
            for _ in 0..TURN_MESSAGES {
                let Ok(frames) = self.clients.recv_multipart(DONTWAIT) else { break };
                self.asked.push_back(frames);
            }
            while !self.asked.is_empty() {
                let Some(worker) = self.free.pop_front() else { break };
                let Some(asked) = self.asked.pop_front() else { break };
                self.give(worker, &asked);
            }
        }
    }

    /// `[worker, '', '', class]`, or `[worker, '', client, '', reply, class]`: with what it was given as its client, the answer
    /// finds its way.
    fn returned(&mut self, mut frames: Frames) {
        if frames.len() == 6 {
            let (client, reply) = (std::mem::take(&mut frames[2]), std::mem::take(&mut frames[4]));
            let mut letter: Frames = unpack(&client);
            letter.push(reply);
            // Whoever went away misses its answer.
            let _ = self.clients.send_multipart(letter, DONTWAIT);
        }
        self.free.push_back(frames.swap_remove(0));
    }

    /// Everything before the text is packed into one frame: the client, as the worker sees it.
    fn give(&self, worker: Vec<u8>, asked: &[Vec<u8>]) {
        let [envelope @ .., text, _class] = asked else { return };
        let letter = [worker, Vec::new(), pack(envelope), Vec::new(), text.clone()];
        let _ = self.workers.send_multipart(letter, DONTWAIT);
    }
}

/// Frames as one: the length of each (one byte suffices here) and its bytes.
fn pack(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().flat_map(|frame| std::iter::once(frame.len() as u8).chain(frame.iter().copied())).collect()
}

fn unpack(mut packed: &[u8]) -> Frames {
    let mut frames = Frames::new();
    while let Some((length, rest)) = packed.split_first() {
        let (frame, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        frames.push(frame.to_vec());
        packed = rest;
    }
    frames
}
