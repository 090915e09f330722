//! History: every job that has ended, and every fact, in SQLite on every node, written behind the apply.
//!
//! ```text
//!   apply ──Fact, ended job──▶ backlog ──batches──▶ writer (a thread) ──▶ history.sqlite
//!                                 │                                           │
//!   a reader: ledger, then ───────┴──────────── then ────────────────────────┘
//! ```
//!
//! **Decides:** nothing; it keeps what was applied. How far it has come is written in the same transaction, so that a replay
//! of the log after a crash goes on from there. What a checkpoint has synced is *durable*: only up to there may the log be
//! let go ([`Progress::durable`]).
//! **Driven by:** the owner loop, which never waits for it; HTTP, which reads.
//! **Leaves out:** which jobs are still held by the ledger (`master`).

mod backlog;
mod carry;
mod error;
mod exchange;
mod facts;
mod filing;
mod filler;
mod filter;
mod find;
mod holes;
mod limits;
mod row;
mod store;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use master::Ledger;
use protocol::ClusterId;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, watch};

pub(crate) use backlog::Batch;
pub(crate) use carry::Carried;
pub use error::ArchiveError;
pub use exchange::Question;
pub(crate) use filing::{Filing, shelf};
pub(crate) use filter::Filter;
pub(crate) use find::page;
pub(crate) use holes::Hole;
pub(crate) use row::Listed;

use backlog::Backlog;
use limits::CLOSING;
use writer::Writer;

/// Folder of the archive inside the data folder, and its file.
const PLACE: &str = "archive/history.sqlite";

/// How far the archive is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything up to this entry of the log is in it.
    pub(crate) applied: u64,
    /// Everything up to this entry is in it after a power cut too.
    pub(crate) durable: u64,
    /// Numbers of the newest end and of the newest fact that it knows of.
    pub(crate) last_end: u64,
    pub(crate) last_fact: u64,
    /// Number of the last fact that is forgotten.
    pub(crate) forgotten_facts: u64,
    /// What it never saw.
    pub(crate) holes: Vec<Hole>,
}

/// The archive of one start of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Archive(Arc<Inside>);

struct Inside {
    backlog: Mutex<Backlog>,
    /// Something came, or the start is over.
    wake: Notify,
    /// The same, and it must not wait for more to come.
    hurry: Notify,
    pool: SqlitePool,
    progress: watch::Sender<Progress>,
    trouble: Mutex<Option<String>>,
    closed: watch::Sender<bool>,
    log: logdb::Log,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Opens the archive in a data folder, and makes it where there is none.
    ///
    /// # Errors
    /// [`ArchiveError`], naming the file.
    pub(crate) async fn open(data: &Path, cluster: ClusterId, log: logdb::Log) -> Result<Self, ArchiveError> {
        let (store, pool) = store::open(&data.join(PLACE), cluster).await?;
        let about = store.about();
        let progress = Progress {
            applied: about.applied,
            durable: 0,
            last_end: about.last_end,
            last_fact: about.last_fact,
            forgotten_facts: about.forgotten_facts,
            holes: store.holes().to_vec(),
        };
        let inside = Arc::new(Inside {
            backlog: Mutex::default(),
            wake: Notify::new(),
            hurry: Notify::new(),
            pool,
            progress: watch::Sender::new(progress),
            trouble: Mutex::default(),
            closed: watch::Sender::new(false),
            log,
        });
        Writer::start(store, Arc::clone(&inside))?;
        Ok(Self(inside))
    }

    /// What some entries brought about; whole entries, in order. Never waits. Says whether too much waits by now.
    pub(crate) fn push(&self, batch: Batch) -> bool {
        let wakes = !batch.is_empty();
        let (is_full, is_much) = {
            let mut backlog = locked(&self.0.backlog);
            backlog.push(batch);
            (backlog.is_full(), backlog.is_much())
        };
        if wakes {
            self.0.wake.notify_one();
        }
        if is_much {
            self.0.hurry.notify_one();
        }
        is_full
    }

    /// The ledger was replaced by another one: what it holds of history is kept, what it has gone past is missing.
    pub(crate) fn restored(&self, ledger: &Ledger) {
        let mut batch = Batch {
            applied: ledger.applied(),
            last_end: ledger.last_end(),
            last_fact: ledger.last_fact(),
            forgotten: ledger.forgotten().upto,
            is_whole: true,
            ..Batch::default()
        };
        ledger.facts_after(0).for_each(|fact| batch.hear(fact, None));
        ledger.newest(None).filter(|job| job.state.is_terminal()).for_each(|job| batch.put(job));
        locked(&self.0.backlog).push(batch);
        self.0.wake.notify_one();
    }

    /// Whether so much waits to be written that no new job should be taken.
    pub(crate) fn is_full(&self) -> bool {
        locked(&self.0.backlog).is_full()
    }

    /// Bytes that wait to be written.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        locked(&self.0.backlog).bytes()
    }

    /// How far it is, now and later.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    /// Whether it has every job that has ended, apart from those that wait or are forgotten.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.progress.borrow().holes.iter().all(|hole| hole.kind != holes::Kind::Ends)
    }

    /// Why it cannot be written now.
    pub(crate) fn trouble(&self) -> Option<String> {
        locked(&self.0.trouble).clone()
    }

    /// Ends it. What waits is forgotten: the log has it.
    pub(crate) async fn close(&self) {
        locked(&self.0.backlog).is_closing = true;
        self.0.wake.notify_one();
        self.0.hurry.notify_one();
        let ended = async {
            let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
            self.0.pool.close().await;
        };
        // On a disk that hangs it ends when it can; what it writes then is what any other start would write.
        let _ = tokio::time::timeout(CLOSING, ended).await;
    }
}

/// The archive as HTTP finds it: there while the node is not stopped.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<RwLock<Option<Archive>>>);

impl History {
    pub(crate) fn now(&self) -> Option<Archive> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, archive: Option<Archive>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = archive;
    }
}

/// Takes a lock whose holder cannot leave the value half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
