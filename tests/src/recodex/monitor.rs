//! The monitor: a ROUTER with a name of its own that brokers connect to; here it only writes down what it hears.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Frames, socket, text};
use crate::wait::eventually;

/// What brokers address it by.
const NAME: &[u8] = b"recodex-monitor";
/// How often its thread looks whether it shall end.
const LOOK_MS: i64 = 50;

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    book: Arc<Mutex<Vec<Frames>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Binds this port.
    ///
    /// # Panics
    /// When it is taken.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let router = socket(zmq::ROUTER);
        router.set_identity(NAME).expect("a name");
        router.bind(&format!("tcp://127.0.0.1:{port}")).expect("a free port");
        let (book, ending) = (Arc::<Mutex<Vec<Frames>>>::default(), Arc::<AtomicBool>::default());
        let (pages, ends) = (Arc::clone(&book), Arc::clone(&ending));
        let listen = move || {
            while !ends.load(Ordering::Relaxed) {
                if router.poll(zmq::POLLIN, LOOK_MS).expect("a socket can be asked") == 0 {
                    continue;
                }
                let mut frames = text(router.recv_multipart(0).expect("there is a message"));
                // The first one is the broker's own name on this connection.
                frames.remove(0);
                pages.lock().expect("no thread panicked inside").push(frames);
            }
        };
        Self { book, ending, thread: Some(std::thread::spawn(listen)) }
    }

    /// All it heard so far, in order; over all brokers.
    ///
    /// # Panics
    /// When its thread panicked.
    #[must_use]
    pub fn heard(&self) -> Vec<Frames> {
        self.book.lock().expect("no thread panicked inside").clone()
    }

    /// What it heard of one job, without the job's id.
    #[must_use]
    pub fn of(&self, id: &str) -> Vec<Frames> {
        let about = self.heard().into_iter().filter(|frames| frames[0] == id);
        about.map(|frames| frames[1..].to_vec()).collect()
    }

    /// Waits until it has heard this of the job.
    pub async fn hears(&self, id: &str, states: &[&str]) {
        let what = format!("the monitor hears {states:?} of {id}");
        eventually(&what, async || self.of(id).iter().any(|said| said == states).then_some(())).await;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its is on standard error already.
            let _ = thread.join();
        }
    }
}
