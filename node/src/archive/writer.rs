//! The one who writes: a thread of its own, so that neither the owner loop nor HTTP ever waits for SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ArchiveError;
use super::limits::{CHECKPOINT_BYTES, CHECKPOINT_EVERY, GATHER, REST, REST_MOST, RETRY};
use super::store::{About, Store};
use super::{Inside, Progress, locked};

/// Writes what waits until it is told to end.
pub(super) struct Writer {
    store: Store,
    inside: Arc<Inside>,
    /// Written and not safe yet: since when, and about how many bytes.
    unsafe_since: Option<Instant>,
    unsafe_bytes: u64,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(store: Store, inside: Arc<Inside>) -> Result<(), ArchiveError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ArchiveError::Thread)?;
        let writer = Self { store, inside, unsafe_since: None, unsafe_bytes: 0 };
        std::thread::Builder::new()
            .name("archive".to_string())
            .spawn(move || runtime.block_on(writer.serve()))
            .map(drop)
            .map_err(ArchiveError::Thread)
    }

    async fn serve(mut self) {
        loop {
            let (batches, applied, is_closing) = {
                let backlog = locked(&self.inside.backlog);
                (backlog.next(), backlog.applied(), backlog.is_closing)
            };
            if is_closing {
                break;
            }
            if batches.is_empty() {
                self.rest(applied).await;
                continue;
            }
            let began = Instant::now();
            let upto = batches.iter().map(|batch| batch.applied).max().unwrap_or(0);
            match self.store.write(&batches, upto).await {
                Ok(()) => {
                    let mut backlog = locked(&self.inside.backlog);
                    let before = backlog.bytes();
                    backlog.written(batches.len());
                    self.unsafe_bytes += before - backlog.bytes();
                }
                Err(error) => {
                    self.trouble(Some(&error));
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            self.unsafe_since.get_or_insert_with(Instant::now);
            self.trouble(None);
            if let Some(damage) = self.store.damage() {
                let line = format!("history is kept longer than it should be: {damage}");
                self.inside.log.record(logdb::Level::Warn, "archive", None, line);
            }
            self.tell(None);
            if self.is_due() {
                self.make_safe().await;
            }
            self.gather(began.elapsed()).await;
        }
        self.store.close().await;
        self.inside.closed.send_replace(true);
    }

    /// Nothing waits: what is written becomes safe when it is time, and how far the log was applied is written with it.
    async fn rest(&mut self, applied: u64) {
        let about = self.store.about();
        if self.unsafe_since.is_none() && applied == about.applied {
            self.inside.wake.notified().await;
            return;
        }
        let since = *self.unsafe_since.get_or_insert_with(Instant::now);
        let left = CHECKPOINT_EVERY.saturating_sub(since.elapsed());
        if !left.is_zero() && tokio::time::timeout(left, self.inside.wake.notified()).await.is_ok() {
            return;
        }
        let written = if applied > about.applied { self.store.write(&[], applied).await } else { Ok(()) };
        match written {
            Ok(()) => self.make_safe().await,
            Err(error) => {
                self.trouble(Some(&error));
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Lets more come before the next transaction, and others work; whoever reads looks at what waits, too.
    async fn gather(&self, took: Duration) {
        if !locked(&self.inside.backlog).is_much() {
            let rest = (took * REST).clamp(GATHER, REST_MOST);
            // It makes no difference which of the two it was.
            let _ = tokio::time::timeout(rest, self.inside.hurry.notified()).await;
        }
    }

    fn is_due(&self) -> bool {
        self.unsafe_bytes >= CHECKPOINT_BYTES
            || self.unsafe_since.is_some_and(|since| since.elapsed() >= CHECKPOINT_EVERY)
    }

    async fn make_safe(&mut self) {
        match self.store.checkpoint().await {
            Ok(true) => {
                (self.unsafe_since, self.unsafe_bytes) = (None, 0);
                self.trouble(None);
                self.tell(Some(self.store.about().applied));
            }
            // A reader was in the way: the next time is soon enough.
            Ok(false) => self.unsafe_since = Some(Instant::now()),
            Err(error) => {
                self.trouble(Some(&error));
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn tell(&self, durable: Option<u64>) {
        let about = self.store.about();
        let holes = self.store.holes().to_vec();
        self.inside.progress.send_modify(|progress| {
            let durable = durable.unwrap_or(progress.durable);
            let About { applied, last_end, last_fact, forgotten_facts, .. } = about;
            *progress = Progress { applied, durable, last_end, last_fact, forgotten_facts, holes };
        });
    }

    /// Says in the log when it begins to fail, and when it is well again.
    fn trouble(&self, error: Option<&sqlx::Error>) {
        let mut trouble = locked(&self.inside.trouble);
        match (error, trouble.is_some()) {
            (Some(error), false) => {
                let line = format!("the archive cannot be written, its backlog grows: {error}");
                self.inside.log.record(logdb::Level::Error, "archive", None, &line);
            }
            (None, true) => {
                self.inside.log.record(logdb::Level::Info, "archive", None, "the archive is written again");
            }
            _ => {}
        }
        *trouble = error.map(ToString::to_string);
    }
}
