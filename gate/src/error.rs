//! Why a gate could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a gate, or the private socket behind it, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The public address is none, or cannot be bound.
    #[error("binding {address}: {cause}")]
    Bind {
        /// Which.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// The folder for the private socket is not usable.
    #[error("private socket {name} in folder {}: {cause}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The socket's name.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// Rules that no message could keep.
    #[error("rules of a gate: {field} {why}")]
    Rules {
        /// Which of them.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
}
