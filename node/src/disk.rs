//! The node's memory on disk: who it is, how often it started, and the log. Stub of the API; being filled in.
#![allow(clippy::todo, unused_variables, clippy::allow_attributes)]

use std::path::{Path, PathBuf};

use consensus::{Recovered, Write, Writer};
use protocol::{Boot, ClusterId, NodeId};

/// Who a folder belongs to; fixed for the folder's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub enum Found {
    /// Nothing yet: [`Folder::found`] makes it a member's.
    Empty(Folder),
    /// A member's memory, one boot further.
    Member(Folder, Identity, Boot, Recovered),
}

/// The locked data folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates the folder when it is not there, locks it, and reads it; a member's boot is raised (synced).
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub fn open(path: &Path) -> Result<Found, DiskError> {
        todo!()
    }

    /// The same for a folder got back from [`Disk::close`]: reads it again, raises the boot.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub fn reopen(self) -> Result<Found, DiskError> {
        todo!()
    }

    /// Makes an empty folder a member's.
    ///
    /// # Errors
    /// [`DiskError`], naming the file.
    pub fn found(self, identity: Identity) -> Result<(Folder, Boot, Recovered), DiskError> {
        todo!()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The disk could not be read or written, or holds what it should not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DiskError(String);

/// More waits for the disk than may; the node is to give up its lead and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queueing a write: {waiting_bytes} bytes wait for the disk already")]
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

/// The thread that writes and syncs.
#[derive(Debug)]
pub struct Disk {}

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
        todo!()
    }

    /// Hands writes over, in order. Never blocks.
    ///
    /// # Errors
    /// [`Full`]: none of them was taken.
    pub fn write(&self, writes: Vec<Write>) -> Result<(), Full> {
        todo!()
    }

    /// Stops at once: what the thread has not begun is forgotten. Waits for at most the one sync under way.
    #[must_use]
    pub fn close(self) -> Folder {
        todo!()
    }
}
