//! Somebody on the wire: stands where the others look for a node, passes everything on, and writes down what it sees.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One direction of one connection.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The port that was dialled.
    pub port: u16,
    /// From the dialler to the listener.
    pub inward: bool,
    /// All of it.
    pub bytes: Vec<u8>,
}

type Book = Arc<Mutex<Vec<Seen>>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Tap {
    book: Book,
    _listeners: JoinSet<()>,
}

impl Tap {
    /// Passes what is dialled at these ports of `outer` on to the same ports of `inner`.
    ///
    /// # Panics
    /// When a port is taken.
    pub async fn between(outer: &str, inner: &str, ports: impl IntoIterator<Item = u16>) -> Self {
        let (book, mut listeners) = (Book::default(), JoinSet::new());
        for port in ports {
            let listener = TcpListener::bind((outer, port)).await.expect("a port for the tap");
            listeners.spawn(listen(listener, inner.to_string(), port, Arc::clone(&book)));
        }
        Self { book, _listeners: listeners }
    }

    /// What was seen so far of connections to this port.
    #[must_use]
    pub fn seen(&self, port: u16) -> Vec<Seen> {
        let book = self.book.lock().expect("no task panicked inside");
        book.iter().filter(|seen| seen.port == port).cloned().collect()
    }

    /// How many bytes were seen at these ports, and in how many streams the mark stood.
    #[must_use]
    pub fn look(&self, ports: &[u16], mark: &[u8]) -> (usize, usize) {
        let seen: Vec<Seen> = ports.iter().flat_map(|port| self.seen(*port)).collect();
        let bears = |seen: &&Seen| seen.bytes.windows(mark.len()).any(|part| part == mark);
        (seen.iter().map(|seen| seen.bytes.len()).sum(), seen.iter().filter(bears).count())
    }
}

async fn listen(listener: TcpListener, inner: String, port: u16, book: Book) {
    let mut passing = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        // Whoever is not there is not there behind the tap either.
        let Ok(far) = TcpStream::connect((inner.as_str(), port)).await else { continue };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        passing.spawn(pass(near_in, far_out, Arc::clone(&book), port, true));
        passing.spawn(pass(far_in, near_out, Arc::clone(&book), port, false));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, book: Book, port: u16, inward: bool) {
    let place = {
        let mut book = book.lock().expect("no task panicked inside");
        book.push(Seen { port, inward, bytes: Vec::new() });
        book.len() - 1
    };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let part = &buffer[..bytes];
        book.lock().expect("no task panicked inside")[place].bytes.extend_from_slice(part);
        if to.write_all(part).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
