//! Snapshots of one start: when one is made, how one comes from a peer, and what that lets go of the log.
//!
//! ```text
//!   turned ──due──▶ thread: pieces of a cloned ledger ─▶ draft ──durable_upto──▶ number ─▶ SnapshotSafe, the log shrinks
//!   Fetch  ───────▶ task: parts from a peer ─▶ checked, number ─▶ SnapshotFetched(ledger)
//!   a peer asks ──▶ part of a file
//! ```
//!
//! Nothing here is done in the owner's loop but to clone pointers and to hand files to threads.
//!
//! A crash anywhere leaves one of these: a file without a number (removed at the next start), a snapshot beside a log that
//! still holds all of it, or a snapshot that is ahead of the log (then it takes the log's place at the next start). So the
//! number comes before the log shrinks, and before consensus hears of a fetched one.

mod fetch;
pub(crate) mod limits;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cast::{Cast, Input};
use consensus::Base;
use master::Ledger;
use protocol::NodeId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::disk::{Disk, DiskError, Draft, Snapshots};
use crate::link::BulkHandle;
pub(crate) use serve::{Served, shelf};

/// What the threads and tasks of snapshots say.
#[derive(Debug)]
pub(crate) enum SnapshotTold {
    /// One is on disk, without a number yet; nothing: this start is over.
    Drafted(Result<Option<Draft>, DiskError>),
    /// It has its number.
    Published(Result<Base, DiskError>),
    /// A peer's is on disk, under its number.
    Fetched {
        /// Where it stands.
        index: u64,
        /// What is in it.
        ledger: Box<Ledger>,
    },
    /// A peer's could not be had.
    Lost {
        /// Where it stands.
        index: u64,
        /// Why.
        text: String,
    },
}

/// Keeps a node's snapshots.
pub(crate) struct Keeper {
    handle: Handle,
    files: Snapshots,
    log: logdb::Log,
    told: mpsc::Sender<SnapshotTold>,
    due_bytes: u64,
    /// Size of the newest one made here: a large state is not written again for a little of log.
    last_bytes: u64,
    /// This start is over: threads may stop.
    over: Arc<AtomicBool>,
    served: Arc<Served>,
    /// One is in the making.
    busy: bool,
    /// A member waits for a newer one.
    wanted: bool,
    /// None is begun before this moment: the last one failed.
    not_before: Option<Instant>,
    /// On disk, and waiting until everything in it is durable elsewhere too.
    draft: Option<Draft>,
    /// The last command in it: behind that there may be changes of members, of which nothing is kept elsewhere.
    last_command: u64,
    began: Instant,
    /// Index of the newest one; the log is kept from the one before on.
    newest: u64,
    fetching: Option<AbortHandle>,
}

impl Keeper {
    pub(crate) fn new(
        handle: &Handle,
        files: Snapshots,
        log: logdb::Log,
        told: mpsc::Sender<SnapshotTold>,
        due_bytes: u64,
        served: Arc<Served>,
    ) -> Self {
        Self {
            handle: handle.clone(),
            files,
            log,
            told,
            due_bytes,
            last_bytes: 0,
            over: Arc::default(),
            served,
            busy: false,
            wanted: false,
            not_before: None,
            draft: None,
            last_command: 0,
            began: Instant::now(),
            newest: 0,
            fetching: None,
        }
    }

    /// After a turn: begins a snapshot when one is due. Up to `durable_upto` everything that left the ledger is durable
    /// outside of the log too: no snapshot beyond it gets its number, because the log before a snapshot goes.
    pub(crate) fn turned(&mut self, cast: &mut Cast, durable_upto: u64) {
        self.wanted |= cast.newer_snapshot_wanted();
        if let Some(draft) = self.draft.take_if(|_| self.last_command <= durable_upto) {
            self.publish(draft);
        }
        let bytes = cast.bytes_after_snapshot();
        let open = (cast.ledger().open_jobs(), cast.ledger().open_bytes());
        let log_bytes = limits::log_bytes(self.due_bytes, self.last_bytes, open, self.served.lately());
        let due = self.wanted || bytes > log_bytes;
        if self.busy || !due || self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return;
        }
        self.wanted = false;
        self.newest = self.newest.max(cast.snapshot().index);
        let (base, ledger) = cast.begin_snapshot();
        if base.index > self.newest {
            self.make(base, ledger);
        }
    }

    /// On a thread of its own, from a ledger that shares everything with the one that goes on.
    fn make(&mut self, base: Base, ledger: Ledger) {
        (self.busy, self.began, self.last_command) = (true, Instant::now(), ledger.applied());
        let (files, told, over) = (self.files.clone(), self.told.clone(), Arc::clone(&self.over));
        let work = move || {
            let drafted = files.draft(&base, ledger.pieces(), || over.load(Ordering::Relaxed));
            drop(ledger);
            // Nobody listens any more when this start is over.
            let _ = told.blocking_send(SnapshotTold::Drafted(drafted));
        };
        if let Err(error) = std::thread::Builder::new().name("snapshot".to_string()).spawn(work) {
            self.failed(&format!("no thread for it: {error}"));
        }
    }

    fn publish(&self, draft: Draft) {
        let told = self.told.clone();
        self.handle.spawn_blocking(move || {
            let base = draft.base.clone();
            let _ = told.blocking_send(SnapshotTold::Published(draft.publish().map(|()| base)));
        });
    }

    /// What a thread or task said.
    pub(crate) fn told(&mut self, told: SnapshotTold, disk: Option<&Disk>, inputs: &mut Vec<Input>) {
        match told {
            SnapshotTold::Drafted(Ok(Some(draft))) => {
                self.last_bytes = draft.bytes;
                self.draft = Some(draft);
            }
            SnapshotTold::Drafted(Ok(None)) => self.busy = false,
            SnapshotTold::Drafted(Err(error)) | SnapshotTold::Published(Err(error)) => {
                self.failed(&error.to_string());
            }
            SnapshotTold::Published(Ok(base)) => {
                self.busy = false;
                let took_ms = self.began.elapsed().as_millis();
                let line =
                    format!("made a snapshot of everything up to index {} in {took_ms} ms", base.index);
                self.log.record(logdb::Level::Info, "snapshot", None, &line);
                if base.index > self.newest {
                    // The log stays from the one before on, in case the newest cannot be read one day.
                    disk.inspect(|disk| disk.forget(self.newest));
                    self.newest = base.index;
                }
                inputs.push(Input::SnapshotSafe { base, margin_bytes: limits::margin_bytes(self.due_bytes) });
            }
            SnapshotTold::Fetched { index, ledger } => {
                self.fetching = None;
                let line = format!("fetched a snapshot of everything up to index {index}");
                self.log.record(logdb::Level::Info, "snapshot", None, &line);
                inputs.push(Input::SnapshotFetched { index, ledger });
            }
            SnapshotTold::Lost { index, text } => {
                self.fetching = None;
                let line = format!("the snapshot at index {index} could not be fetched: {text}");
                self.log.record(logdb::Level::Warn, "snapshot", None, &line);
                inputs.push(Input::SnapshotLost { index });
            }
        }
    }

    fn failed(&mut self, why: &str) {
        self.busy = false;
        self.not_before = Some(Instant::now() + limits::FAILED_PAUSE);
        self.log.record(logdb::Level::Warn, "snapshot", None, format!("no snapshot could be made: {why}"));
    }

    /// Consensus needs a peer's snapshot.
    pub(crate) fn fetch(&mut self, bulk: BulkHandle, from: NodeId, base: Base) {
        let line = format!(
            "this node is far behind: it fetches the snapshot at index {} from node {from}",
            base.index
        );
        self.log.record(logdb::Level::Info, "snapshot", None, &line);
        let (files, told) = (self.files.clone(), self.told.clone());
        let task = self.handle.spawn(async move {
            let index = base.index;
            let said = match fetch::fetch(&bulk, from, base, files).await {
                Ok(ledger) => SnapshotTold::Fetched { index, ledger: Box::new(ledger) },
                Err(error) => SnapshotTold::Lost { index, text: error.to_string() },
            };
            let _ = told.send(said).await;
        });
        if let Some(before) = self.fetching.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// A fetched snapshot took the place of the log.
    pub(crate) fn restored(&mut self, index: u64) {
        self.newest = self.newest.max(index);
        let line = format!("went on to index {index} by a snapshot");
        self.log.record(logdb::Level::Info, "snapshot", None, &line);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(task) = self.fetching.take() {
            task.abort();
        }
    }
}
