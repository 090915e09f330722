//! What running attempts printed so far: kept within bounds, readable from anywhere while they run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use protocol::limits::{OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES, PROGRESS_SHOWN, STDERR_TAIL_BYTES};
use protocol::{AttemptRef, Progress};
use tokio::sync::watch;

use super::progress::{Said, Sieve};

/// What running attempts printed so far: shared, at most [`protocol::limits::OUTPUT_BYTES`] and
/// [`STDERR_TAIL_BYTES`] an attempt. An attempt is in it from its start until it has ended.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    open: Arc<Mutex<BTreeMap<AttemptRef, Arc<Capture>>>>,
    /// Counts the attempts that began here.
    begun: Arc<watch::Sender<u64>>,
}

impl Outputs {
    /// Standard output so far (its first and last part) and the end of standard error; none when the attempt is
    /// not a program running here.
    #[must_use]
    pub fn read(&self, attempt: AttemptRef) -> Option<(Bytes, Bytes)> {
        let capture = locked(&self.open).get(&attempt).cloned()?;
        let output = capture.output().output;
        Some((output, capture.stderr()))
    }

    /// Follows a stream of a running attempt from a byte of it on; none when the attempt is not a program running here.
    #[must_use]
    pub fn follow(&self, attempt: AttemptRef, is_stderr: bool, from: u64) -> Option<Follower> {
        let capture = locked(&self.open).get(&attempt).cloned()?;
        let news = capture.news.subscribe();
        Some(Follower { capture, is_stderr, at: from, news })
    }

    /// Changes whenever a program begins here.
    #[must_use]
    pub fn begun(&self) -> watch::Receiver<u64> {
        self.begun.subscribe()
    }

    /// How far the running attempts say they are that say so.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        let open = locked(&self.open);
        let said = open.iter().filter_map(|(attempt, capture)| {
            let (permille, text) = locked(&capture.progress).clone()?;
            Some(Progress { attempt: *attempt, permille, text })
        });
        said.take(PROGRESS_SHOWN).collect()
    }

    /// Opens the capture of an attempt.
    pub(super) fn open(&self, attempt: AttemptRef) -> Arc<Capture> {
        let capture = Arc::new(Capture::default());
        locked(&self.open).insert(attempt, Arc::clone(&capture));
        self.begun.send_modify(|begun| *begun += 1);
        capture
    }

    /// Forgets an attempt that has ended.
    pub(super) fn close(&self, attempt: AttemptRef) {
        if let Some(capture) = locked(&self.open).remove(&attempt) {
            capture.news.send_replace(true);
        }
    }
}

/// What is read at once of an attempt that is followed.
const PIECE_BYTES: usize = 64 << 10;

/// Reads what a running attempt prints, as it prints it. It holds nothing up: what left the memory before it was read is
/// passed by.
#[derive(Debug)]
pub struct Follower {
    capture: Arc<Capture>,
    is_stderr: bool,
    at: u64,
    news: watch::Receiver<bool>,
}

impl Follower {
    /// The next piece, and how far into the stream it reaches; none when the attempt has ended and all of it is read.
    pub async fn next(&mut self) -> Option<(u64, Bytes)> {
        loop {
            // Before the look: what is printed after it is news again.
            let has_ended = *self.news.borrow_and_update();
            let stream = if self.is_stderr { &self.capture.stderr } else { &self.capture.stdout };
            let (upto, piece) = locked(stream).after(self.at, PIECE_BYTES);
            if !piece.is_empty() {
                self.at = upto;
                return Some((upto, piece));
            }
            if has_ended || self.news.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// Takes a lock whose holder cannot leave the value half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output and standard error of one attempt.
#[derive(Debug)]
pub(super) struct Capture {
    stdout: Mutex<Kept>,
    stderr: Mutex<Kept>,
    heard: Mutex<Instant>,
    progress: Mutex<Option<Said>>,
    /// Changes with everything that is printed; true once nothing more is.
    news: watch::Sender<bool>,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            stdout: Mutex::new(Kept::new(OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES)),
            stderr: Mutex::new(Kept::new(0, STDERR_TAIL_BYTES)),
            heard: Mutex::new(Instant::now()),
            progress: Mutex::new(None),
            news: watch::Sender::new(false),
        }
    }
}

impl Capture {
    pub(super) fn take_stdout(&self, piece: &[u8]) {
        self.take(&self.stdout, piece);
    }

    pub(super) fn take_stderr(&self, piece: &[u8]) {
        self.take(&self.stderr, piece);
    }

    fn take(&self, stream: &Mutex<Kept>, piece: &[u8]) {
        let said = locked(stream).take(piece);
        *locked(&self.heard) = Instant::now();
        if said.is_some() {
            *locked(&self.progress) = said;
        }
        self.news.send_modify(|_| {});
    }

    /// When it last printed something; at first: when this was made.
    pub(super) fn heard(&self) -> Instant {
        *locked(&self.heard)
    }

    /// Nothing more is printed: what looked like the beginning of a progress was none.
    pub(super) fn end(&self) {
        for stream in [&self.stdout, &self.stderr] {
            let mut stream = locked(stream);
            let rest = stream.sieve.rest();
            stream.keep(&rest);
        }
        self.news.send_replace(true);
    }

    pub(super) fn output(&self) -> Output {
        locked(&self.stdout).read()
    }

    pub(super) fn stderr(&self) -> Bytes {
        locked(&self.stderr).read().output
    }
}

/// What was kept of a stream, and how much there was.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) output: Bytes,
    pub(super) output_bytes: u64,
    pub(super) truncated: bool,
}

/// The first and the last part of a stream.
#[derive(Debug)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_bytes: usize,
    tail_bytes: usize,
    total_bytes: u64,
    sieve: Sieve,
}

impl Kept {
    fn new(head_bytes: usize, tail_bytes: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_bytes,
            tail_bytes,
            total_bytes: 0,
            sieve: Sieve::default(),
        }
    }

    /// Keeps what is no progress, and gives the last of that.
    fn take(&mut self, piece: &[u8]) -> Option<Said> {
        let (kept, said) = self.sieve.sift(piece);
        self.keep(&kept);
        said
    }

    fn keep(&mut self, piece: &[u8]) {
        self.total_bytes = self.total_bytes.saturating_add(piece.len() as u64);
        let room = self.head_bytes.saturating_sub(self.head.len()).min(piece.len());
        let (first, rest) = piece.split_at(room);
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.tail_bytes)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_bytes);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// What is there from this byte of the stream on, at most so much, and how far that reaches.
    fn after(&self, at: u64, most: usize) -> (u64, Bytes) {
        let head = self.head.len() as u64;
        if at < head {
            let from = at as usize;
            let piece = Bytes::copy_from_slice(&self.head[from..self.head.len().min(from + most)]);
            return (at + piece.len() as u64, piece);
        }
        let tail_at = self.total_bytes - self.tail.len() as u64;
        let from = at.max(tail_at);
        let skip = ((from - tail_at) as usize).min(self.tail.len());
        let piece: Bytes = self.tail.range(skip..self.tail.len().min(skip + most)).copied().collect();
        (from + piece.len() as u64, piece)
    }

    fn read(&self) -> Output {
        let (front, back) = self.tail.as_slices();
        let mut output = BytesMut::with_capacity(self.head.len() + self.tail.len());
        for part in [&self.head, front, back] {
            output.extend_from_slice(part);
        }
        let truncated = self.total_bytes > output.len() as u64;
        Output { output: output.freeze(), output_bytes: self.total_bytes, truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stream_keeps_its_first_and_last_part_however_it_is_cut() {
        let stream: Vec<u8> = (0..=99).collect();
        for step in [1, 3, 7, 40, 100] {
            let mut kept = Kept::new(10, 5);
            for piece in stream.chunks(step) {
                kept.take(piece);
            }
            let read = kept.read();
            let expected: Vec<u8> = (0..10).chain(95..100).collect();
            assert_eq!(
                (&read.output[..], read.output_bytes, read.truncated),
                (&expected[..], 100, true),
                "{step}"
            );
        }
    }

    #[test]
    fn a_stream_is_read_from_any_byte_on_and_what_is_gone_is_passed_by() {
        let mut kept = Kept::new(10, 5);
        kept.take(b"0123456");
        assert_eq!(kept.after(3, 2), (5, Bytes::from_static(b"34")));
        assert_eq!(kept.after(7, 9), (7, Bytes::new()));
        kept.take(b"789abcdefgh");
        assert_eq!(kept.after(8, 9), (10, Bytes::from_static(b"89")));
        assert_eq!(kept.after(10, 3), (16, Bytes::from_static(b"def")));
        assert_eq!(kept.after(16, 9), (18, Bytes::from_static(b"gh")));
        assert_eq!(kept.after(18, 9), (18, Bytes::new()));
    }

    #[tokio::test]
    async fn whoever_follows_reads_at_once_and_hears_of_the_end() {
        let outputs = Outputs::default();
        let attempt = AttemptRef { job: protocol::JobId(1), attempt: 1 };
        assert!(outputs.follow(attempt, false, 0).is_none());
        let mut begun = outputs.begun();
        let capture = outputs.open(attempt);
        assert!(begun.has_changed().unwrap());
        begun.mark_unchanged();
        let mut follower = outputs.follow(attempt, false, 0).unwrap();
        let printing = async {
            capture.take_stdout(b"one");
            tokio::task::yield_now().await;
            capture.take_stderr(b"elsewhere");
            capture.take_stdout(b"two");
        };
        let reading = async {
            let mut read = Vec::new();
            while read.len() < 6 {
                read.extend_from_slice(&follower.next().await.unwrap().1);
            }
            read
        };
        assert_eq!(tokio::join!(printing, reading).1, b"onetwo");
        assert_eq!(
            outputs.follow(attempt, true, 4).unwrap().next().await,
            Some((9, Bytes::from_static(b"where")))
        );
        outputs.close(attempt);
        assert_eq!(follower.next().await, None);
    }

    #[test]
    fn a_stream_that_just_fits_is_whole() {
        let mut kept = Kept::new(10, 5);
        kept.take(&[7; 15]);
        assert_eq!((kept.read().output.len(), kept.read().truncated), (15, false));
        kept.take(&[7]);
        assert_eq!((kept.read().output.len(), kept.read().truncated), (15, true));
    }
}
