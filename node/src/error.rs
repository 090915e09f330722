//! Why a node's loop may end without being told to.

use crate::admit::AdmitError;
use crate::broker::BrokerError;
use crate::disk::DiskError;
use crate::ports::PortError;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The data folder failed; nothing in memory counts as written any more.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A write or sync failed.
    #[error("{0}")]
    DiskFailed(String),
    /// A thread that read the disk ended by a broken invariant.
    #[error("reading the data folder: its thread ended by a broken invariant")]
    Thread,
    /// The consensus link could not be opened.
    #[error("listening for the consensus link on {address}: {cause}")]
    Link {
        /// Which address.
        address: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The broker link could not be opened.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Ports for foreign programs could not be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// News cannot be told or heard.
    #[error(transparent)]
    News(#[from] crate::news::NewsError),
    /// Jobs cannot be run.
    #[error("preparing to run jobs in {folder}: {cause}")]
    Runner {
        /// The scratch folder.
        folder: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// History cannot be kept.
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    /// The log contradicts itself.
    #[error(transparent)]
    Consensus(#[from] consensus::Error),
    /// The cluster will not have this node.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The leader refused this node for good.
    #[error("joining the cluster: {0}")]
    NotAdmitted(String),
    /// This node would differ from the others if it went on.
    #[error("stopping this node: {0}")]
    Fatal(String),
}

impl StageError {
    /// What failed, when it was the disk and may pass: the node then waits for its disk instead of ending.
    pub(crate) fn disk_trouble(&self) -> Option<String> {
        match self {
            Self::DiskFailed(why) => Some(why.clone()),
            Self::Disk(error) if error.may_pass() => Some(error.to_string()),
            Self::Runner { cause, .. } if is_of_disk(cause) => Some(self.to_string()),
            Self::Archive(error) if error.may_pass() => Some(self.to_string()),
            _ => None,
        }
    }
}

/// Errors of a disk that is full, read-only or broken.
pub(crate) fn is_of_disk(cause: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let broken = cause.raw_os_error() == Some(nix::errno::Errno::EIO as i32);
    broken || matches!(cause.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded)
}
