//! The life of a log line: recorded, shipped, kept and shown.
//!
//! ```text
//!   anybody ──record──▶ Log (ring, numbered) ──▶ GET /logging: text, jsonl, a live page
//!                        │ bounded, never waits
//!                        ├──▶ mirror thread ──▶ files (rotating), console (`i,message`)
//!                        ├──▶ LogFile ──▶ a file of the operator's (rotating)
//!                        └──▶ Shipper ══PUSH══▶ LogStore: SQLite, GET /logging in the seed's form
//!   GET /api/v1/logs ──▶ Remote ────────HTTP────▶    └──▶ GET /api/v1/logs
//! ```
//!
//! **Decides:** how a record looks, how many are kept, what a reader of `/logging` gets; how every container
//! answers at its door ([`door`]).
//! **May not touch:** jobs; a job never waits for a log line, so whatever cannot be written at once is dropped and counted.
//! **Driven by:** [`Log::record`], HTTP requests to [`logging_router`], [`Shipper::start`]; the program by [`log_store::run`].
//! **Leaves out:** search by text, repair of holes, PostgreSQL (later versions); what sentences are written
//! (`node::narrate`).

mod allowance;
mod arrived;
pub mod door;
mod files;
mod kept;
pub mod limits;
mod log_file;
pub mod log_store;
mod mirror;
mod page;
mod pull;
mod query;
pub mod record;
mod remote;
pub mod ring;
mod rotating;
mod ship;
pub mod shown;
mod store;
mod writer;

pub use log_file::{LogFile, LogFileSettings};
pub use log_store::{LogStore, LogStoreError, LogStoreSettings};
pub use mirror::{Console, stdout_console};
pub use pull::PullError;
pub use record::{Level, Record};
pub use remote::{Remote, RemoteError};
pub use ring::{Follower, Log, OpenError};
pub use ship::{ShipError, Shipper};
pub use shown::{ClusterPage, ClusterSource, logging_router};
pub use store::StoreError;
