//! What can be wrong with the archive.

use std::path::PathBuf;

/// The archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Its folder cannot be made or synced.
    #[error("making the folder of the archive {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It cannot be opened.
    #[error(
        "opening the archive {}: {cause}; when its file is damaged, move it away: it is made anew from the log and from peers",
        path.display()
    )]
    Open {
        /// The database's file.
        path: PathBuf,
        /// Why.
        cause: sqlx::Error,
    },
    /// Its tables cannot be made or are of a later version.
    #[error("preparing the tables of the archive {}: {cause}", path.display())]
    Tables {
        /// The database's file.
        path: PathBuf,
        /// Why.
        cause: sqlx::migrate::MigrateError,
    },
    /// It is another cluster's.
    #[error("opening the archive {}: it is of another cluster; move it away", path.display())]
    Foreign {
        /// The database's file.
        path: PathBuf,
    },
    /// Somebody else has its file open.
    #[error("making the archive safe: another program reads its file")]
    InUse,
    /// Its thread cannot be started.
    #[error("starting the archive's thread: {0}")]
    Thread(std::io::Error),
    /// It cannot be read or written now.
    #[error("using the archive: {0}")]
    Use(#[from] sqlx::Error),
    /// A row is not what was written.
    #[error("reading the archive: row {order} is damaged")]
    Damaged {
        /// Its place in the order of acceptance.
        order: u64,
    },
}

/// SQLite's words for a disk that is full, broken or read-only, by the lowest byte of its codes.
const DISK_CODES: [u32; 4] = [8, 10, 13, 14];

impl ArchiveError {
    /// Whether this is the disk's doing and may pass.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Folder { cause, .. } => crate::error::is_of_disk(cause),
            Self::Open { cause, .. } | Self::Use(cause) => is_of_disk(cause),
            Self::Tables { cause: sqlx::migrate::MigrateError::Execute(cause), .. } => is_of_disk(cause),
            Self::Tables { .. }
            | Self::Foreign { .. }
            | Self::InUse
            | Self::Thread(_)
            | Self::Damaged { .. } => false,
        }
    }
}

fn is_of_disk(cause: &sqlx::Error) -> bool {
    let code =
        cause.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| DISK_CODES.contains(&(code & 0xFF)))
}
