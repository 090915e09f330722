//! Round trips over the lab's wire: one DEALER with so many requests in flight, workers that answer at once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use zmq::{Context, Socket};

use crate::limits::{HIGH_WATER, LOOK_MS, PATIENCE};

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct BenchError {
    what: &'static str,
    why: String,
}

impl BenchError {
    /// What could not be done, and why.
    pub fn new(what: &'static str, why: impl Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// `tcp://HOST:PORT` for clients.
    pub clients: String,
    /// `tcp://HOST:PORT` for workers.
    pub workers: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests in all.
    pub requests: usize,
    /// Requests in flight at once.
    pub outstanding: usize,
    /// Workers attached.
    pub workers: usize,
    /// Bytes of each request and reply.
    pub bytes: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Answers, each to its own question.
    pub answers: usize,
    /// Milliseconds from the first question to the last answer.
    pub elapsed_ms: u64,
    /// Answers a second.
    pub per_second: u64,
    /// Microseconds from question to answer: the median, and what 99 of 100 stay under.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
}

/// The class of the workers here: nobody else's.
const CLASS: &str = "bench";

/// Attaches workers, asks, and counts.
///
/// # Errors
/// [`BenchError`]: a socket failed, an answer was nobody's, or none came for [`PATIENCE`].
pub fn measure(ends: &Ends, load: Load) -> Result<Measured, BenchError> {
    let context = Context::new();
    let workers = Workers::start(&context, &ends.workers, load)?;
    let client = socket(&context, zmq::DEALER, "C_bench", &ends.clients)?;
    let patience_ms = i32::try_from(PATIENCE.as_millis()).unwrap_or(i32::MAX);
    client.set_rcvtimeo(patience_ms).map_err(failed)?;
    let text = vec![b'x'; load.bytes];
    // The first answer shows that workers are there.
    ask(&client, u64::MAX, &text)?;
    answer(&client)?;
    let mut asked_at = Vec::with_capacity(load.requests);
    let (mut open, mut waited) = (BTreeSet::new(), Vec::with_capacity(load.requests));
    let began = Instant::now();
    while waited.len() < load.requests {
        while asked_at.len() < load.requests && open.len() < load.outstanding {
            let number = asked_at.len() as u64;
            asked_at.push(Instant::now());
            open.insert(number);
            ask(&client, number, &text)?;
        }
        let number = answer(&client)?;
        if !open.remove(&number) {
            return Err(BenchError::new(
                "asking over the lab's wire",
                format!("two answers to request {number}"),
            ));
        }
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        waited.extend(asked_at.get(place).map(Instant::elapsed));
    }
    let elapsed = began.elapsed();
    drop(workers);
    Ok(measured(elapsed, waited))
}

fn measured(elapsed: Duration, mut waited: Vec<Duration>) -> Measured {
    waited.sort_unstable();
    let at = |percent: usize| {
        let place = (waited.len() * percent / 100).min(waited.len().saturating_sub(1));
        waited.get(place).map_or(0, |waited| waited.as_micros() as u64)
    };
    let elapsed_us = elapsed.as_micros().max(1);
    Measured {
        answers: waited.len(),
        elapsed_ms: elapsed.as_millis() as u64,
        per_second: (waited.len() as u128 * 1_000_000 / elapsed_us) as u64,
        p50_us: at(50),
        p99_us: at(99),
    }
}

fn failed(error: zmq::Error) -> BenchError {
    BenchError::new("speaking the lab's wire", error)
}

fn socket(context: &Context, kind: zmq::SocketType, name: &str, url: &str) -> Result<Socket, BenchError> {
    let socket = context.socket(kind).map_err(failed)?;
    let set = || {
        socket.set_linger(0)?;
        socket.set_rcvhwm(HIGH_WATER)?;
        socket.set_sndhwm(HIGH_WATER)?;
        socket.set_identity(format!("{name}_{}", std::process::id()).as_bytes())?;
        socket.connect(url)
    };
    set().map_err(failed)?;
    Ok(socket)
}

fn ask(client: &Socket, number: u64, text: &[u8]) -> Result<(), BenchError> {
    let tag = number.to_string();
    client.send_multipart([tag.as_bytes(), b"", text, CLASS.as_bytes()], 0).map_err(failed)
}

/// The number of the request the next answer is for.
fn answer(client: &Socket) -> Result<u64, BenchError> {
    let frames = client.recv_multipart(0).map_err(failed)?;
    let strange = |why: &str| BenchError::new("hearing an answer over the lab's wire", why);
    let [tag, empty, text] = &frames[..] else { return Err(strange("it has other frames than asked for")) };
    if !empty.is_empty() || text.starts_with(b"ERROR") {
        return Err(strange(&String::from_utf8_lossy(text)));
    }
    let number = std::str::from_utf8(tag).ok().and_then(|tag| tag.parse().ok());
    number.ok_or_else(|| strange("its tag is none of ours"))
}

/// Workers of the lab, a thread and a REQ each, as programs for the lab have it.
struct Workers {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(context: &Context, url: &str, load: Load) -> Result<Self, BenchError> {
        let ending = Arc::new(AtomicBool::new(false));
        let mut workers = Self { ending, threads: Vec::new() };
        for number in 0..load.workers {
            let socket = socket(context, zmq::REQ, &format!("W_bench{number}"), url)?;
            let ended = Arc::clone(&workers.ending);
            let work = move || {
                // An error means that the measurement is over.
                let _ = serve(&socket, &ended);
            };
            let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(work);
            workers.threads.push(thread.map_err(|error| BenchError::new("starting a worker", error))?);
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}

fn serve(worker: &Socket, ending: &AtomicBool) -> zmq::Result<()> {
    worker.send_multipart([b"".as_slice(), CLASS.as_bytes()], 0)?;
    while !ending.load(Ordering::Relaxed) {
        if worker.poll(zmq::POLLIN, LOOK_MS)? == 0 {
            continue;
        }
        let frames = worker.recv_multipart(0)?;
        if let [client, _, text] = &frames[..] {
            worker.send_multipart([client.as_slice(), b"", text, CLASS.as_bytes()], 0)?;
        }
    }
    Ok(())
}
