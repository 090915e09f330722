//! The data folder: locked for one process, and the two small files that say whose it is and how far it has come.
//!
//! ```text
//!   lock   identity   boot   log/0000000001.seg  log/0000000002.seg …  log/spare   snap/NUMBER.snap
//! ```

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use consensus::{Base, Corrupt, Origin, Peer, Place, Recovered, recover_after, recover_until};
use master::Ledger;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use protocol::{Boot, ClusterId, NodeId, native};
use serde::{Deserialize, Serialize};

use super::error::DiskError;
use super::recover;
use super::segments;
use super::small::{Small, sync_folder};
use super::snapshots::Snapshots;

/// Who a folder belongs to; fixed for the folder's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The node that founded the cluster.
    pub founder: NodeId,
}

/// What a folder holds.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value a start")]
pub enum Found {
    /// Nothing yet: [`Folder::found`] makes it a member's.
    Empty(Folder),
    /// A member's memory, one boot further.
    Member(Folder, Identity, Boot, Recovered),
}

/// The data folder, locked as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    progress: Progress,
    /// What the newest snapshot held, until the start that was made from it takes it.
    snapshot: Option<Box<(Base, Ledger)>>,
    /// A write or sync failed here: what the files hold behind this place must not be believed.
    doubted: Option<Place>,
    lock: Flock<File>,
}

/// Whether what is left over in a folder may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tidying {
    Yes,
    No,
}

/// How far the folder has come. Only rises, so that a log that lost its files is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Number of the newest start.
    pub(super) boot: Boot,
    /// The newest log segment known to be there; 0: none.
    pub(super) segment: u64,
    /// Segments below are in a snapshot and may be gone; 0: none.
    pub(super) first: u64,
}

/// The same as it was before segments were recycled.
#[derive(Deserialize)]
struct Progress1 {
    boot: Boot,
    segment: u64,
}

impl Folder {
    /// Creates the folder when it is not there, locks it, and reads it; a member's boot is raised (synced).
    ///
    /// # Errors
    /// [`DiskError`]: another process has it, or it cannot be read, or what it holds is damaged (file and offset are named).
    pub fn open(path: &Path) -> Result<Found, DiskError> {
        Folder::lock(path)?.reopen()
    }

    /// Creates the folder when it is not there and locks it. Nothing of it is read yet.
    ///
    /// # Errors
    /// [`DiskError`]: another process has it, or it cannot be made.
    pub fn lock(path: &Path) -> Result<Folder, DiskError> {
        let log = segments::folder(path);
        if !log.is_dir() {
            fs::create_dir_all(&log).map_err(DiskError::system("creating the data folder", &log))?;
            sync_folder(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_folder(parent)?;
            }
        }
        let lock = lock(path)?;
        Ok(Folder {
            path: path.to_owned(),
            progress: Progress::default(),
            snapshot: None,
            doubted: None,
            lock,
        })
    }

    /// Reads a folder that is locked already: one got back from [`super::Disk::close`]. Raises a member's boot.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub fn reopen(mut self) -> Result<Found, DiskError> {
        Ok(match self.read()? {
            Some((identity, boot, recovered)) => Found::Member(self, identity, boot, recovered),
            None => Found::Empty(self),
        })
    }

    /// The same for whoever wants to keep the folder locked when it cannot be read now. None: it is nobody's yet.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub fn read(&mut self) -> Result<Option<(Identity, Boot, Recovered)>, DiskError> {
        if recover::is_begun(&self.path) {
            return Err(DiskError::HalfRecovered { folder: self.path.clone() });
        }
        segments::tidy(&self.path)?;
        let Some((identity, recovered)) = self.load(Tidying::Yes)? else { return Ok(None) };
        if let Some(cut) = &recovered.cut {
            let path = segments::path(&self.path, cut.segment);
            tracing::warn!(file = %path.display(), offset = cut.offset, "the last write was torn by a crash; it is left out");
        }
        self.raise(self.progress.segment)?;
        Ok(Some((identity, self.progress.boot, recovered)))
    }

    /// The same for whoever only looks: nothing in the folder changes, the boot is the one of the last start.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub fn look(&mut self) -> Result<Option<(Identity, Boot, Recovered)>, DiskError> {
        let Some((identity, recovered)) = self.load(Tidying::No)? else { return Ok(None) };
        Ok(Some((identity, self.progress.boot, recovered)))
    }

    /// What there is. Where it is a member's, how far that has come is known afterwards.
    fn load(&mut self, tidying: Tidying) -> Result<Option<(Identity, Recovered)>, DiskError> {
        let identity = identity_file(&self.path);
        let segments = segments::read(&self.path)?;
        let Some(bytes) = identity.read()? else {
            if let Some((number, _)) = segments.first() {
                let path = segments::path(&self.path, *number);
                return Err(DiskError::damaged(
                    &path,
                    0,
                    "a log without the file `identity` beside its folder",
                ));
            }
            return Ok(None);
        };
        let identity: Identity = native::decode(&bytes)
            .map_err(|error| DiskError::damaged(&identity.path(), 0, error.to_string()))?;
        self.progress = read_progress(&self.path)?;
        let newest = segments.last().map_or(0, |(number, _)| *number);
        if newest < self.progress.segment {
            let path = segments::path(&self.path, self.progress.segment);
            return Err(DiskError::damaged(&path, 0, "this part of the log was written and is gone"));
        }
        let oldest = segments.first().map_or(0, |(number, _)| *number);
        if oldest > self.progress.first.max(1) {
            let path = segments::path(&self.path, self.progress.first.max(1));
            return Err(DiskError::damaged(&path, 0, "this part of the log was written and is gone"));
        }
        let recovered = self.recover(identity, &segments, tidying)?;
        self.progress.segment = newest;
        Ok(Some((identity, recovered)))
    }

    /// The log behind the newest snapshot that can be read. One that cannot is passed over when an older one and the log
    /// hold everything that it held.
    fn recover(
        &mut self,
        identity: Identity,
        segments: &[(u64, Vec<u8>)],
        tidying: Tidying,
    ) -> Result<Recovered, DiskError> {
        let origin = Some(identity.origin());
        let snapshots = Snapshots::new(&self.path, identity.origin());
        if tidying == Tidying::Yes {
            snapshots.open()?;
        }
        let mut unreadable: Option<(u64, DiskError)> = None;
        self.snapshot = None;
        let mut base = Base::founded(Peer(identity.founder.0));
        for number in snapshots.numbers()? {
            match snapshots.read(number) {
                Ok(snapshot) => {
                    base = snapshot.0.clone();
                    self.snapshot = Some(Box::new(snapshot));
                    break;
                }
                Err(error) => _ = unreadable.get_or_insert((number, error)),
            }
        }
        let recovered = match self.doubted {
            None => recover_after(origin, &base, segments),
            Some(durable) => recover_until(origin, &base, segments, durable),
        };
        match (recovered, unreadable) {
            (Ok(recovered), None) => Ok(recovered),
            (Ok(recovered), Some((damaged, error))) => {
                tracing::warn!(%error, "the newest snapshot is left out: what was before it and the log hold everything");
                if tidying == Tidying::Yes {
                    snapshots.set_aside(damaged)?;
                }
                Ok(recovered)
            }
            (Err(corrupt), None) => Err(explain(&self.path, &corrupt)),
            (Err(_), Some((_, error))) => Err(error.advised()),
        }
    }

    /// What the newest snapshot held, once: its place, and the ledger in it.
    pub fn take_snapshot(&mut self) -> Option<(Base, Ledger)> {
        self.snapshot.take().map(|snapshot| *snapshot)
    }

    /// Makes an empty folder a member's. `identity` is on disk when it returns, and stays as it is.
    ///
    /// # Errors
    /// [`DiskError`], naming the file; also when the folder is a member's already.
    pub fn found(mut self, identity: Identity) -> Result<(Folder, Boot, Recovered), DiskError> {
        let file = identity_file(&self.path);
        if file.read()?.is_some() {
            return Err(DiskError::damaged(&file.path(), 0, "the folder belongs to a member already"));
        }
        let recovered = consensus::recover(Some(identity.origin()), &[])
            .map_err(|corrupt| explain(&self.path, &corrupt))?;
        Snapshots::new(&self.path, identity.origin()).open()?;
        // The identity comes last: without it the folder still counts as empty.
        self.progress = Progress::default();
        self.raise(0)?;
        file.replace(&native::encode(&identity))?;
        let boot = self.progress.boot;
        Ok((self, boot, recovered))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// What the files hold behind this place must not be believed when they are read again.
    pub(super) fn doubt(&mut self, doubted: Option<Place>) {
        self.doubted = doubted;
    }

    pub(super) fn take_doubt(&mut self) -> Option<Place> {
        self.doubted.take()
    }

    /// Takes the lock anew when another disk is mounted here than the one that was locked.
    pub(super) fn relock(&mut self) -> Result<(), DiskError> {
        let path = lock_path(&self.path);
        let same = match (fs::metadata(&path), self.lock.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        };
        if !same {
            self.lock = lock(&self.path)?;
        }
        Ok(())
    }

    /// Whether the folder says whose it is: not so when its disk is not mounted.
    pub(super) fn has_identity(&self) -> bool {
        identity_file(&self.path).path().exists()
    }

    fn raise(&mut self, newest_segment: u64) -> Result<(), DiskError> {
        let boot = Boot(self.progress.boot.0 + 1);
        let next = Progress { boot, segment: newest_segment, first: self.progress.first };
        write_progress(&self.path, next)?;
        self.progress = next;
        Ok(())
    }
}

impl Identity {
    pub(super) fn origin(&self) -> Origin {
        Origin { cluster: self.cluster.0, node: self.node.0 }
    }
}

/// Makes it durable how far the folder has come.
pub(super) fn write_progress(folder: &Path, progress: Progress) -> Result<(), DiskError> {
    progress_file(folder).replace(&native::encode(&progress))
}

fn read_progress(folder: &Path) -> Result<Progress, DiskError> {
    let file = progress_file(folder);
    let unreadable = |error: native::BadBytes| DiskError::damaged(&file.path(), 0, error.to_string());
    let bytes = match file.read() {
        Ok(bytes) => bytes,
        Err(error) => {
            let before = Small { kind: b"UNDR-BT1", ..file.clone() };
            let Ok(Some(bytes)) = before.read() else { return Err(error) };
            let Progress1 { boot, segment } = native::decode(&bytes).map_err(unreadable)?;
            return Ok(Progress { boot, segment, first: 0 });
        }
    };
    let Some(bytes) = bytes else {
        return Err(DiskError::damaged(&file.path(), 0, "it is missing beside the file `identity`"));
    };
    native::decode(&bytes).map_err(unreadable)
}

pub(super) fn identity_file(folder: &Path) -> Small {
    Small { folder: folder.to_owned(), name: "identity", kind: b"UNDR-ID1" }
}

fn progress_file(folder: &Path) -> Small {
    Small { folder: folder.to_owned(), name: "boot", kind: b"UNDR-BT2" }
}

fn explain(folder: &Path, corrupt: &Corrupt) -> DiskError {
    DiskError::damaged(&segments::path(folder, corrupt.segment), corrupt.offset, corrupt.why)
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn lock(folder: &Path) -> Result<Flock<File>, DiskError> {
    let path = lock_path(folder);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(DiskError::system("opening", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => DiskError::Locked { folder: folder.to_owned() },
        other => DiskError::system("locking", &path)(other.into()),
    })
}
