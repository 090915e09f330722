//! The owner loop: one batch of what happened goes to the minds, what they want is carried out, and nothing in between
//! waits. `/stop` is a valve on this loop; resuming is a start from disk, the same code. So is the way back after a disk
//! error.
//!
//! ```text
//!   Stage (a process) ──▶ Incarnation (a start: folder, sockets, children, minds) ──▶ turn, turn, turn …
//!        ▲                       │
//!        ├── stopped: folder ────┤
//!        └── out: folder ────────┘  the disk failed: probe, read again, start
//! ```

use std::sync::Arc;

use protocol::Answer;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::admit;
use crate::archive::Archive;
use crate::ask::{Ask, Asked, Front, Reply, Told};
use crate::disk::{Closing, Folder, Found, Identity};
use crate::error::StageError;
use crate::incarnation::{Ended, Incarnation};
use crate::settings::Settings;
use crate::sickbed::Sickbed;

/// How long a process that ends waits for a disk.
const LAST_WRITE: std::time::Duration = std::time::Duration::from_secs(1);

/// What outlives a `/stop`.
pub(crate) struct Stage {
    pub(crate) settings: Arc<Settings>,
    pub(crate) log: logdb::Log,
    pub(crate) front: Front,
    pub(crate) asks: Asked,
    pub(crate) ending: watch::Receiver<Ending>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// The start to come follows a `/stop`.
    pub(crate) was_stopped: bool,
    pub(crate) sickbed: Sickbed,
}

/// Where a start begins.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value a start")]
pub(crate) enum Begin {
    /// With what the folder holds.
    With(Found),
    /// Not yet: the disk failed.
    Out {
        /// The folder, locked.
        folder: Folder,
        /// Whose it is, if that is known already.
        identity: Option<Identity>,
        /// What failed.
        why: String,
    },
}

/// How a start went.
enum Went {
    /// To its end.
    Through(Closing, Identity, Ended),
    /// It did not come about, for the disk failed.
    Failed(Folder, Identity, String),
    /// It never began: told to end or to stop while it was looking for its cluster.
    Nowhere(Folder),
}

/// Whether the process is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is to stay.
    #[default]
    No,
    /// Once the lead is handed over and what runs here has ended.
    InOrder,
    /// Now.
    AtOnce,
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
        asks: Asked,
        ending: watch::Receiver<Ending>,
    ) -> Self {
        let stopping = front.valve.watch();
        let sickbed = Sickbed::new();
        Self { settings, log, front, asks, ending, stopping, was_stopped: false, sickbed }
    }

    /// Serves until the process is told to end; sockets and children live on the runtime of `handle`.
    pub(crate) async fn serve(mut self, handle: Handle, mut begin: Begin) -> Result<(), StageError> {
        if let Begin::Out { why, .. } = &begin {
            let why = why.clone();
            self.fell_ill(&why);
        }
        loop {
            let found = match begin {
                Begin::With(found) => found,
                Begin::Out { folder, identity, why } => {
                    let well = self.convalesce(&handle, folder, identity, why).await?;
                    let Some(found) = well else { return Ok(()) };
                    found
                }
            };
            begin = match self.one_start(&handle, found).await? {
                Went::Through(closing, _, Ended::Asked) => {
                    // A disk that hangs keeps no process from ending.
                    let _ = tokio::time::timeout(LAST_WRITE, closing.folder()).await;
                    return Ok(());
                }
                Went::Through(closing, identity, Ended::DiskFailed(why)) => {
                    self.fell_ill(&why);
                    let Some(folder) = self.meanwhile(closing.folder()).await else { return Ok(()) };
                    Begin::Out { folder, identity: Some(identity), why }
                }
                Went::Through(closing, identity, Ended::Stopped) => {
                    if !self.rest().await {
                        return Ok(());
                    }
                    let Some(folder) = self.meanwhile(closing.folder()).await else { return Ok(()) };
                    let Some(begin) = self.reopen(&handle, folder, Some(identity)).await? else {
                        return Ok(());
                    };
                    begin
                }
                Went::Failed(folder, identity, why) => {
                    self.fell_ill(&why);
                    Begin::Out { folder, identity: Some(identity), why }
                }
                Went::Nowhere(folder) => {
                    if self.is_ending() || !self.rest().await {
                        return Ok(());
                    }
                    let Some(begin) = self.reopen(&handle, folder, None).await? else { return Ok(()) };
                    begin
                }
            };
        }
    }

    /// One start, from disk to the next stop.
    async fn one_start(&mut self, handle: &Handle, found: Found) -> Result<Went, StageError> {
        let (folder, identity, boot, kept, members) = match found {
            Found::Empty(folder) => {
                let Some((identity, members)) = self.find_cluster().await? else {
                    return Ok(Went::Nowhere(folder));
                };
                let (folder, boot, recovered) = folder.found(identity)?;
                (folder, identity, boot, (None, recovered), members)
            }
            Found::Member(mut folder, identity, boot, recovered) => {
                let kept = (folder.take_snapshot(), recovered);
                (folder, identity, boot, kept, Vec::new())
            }
        };
        let opened = match self.open_archive(identity).await {
            Err(error) => Err(error),
            Ok(archive) => {
                let closing = archive.clone();
                let opened = Incarnation::open(self, handle, identity, boot, kept, members, archive);
                if opened.is_err() {
                    closing.close().await;
                }
                opened
            }
        };
        match opened {
            Ok(incarnation) => {
                let (closing, ended) = incarnation.serve(self, folder).await?;
                Ok(Went::Through(closing, identity, ended))
            }
            Err(error) => match error.disk_trouble() {
                Some(why) => Ok(Went::Failed(folder, identity, why)),
                None => Err(error),
            },
        }
    }

    /// A start after a `/stop`: the disk may hang or have failed meanwhile. None: told to end.
    async fn reopen(
        &mut self,
        handle: &Handle,
        mut folder: Folder,
        identity: Option<Identity>,
    ) -> Result<Option<Begin>, StageError> {
        self.was_stopped = true;
        let reading = handle.spawn_blocking(move || {
            let read = folder.read();
            (folder, read)
        });
        let Some(read) = self.meanwhile(reading).await else { return Ok(None) };
        let (folder, read) = read.map_err(|_| StageError::Thread)?;
        Ok(Some(match read {
            Ok(None) => Begin::With(Found::Empty(folder)),
            Ok(Some((identity, boot, recovered))) => {
                Begin::With(Found::Member(folder, identity, boot, recovered))
            }
            Err(error) if error.may_pass() => {
                let why = error.to_string();
                self.fell_ill(&why);
                Begin::Out { folder, identity, why }
            }
            Err(error) => return Err(error.into()),
        }))
    }

    async fn open_archive(&self, identity: Identity) -> Result<Archive, StageError> {
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
    pub(crate) async fn rest(&mut self) -> bool {
        self.front.valve.reach(true);
        loop {
            if self.is_ending() {
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

    /// Waits for something while this node serves nobody: whoever asks is forgotten, and `/stop` is obeyed (there is nothing
    /// left to close). None: told to end.
    pub(crate) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            if self.is_ending() {
                return None;
            }
            if *self.stopping.borrow_and_update() {
                self.front.valve.reach(true);
            } else if self.front.disk.out().is_some() {
                // All that can be open is.
                self.front.valve.reach(false);
            }
            tokio::select! {
                biased;
                ended = self.ending.changed() => if ended.is_err() { return None },
                turned = self.stopping.changed() => if turned.is_err() { return None },
                done = &mut work => return Some(done),
                Some(_) = self.asks.recv() => {}
            }
        }
    }

    /// Answers everybody that there is no cluster yet, until something interrupts.
    async fn refuse_all(&mut self) -> Interrupt {
        loop {
            if self.is_ending() {
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
                        let told = Told::Answer(Answer::Refused(protocol::Refusal::Starting));
                        let _ = reply.send(Reply { told, held: None });
                    }
                }
            }
        }
    }

    /// Nothing here needs to be brought to an end first.
    fn is_ending(&self) -> bool {
        *self.ending.borrow() != Ending::No
    }

    pub(crate) fn stopping_now(&self) -> bool {
        *self.stopping.borrow()
    }
}
