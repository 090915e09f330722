//! The front end's HTTP side: takes the broker's calls, writes them down, and answers as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::eventually;

/// Lines and bytes of one request, at most.
const LINES: usize = 100;
const BODY_BYTES: usize = 1 << 20;
/// A caller that stops in the middle of a request is left alone.
const MIDDLE: Duration = Duration::from_secs(10);

/// One call as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// `HTTP/1.1`.
    pub version: String,
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header of this name; empty: it was not there.
    pub authorization: String,
    /// `Content-Type`.
    pub kind: String,
    /// The body.
    pub body: String,
    /// What it was answered with.
    pub answer: u16,
}

#[derive(Debug, Default)]
struct Inside {
    book: Mutex<Vec<Call>>,
    failing: AtomicUsize,
    ending: AtomicBool,
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Notifier {
    inside: Arc<Inside>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Notifier {
    /// Listens at this port.
    ///
    /// # Panics
    /// When it is taken.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let inside = Arc::<Inside>::default();
        let of_thread = Arc::clone(&inside);
        let listen = move || {
            for stream in listener.incoming().flatten() {
                if of_thread.ending.load(Ordering::Relaxed) {
                    return;
                }
                let of_call = Arc::clone(&of_thread);
                // One that never ends its request must not keep the others waiting.
                std::thread::spawn(move || answer(&of_call, stream));
            }
        };
        Self { inside, port, thread: Some(std::thread::spawn(listen)) }
    }

    /// The next so many calls are answered 500.
    pub fn fails(&self, times: usize) {
        self.inside.failing.store(times, Ordering::Relaxed);
    }

    /// All calls so far, those it answered 500 too.
    ///
    /// # Panics
    /// When a thread of its panicked.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.inside.book.lock().expect("no thread panicked inside").clone()
    }

    /// The calls about one job's end that it answered well, by their bodies: how often each came.
    #[must_use]
    pub fn told(&self, id: &str) -> BTreeMap<String, usize> {
        let path = format!("/broker-reports/job-status/{id}");
        let mut told = BTreeMap::new();
        for call in self.calls().into_iter().filter(|call| call.path == path && call.answer == 200) {
            *told.entry(call.body).or_default() += 1;
        }
        told
    }

    /// Waits until it was told how this job ended; the body.
    pub async fn hears(&self, id: &str) -> String {
        let what = format!("the notifier is told how {id} ended");
        eventually(&what, async || self.told(id).into_keys().next()).await
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.inside.ending.store(true, Ordering::Relaxed);
        // Wakes the listener; when that fails it is gone already.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(inside: &Inside, stream: TcpStream) {
    let Some((mut call, mut stream)) = request(stream) else { return };
    let fails = inside.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    call.answer = if fails.is_ok() { 500 } else { 200 };
    let (status, reason) = if fails.is_ok() { (500, "Internal Server Error") } else { (200, "OK") };
    inside.book.lock().expect("no thread panicked inside").push(call);
    // A caller that has gone away has been told all the same, as far as the book goes.
    let _ = write!(stream, "HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/// None: it was not a whole request.
fn request(stream: TcpStream) -> Option<(Call, TcpStream)> {
    stream.set_read_timeout(Some(MIDDLE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(ToString::to_string);
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    for _ in 0..LINES {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let mut header = |name: &str| headers.remove(name).unwrap_or_default();
    let length: usize = header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length.min(BODY_BYTES)];
    reader.read_exact(&mut body).ok()?;
    let (authorization, kind) = (header("authorization"), header("content-type"));
    let body = String::from_utf8_lossy(&body).into_owned();
    Some((Call { version, method, path, authorization, kind, body, answer: 0 }, stream))
}
