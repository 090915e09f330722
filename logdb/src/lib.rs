//! The life of a log line: recorded and shown (shipped, kept and searched come with the log store).
//!
//! ```text
//!   anybody ──record──▶ Log (ring, numbered) ──▶ GET /logging: text, jsonl, a live page
//!                        │ bounded, never waits
//!                        └──▶ mirror thread ──▶ files (rotating), console (`i,message`)
//! ```
//!
//! **Decides:** how a record looks, how many are kept, what a reader of `/logging` gets.
//! **May not touch:** jobs; a job never waits for a log line, so whatever cannot be written at once is dropped and counted.
//! **Driven by:** [`Log::record`] and HTTP requests to [`logging_router`].
//! **Leaves out:** the log store (SQLite, PostgreSQL), its ZeroMQ port and its search (a later version); what sentences
//! are written (`node::narrate`).

pub mod door;
mod files;
pub mod limits;
mod mirror;
mod page;
mod query;
pub mod record;
pub mod ring;
pub mod shown;

pub use mirror::{Console, stdout_console};
pub use record::{Level, Record};
pub use ring::{Follower, Log, OpenError};
pub use shown::{ClusterSource, logging_router};
