//! The body of one node: it alone owns sockets, disk, clock, child processes and HTTP.
//!
//! ```text
//!   HTTP ──ask──▶ ┌────────────────────────────┐ ──pieces──▶ disk thread (write, sync)
//!   link ──────▶  │ stage: one loop, one owner │ ──bytes───▶ link (9991), broker thread (9990)
//!   broker ────▶  │ of one `cast` (the minds)  │ ──attempt─▶ runner (keepers, children)
//!   runner, disk ▶└────────────────────────────┘ ──facts───▶ narrate, events ──▶ news (9997)
//! ```
//!
//! **Decides:** nothing about jobs; when to tick, how to carry out what the minds say, what `/stop` closes.
//! **May not touch:** the inside of a mind; nothing but the stage holds a `cast`.
//! **Driven by:** [`run`], which serves until it is told to end.
//! **Leaves out:** tokens and roles (a later version).

pub mod admit;
mod again;
pub mod archive;
pub mod ask;
pub mod broker;
pub mod bulk;
mod clock;
pub mod cluster_key;
pub mod disk;
mod error;
mod gather;
mod hands;
pub mod http;
mod inbox;
mod incarnation;
pub mod keeper;
pub mod lab;
mod letters;
pub mod link;
mod mint;
pub mod narrate;
pub mod news;
pub mod notifier;
mod opening;
mod ports;
pub mod probe;
mod recodex;
pub mod recovery;
mod refusals;
mod replies;
mod run;
pub mod runner;
pub mod settings;
mod shows;
mod sickbed;
mod snapshots;
pub mod stage;

pub use error::StageError;
pub use run::{RunError, run};
pub use snapshots::limits::DUE_BYTES as SNAPSHOT_BYTES;
