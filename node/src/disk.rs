//! The node's memory on disk: who it is, how often it started, and the log.
//!
//! ```text
//!   Folder::open ─▶ Empty ─found─▶ (folder, boot, log) ─▶ Disk::start ──close──▶ Closing ──▶ Folder ─reopen─▶ …
//!                └▶ Member ───────────────────────────────┘   │ ▲
//!                                            Told::Synced ◀───┘ └── write (never blocks)
//! ```
//!
//! One thread takes all writes that wait, makes them one batch, and syncs once: group commit. It only writes, reads and
//! syncs; the room `consensus` makes and checks the bytes. After a failed write or sync nothing more is written and
//! nothing more is called durable; [`Folder::reopen`] then reads what the disk itself holds, leaves out what was never
//! confirmed, and the log goes on in a fresh segment. A disk that hangs is no failure: [`Disk::waits_for`] shows it, and
//! whoever closes meanwhile waits without blocking ([`Closing`]).

mod closing;
mod direct;
mod error;
mod folder;
mod health;
mod probe;
pub(crate) mod recover;
mod repair;
mod segments;
mod small;
mod snapshots;
mod watchdog;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use consensus::{Piece, Place, Write, Writer};
use tokio::sync::watch;

pub use closing::Closing;
pub use error::DiskError;
pub use folder::{Folder, Found, Identity};
pub use health::{Health, HealthState};
pub(crate) use probe::{Pauses, WELL_FOR, room};
pub use repair::{SetAside, set_aside, would_set_aside};
use segments::Segments;
pub use snapshots::{Draft, Snapshots};
pub use watchdog::Watchdog;

/// Bytes of writes that may wait for the thread. (Their commands are shared with the log in memory, not copied.)
pub const DISK_QUEUE_BYTES: usize = 128 << 20;
/// What a write costs beside its commands, in the bound above.
const WRITE_OVERHEAD_BYTES: usize = 64;
/// A thread with nothing to do for so long gives back the memory of its large batches,
const REST: Duration = Duration::from_secs(1);
/// and one that had so many batches in a row that would have done with a quarter of it.
const SMALL_BATCHES: u32 = 64;
/// Memory of small batches, which stays.
const KEPT_BYTES: usize = 256 << 10;
/// Memory of a batch larger than this goes at once.
const KEPT_MOST_BYTES: usize = 8 << 20;
/// A spare segment that could not be prepared is tried again no sooner than after this.
const SPARE_RETRY: Duration = Duration::from_secs(1);

/// More waits for the disk than may. The node has promised nothing about these writes; it is to give up its lead, say so
/// and start again from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queueing a write: {waiting_bytes} bytes wait for the disk already, the limit is {DISK_QUEUE_BYTES}")]
pub struct Full {
    /// What waits.
    pub waiting_bytes: usize,
}

/// What the disk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Everything up to this write number is durable.
    Synced {
        /// The newest.
        number: u64,
    },
    /// A write or sync failed; nothing is written any more. Said once.
    Failed {
        /// What, where, why.
        text: String,
    },
}

/// The thread that writes and syncs. Dropping it tells it to end and does not wait.
#[derive(Debug)]
pub struct Disk {
    folder: Folder,
    shared: Leash,
    thread: JoinHandle<Option<Place>>,
    ended: watch::Receiver<()>,
}

/// What the owner shares with the thread; dropped, it tells the thread to end.
#[derive(Debug)]
struct Leash(Arc<Shared>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    syncs: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    writes: VecDeque<Write>,
    bytes: usize,
    /// Entries up to this index are in a snapshot.
    forget: Option<u64>,
    /// Number of the first write of the batch under way.
    under_way: Option<u64>,
    closing: bool,
    failed: bool,
}

impl Shared {
    /// Nothing that panics happens under this lock; should it have, what it guards is still whole.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        {
            let mut queue = self.queue();
            queue.closing = true;
            queue.writes.clear();
        }
        self.changed.notify_one();
    }
}

impl Disk {
    /// Starts it. `told` is called from its thread and must not block.
    ///
    /// # Errors
    /// [`DiskError`] when no thread can be had.
    pub fn start(
        mut folder: Folder,
        writer: Writer,
        told: impl Fn(Told) + Send + 'static,
    ) -> Result<Disk, DiskError> {
        let shared = Arc::new(Shared::default());
        let segments = Segments::new(folder.path(), folder.progress());
        let (alive, ended) = watch::channel(());
        let loop_ = Loop {
            shared: Arc::clone(&shared),
            segments,
            writer,
            room: Vec::new(),
            small: 0,
            // From here on only the thread knows how far the log is durable; it says so at its end.
            doubted: folder.take_doubt(),
            prepares: true,
            prepare_again: Instant::now(),
            _alive: alive,
        };
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || loop_.run(told))
            .map_err(DiskError::system("starting the thread for", folder.path()))?;
        Ok(Disk { folder, shared: Leash(shared), thread, ended })
    }

    /// Hands writes over, in order. Never blocks. After [`Told::Failed`] they are dropped.
    ///
    /// # Errors
    /// [`Full`]: none of them was taken.
    pub fn write(&self, writes: Vec<Write>) -> Result<(), Full> {
        let bytes: usize = writes.iter().map(write_bytes).sum();
        let mut queue = self.shared.0.queue();
        if queue.failed || writes.is_empty() {
            return Ok(());
        }
        // One hand-over is always taken when nothing waits, however large it is.
        if queue.bytes > 0 && queue.bytes + bytes > DISK_QUEUE_BYTES {
            return Err(Full { waiting_bytes: queue.bytes });
        }
        queue.bytes += bytes;
        queue.writes.extend(writes);
        drop(queue);
        self.shared.0.changed.notify_one();
        Ok(())
    }

    /// Entries up to this index are in snapshots that are safe: what of the log holds nothing else may go. Never blocks.
    pub fn forget(&self, upto: u64) {
        self.shared.0.queue().forget = Some(upto);
        self.shared.0.changed.notify_one();
    }

    /// Number of the oldest write that was handed over and is not durable yet; none: nothing waits.
    #[must_use]
    pub fn waits_for(&self) -> Option<u64> {
        let queue = self.shared.0.queue();
        if queue.failed {
            return None;
        }
        queue.under_way.or_else(|| queue.writes.front().map(|write| write.number))
    }

    /// How often data was synced for writes.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.0.syncs.load(Ordering::Relaxed)
    }

    /// Stops at once: what the thread has not begun is forgotten. The folder, still locked, comes back when the one batch
    /// under way is over.
    #[must_use]
    pub fn close(self) -> Closing {
        self.shared.0.end();
        Closing::new(self)
    }
}

/// Bytes of a write in the bound of the queue.
fn write_bytes(write: &Write) -> usize {
    let entries = write.entries.iter().map(|entry| entry.data.len() + WRITE_OVERHEAD_BYTES);
    entries.sum::<usize>() + WRITE_OVERHEAD_BYTES
}

/// What the thread owns.
struct Loop {
    shared: Arc<Shared>,
    segments: Segments,
    writer: Writer,
    /// What the last batch was made in, for the next one.
    room: Vec<u8>,
    /// Batches in a row that were small beside it.
    small: u32,
    /// Everything in the files behind this place is to be left out: an earlier thread failed there. None once the log goes on
    /// elsewhere.
    doubted: Option<Place>,
    prepares: bool,
    prepare_again: Instant,
    /// Dropped when the thread ends, however it ends.
    _alive: watch::Sender<()>,
}

impl Loop {
    /// Gives the place behind which the files must not be believed, if there is one.
    fn run(mut self, told: impl Fn(Told)) -> Option<Place> {
        while let Some(writes) = self.next_batch() {
            let Some(number) = writes.last().map(|write| write.number) else { continue };
            let pieces = self.writer.batch_in(std::mem::take(&mut self.room), &writes);
            if let Err(error) = self.segments.write(&pieces) {
                let mut queue = self.shared.queue();
                queue.failed = true;
                queue.writes.clear();
                queue.bytes = 0;
                drop(queue);
                told(Told::Failed { text: error.to_string() });
                return Some(self.writer.durable_end());
            }
            self.writer.synced();
            self.keep(pieces);
            self.doubted = None;
            self.shared.queue().under_way = None;
            self.shared.syncs.store(self.segments.syncs(), Ordering::Relaxed);
            told(Told::Synced { number });
        }
        self.doubted
    }

    /// Keeps the memory of a batch for the next one, as long as such are written.
    fn keep(&mut self, pieces: Vec<Piece>) {
        self.room = pieces.into_iter().next_back().map(|piece| piece.bytes).unwrap_or_default();
        let held = self.held_bytes();
        let is_small = held > KEPT_BYTES && self.room.len() < held / 4;
        self.small = if is_small { self.small + 1 } else { 0 };
        if held > KEPT_MOST_BYTES || self.small >= SMALL_BATCHES {
            self.rest();
        }
    }

    /// Memory that batches left here: the larger of the two pieces.
    fn held_bytes(&mut self) -> usize {
        let written = self.segments.memory_mut().map_or(0, |memory| memory.capacity());
        self.room.capacity().max(written)
    }

    /// Gives it back.
    fn rest(&mut self) {
        self.small = 0;
        self.room = Vec::new();
        if let Some(memory) = self.segments.memory_mut() {
            *memory = Vec::new();
        }
    }

    /// Lets the files of segments go that are in snapshots.
    fn forget(&mut self, upto: u64) {
        let gone = self.writer.forget(upto);
        if let Err(error) = self.segments.recycle(&gone) {
            tracing::warn!(%error, "an old part of the log could not be recycled; it takes room until the next start");
        }
    }

    /// All that waits; while nothing does, prepares the next segment, then sleeps. `None`: closing.
    fn next_batch(&mut self) -> Option<Vec<Write>> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut queue = shared.queue();
            while queue.writes.is_empty() && queue.forget.is_none() && !queue.closing && !self.prepares {
                queue = if self.held_bytes() > KEPT_BYTES {
                    let waited = shared.changed.wait_timeout(queue, REST);
                    let (waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        drop(waiting);
                        self.rest();
                        shared.queue()
                    } else {
                        waiting
                    }
                } else {
                    shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
                };
            }
            if queue.closing {
                return None;
            }
            // Not only in idle moments: under load there may be none.
            if let Some(upto) = queue.forget.take() {
                drop(queue);
                self.forget(upto);
                continue;
            }
            if let Some(first) = queue.writes.front() {
                queue.under_way = Some(first.number);
                queue.bytes = 0;
                // The batch may use up the spare.
                self.prepares = Instant::now() >= self.prepare_again;
                return Some(queue.writes.drain(..).collect());
            }
            drop(queue);
            self.prepares = self.segments.prepare().unwrap_or_else(|error| {
                tracing::warn!(%error, "no spare log segment could be prepared; it is tried again when more is written");
                self.prepare_again = Instant::now() + SPARE_RETRY;
                false
            });
        }
    }
}

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;
