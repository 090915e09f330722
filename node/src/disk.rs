//! The node's memory on disk: who it is, how often it started, and the log.
//!
//! ```text
//!   Folder::open ─▶ Empty ─found─▶ (folder, boot, log) ─▶ Disk::start ──close──▶ Folder ─reopen─▶ …
//!                └▶ Member ───────────────────────────────┘   │ ▲
//!                                            Told::Synced ◀───┘ └── write (never blocks)
//! ```
//!
//! One thread takes all writes that wait, makes them one batch, and syncs once: group commit. It only writes, reads and
//! syncs; the room `consensus` makes and checks the bytes. After a failed write or sync nothing more is written and
//! nothing more is called durable; [`Folder::reopen`] (or a restart) then reads what the disk itself holds.

mod error;
mod folder;
mod segments;
mod small;
mod snapshots;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use consensus::{Write, Writer};

pub use error::DiskError;
pub use folder::{Folder, Found, Identity};
use segments::Segments;
pub use snapshots::{Draft, Snapshots};

/// Bytes of writes that may wait for the thread. (Their commands are shared with the log in memory, not copied.)
pub const DISK_QUEUE_BYTES: usize = 128 << 20;
/// What a write costs beside its commands, in the bound above.
const WRITE_OVERHEAD_BYTES: usize = 64;

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

/// The thread that writes and syncs. Dropping it ends it too.
#[derive(Debug)]
pub struct Disk {
    folder: Option<Folder>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
    closing: bool,
    failed: bool,
}

impl Shared {
    /// Nothing that panics happens under this lock; should it have, what it guards is still whole.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Starts it. `told` is called from its thread and must not block.
    ///
    /// # Errors
    /// [`DiskError`] when no thread can be had.
    pub fn start(
        folder: Folder,
        writer: Writer,
        told: impl Fn(Told) + Send + 'static,
    ) -> Result<Disk, DiskError> {
        let shared = Arc::new(Shared::default());
        let segments = Segments::new(folder.path(), folder.progress());
        let loop_ = Loop { shared: Arc::clone(&shared), segments, writer, prepares: true };
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || loop_.run(told))
            .map_err(DiskError::system("starting the thread for", folder.path()))?;
        Ok(Disk { folder: Some(folder), shared, thread: Some(thread) })
    }

    /// Hands writes over, in order. Never blocks. After [`Told::Failed`] they are dropped.
    ///
    /// # Errors
    /// [`Full`]: none of them was taken.
    pub fn write(&self, writes: Vec<Write>) -> Result<(), Full> {
        let bytes: usize = writes.iter().map(write_bytes).sum();
        let mut queue = self.shared.queue();
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
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Entries up to this index are in snapshots that are safe: what of the log holds nothing else may go. Never blocks.
    pub fn forget(&self, upto: u64) {
        self.shared.queue().forget = Some(upto);
        self.shared.changed.notify_one();
    }

    /// How often data was synced for writes.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Stops at once: what the thread has not begun is forgotten. Waits for at most the one batch under way. The folder stays
    /// locked.
    #[must_use]
    pub fn close(mut self) -> Folder {
        self.end();
        match self.folder.take() {
            Some(folder) => folder,
            None => unreachable!("the folder is taken only here, and `self` ends here"),
        }
    }

    fn end(&mut self) {
        {
            let mut queue = self.shared.queue();
            queue.closing = true;
            queue.writes.clear();
        }
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the disk thread ended by a panic; what it had not reported is not counted as written"
            );
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.end();
    }
}

fn write_bytes(write: &Write) -> usize {
    let entries = write.entries.iter().map(|entry| entry.data.len() + WRITE_OVERHEAD_BYTES);
    entries.sum::<usize>() + WRITE_OVERHEAD_BYTES
}

/// What the thread owns.
struct Loop {
    shared: Arc<Shared>,
    segments: Segments,
    writer: Writer,
    prepares: bool,
}

impl Loop {
    fn run(mut self, told: impl Fn(Told)) {
        while let Some(writes) = self.next_batch() {
            let Some(number) = writes.last().map(|write| write.number) else { continue };
            let pieces = self.writer.batch(&writes);
            if let Err(error) = self.segments.write(&pieces) {
                let mut queue = self.shared.queue();
                queue.failed = true;
                queue.writes.clear();
                queue.bytes = 0;
                drop(queue);
                told(Told::Failed { text: error.to_string() });
                return;
            }
            self.writer.synced();
            self.shared.syncs.store(self.segments.syncs(), Ordering::Relaxed);
            told(Told::Synced { number });
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
        loop {
            let mut queue = self.shared.queue();
            while queue.writes.is_empty() && queue.forget.is_none() && !queue.closing && !self.prepares {
                queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
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
            if !queue.writes.is_empty() {
                queue.bytes = 0;
                // The batch may use up the spare.
                self.prepares = true;
                return Some(queue.writes.drain(..).collect());
            }
            drop(queue);
            self.prepares = self.segments.prepare().unwrap_or_else(|error| {
                tracing::warn!(%error, "no spare log segment could be prepared; it is tried again when one is needed");
                false
            });
        }
    }
}

#[cfg(test)]
mod tests;
