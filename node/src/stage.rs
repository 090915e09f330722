//! The owner loop: one batch of what happened goes to the minds, what they want is carried out, and nothing in between
//! waits. `/stop` is a valve on this loop; resuming is a start from disk, the same code.
//!
//! ```text
//!   Stage (a process) ──▶ Incarnation (a start: folder, sockets, children, minds) ──▶ turn, turn, turn …
//!        ▲                       │
//!        └── stopped: folder ────┘
//! ```

use std::sync::Arc;

use protocol::Answer;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::admit;
use crate::archive::Archive;
use crate::ask::{Ask, Front, Told};
use crate::disk::{Folder, Found};
use crate::error::StageError;
use crate::incarnation::{Ended, Incarnation};
use crate::settings::Settings;

/// What outlives a `/stop`.
pub(crate) struct Stage {
    pub(crate) settings: Arc<Settings>,
    pub(crate) log: logdb::Log,
    pub(crate) front: Front,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) ending: watch::Receiver<bool>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// The start to come follows a `/stop`.
    pub(crate) was_stopped: bool,
}

/// What interrupts waiting.
enum Interrupt {
    Ending,
    Stopping,
}

impl Stage {
    pub(crate) fn new(
        settings: Arc<Settings>,
        log: logdb::Log,
        front: Front,
        asks: mpsc::Receiver<Ask>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let stopping = front.valve.watch();
        Self { settings, log, front, asks, ending, stopping, was_stopped: false }
    }

    /// Serves until the process is told to end; sockets and children live on the runtime of `handle`.
    pub(crate) async fn serve(mut self, handle: Handle, mut found: Found) -> Result<(), StageError> {
        loop {
            let Some((folder, ended)) = self.one_start(&handle, found).await? else { return Ok(()) };
            if ended == Ended::Asked || !self.rest().await {
                return Ok(());
            }
            self.was_stopped = true;
            found = folder.reopen()?;
        }
    }

    /// One start, from disk to the next stop. None: told to end while it was still looking for its cluster.
    async fn one_start(
        &mut self,
        handle: &Handle,
        found: Found,
    ) -> Result<Option<(Folder, Ended)>, StageError> {
        let (incarnation, folder) = match found {
            Found::Empty(folder) => {
                let Some((identity, members)) = self.find_cluster().await? else {
                    return Ok(self.stopping_now().then_some((folder, Ended::Stopped)));
                };
                let (folder, boot, recovered) = folder.found(identity)?;
                let archive = self.open_archive(identity).await?;
                (Incarnation::open(self, handle, identity, boot, recovered, members, archive)?, folder)
            }
            Found::Member(folder, identity, boot, recovered) => {
                let archive = self.open_archive(identity).await?;
                (Incarnation::open(self, handle, identity, boot, recovered, Vec::new(), archive)?, folder)
            }
        };
        incarnation.serve(self, folder).await.map(Some)
    }

    async fn open_archive(&self, identity: crate::disk::Identity) -> Result<Archive, StageError> {
        let (data, log) = (&self.settings.data, self.log.clone());
        Ok(Archive::open(data, identity.cluster, log).await?)
    }

    async fn find_cluster(
        &mut self,
    ) -> Result<Option<(crate::disk::Identity, Vec<protocol::Member>)>, StageError> {
        let settings = Arc::clone(&self.settings);
        self.front.valve.reach(false);
        tokio::select! {
            found = admit::find(&settings) => Ok(Some(found?)),
            _ = self.refuse_all() => Ok(None),
        }
    }

    /// Stopped: forgets whoever asks, until it is resumed (true) or told to end (false).
    async fn rest(&mut self) -> bool {
        self.front.valve.reach(true);
        loop {
            if *self.ending.borrow() {
                return false;
            }
            if !*self.stopping.borrow_and_update() {
                return true;
            }
            tokio::select! {
                biased;
                ended = self.ending.changed() => if ended.is_err() { return false },
                turned = self.stopping.changed() => if turned.is_err() { return false },
                // Dropped without an answer: HTTP says `stopped`.
                Some(_) = self.asks.recv() => {}
            }
        }
    }

    /// Answers everybody that there is no cluster yet, until something interrupts.
    async fn refuse_all(&mut self) -> Interrupt {
        loop {
            if *self.ending.borrow() {
                return Interrupt::Ending;
            }
            if self.stopping_now() {
                return Interrupt::Stopping;
            }
            tokio::select! {
                biased;
                ended = self.ending.changed() => if ended.is_err() { return Interrupt::Ending },
                turned = self.stopping.changed() => if turned.is_err() { return Interrupt::Ending },
                Some(ask) = self.asks.recv() => {
                    if let Ask::Request { reply, .. } = ask {
                        // The asker may be gone; nothing was done for it.
                        let _ = reply.send(Told::Answer(Answer::Refused(protocol::Refusal::Starting)));
                    }
                }
            }
        }
    }

    pub(crate) fn stopping_now(&self) -> bool {
        *self.stopping.borrow()
    }
}
