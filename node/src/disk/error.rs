//! What went wrong with the disk, always with the file it went wrong at.

use std::io;
use std::path::{Path, PathBuf};

/// The disk could not be read or written, or holds what it should not.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("{doing} {}: {source}", .path.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("locking the data folder {}: another process uses it", .folder.display())]
    Locked {
        /// Which folder.
        folder: PathBuf,
    },
    /// A recovery by hand was begun here and did not come to its end.
    #[error(
        "a recovery of the data folder {folder} was begun and has not ended: `understudy recover --from {folder} --yes` ends it",
        folder = .folder.display()
    )]
    HalfRecovered {
        /// Which folder.
        folder: PathBuf,
    },
    /// Bytes of the log could not be written.
    #[error("writing {} at byte {offset}: {source}", .path.display())]
    Unwritten {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("reading {} at byte {offset}: {why}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}

impl DiskError {
    /// Whether the disk may be well again later. Damage stays; a folder that somebody else uses is not ours to wait for.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Unwritten { .. })
    }

    /// For `map_err`: what was tried, with which file.
    pub(super) fn system(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError::System { doing, path: path.to_owned(), source }
    }

    /// The same where nothing else makes up for it.
    pub(super) fn advised(self) -> DiskError {
        match self {
            DiskError::Damaged { path, offset, why } => {
                let why = format!("{why}; what it held is in no other file of this node");
                DiskError::Damaged { path, offset, why }
            }
            other => other,
        }
    }

    pub(super) fn damaged(path: &Path, offset: u64, why: impl Into<String>) -> DiskError {
        DiskError::Damaged { path: path.to_owned(), offset, why: why.into() }
    }
}
