//! What running attempts printed so far: kept within bounds, readable from anywhere while they run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use protocol::limits::{OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES, PROGRESS_SHOWN, STDERR_TAIL_BYTES};
use protocol::{AttemptRef, Progress};

use super::progress::{Said, Sieve};

/// What running attempts printed so far: shared, at most [`protocol::limits::OUTPUT_BYTES`] and
/// [`STDERR_TAIL_BYTES`] an attempt. An attempt is in it from its start until it has ended.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    open: Arc<Mutex<BTreeMap<AttemptRef, Arc<Capture>>>>,
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
        capture
    }

    /// Forgets an attempt that has ended.
    pub(super) fn close(&self, attempt: AttemptRef) {
        locked(&self.open).remove(&attempt);
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
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            stdout: Mutex::new(Kept::new(OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES)),
            stderr: Mutex::new(Kept::new(0, STDERR_TAIL_BYTES)),
            heard: Mutex::new(Instant::now()),
            progress: Mutex::new(None),
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
    fn a_stream_that_just_fits_is_whole() {
        let mut kept = Kept::new(10, 5);
        kept.take(&[7; 15]);
        assert_eq!((kept.read().output.len(), kept.read().truncated), (15, false));
        kept.take(&[7]);
        assert_eq!((kept.read().output.len(), kept.read().truncated), (15, true));
    }
}
