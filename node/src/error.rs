//! Why a node's loop may end without being told to.

use crate::admit::AdmitError;
use crate::broker::BrokerError;
use crate::disk::DiskError;
use crate::lab::LabError;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The data folder failed; nothing in memory counts as written any more.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A write or sync failed.
    #[error("stopping this node: {0}")]
    DiskFailed(String),
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
    /// The lab's ports could not be opened.
    #[error(transparent)]
    Lab(#[from] LabError),
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
