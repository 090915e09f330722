//! **consensus**: one order of commands and one leader, for a handful of nodes that crash and lose messages.
//!
//! It decides which node leads in which term, which entry stands at which index, when an entry is committed, who the
//! members are, and when a read is linearizable. It also makes and checks the bytes of the log on disk. The commands are
//! bytes to it: it depends on no other room of this project.
//!
//! It may not touch a clock, a file, a socket, a thread or a random source. Time is [`Consensus::tick`]; chance is drawn
//! from [`Config::seed`]. So a history can be run twice and gives the same bytes twice (`tests/determinism.rs`).
//!
//! How it is driven. The body (a real node, or the simulator) hands in what happened and then takes one [`Turn`]:
//!
//! ```text
//!   peers ──step──▶ ┌───────────┐ ──turn().send──▶ peers, now
//!   clock ──tick──▶ │ Consensus │ ──turn().write─▶ disk, in order ──sync──┐
//!   body ──propose▶ │           │ ──turn().steps─▶ ledger, in order, now  │
//!                   └───────────┘ ◀─────────── persisted(number) ─────────┘
//! ```
//!
//! - `steps` are carried out at once and in order; `Apply` is synchronous.
//! - `write` goes to the disk first in, first out; several may be under way; each is synced before
//!   [`Consensus::persisted`] is called with its number (or that of a later one).
//! - `send` may leave at once. What must not leave before a sync is kept back in here until `persisted` was heard.
//! - Nobody acts as leader before [`Step::Leading`].
//!
//! ```text
//!   Write ──▶ segment::Writer ──Piece──▶ files ──▶ recover() ──▶ Restored ──▶ Consensus::open
//! ```
//!
//! The engine inside is the `raft` crate; no type of it is seen outside, and no byte of a peer or of the disk is ever
//! decoded by its codec. Files, in reading order: `turn` (what comes out), `engine` (the adapter), `outbox` (what waits
//! for which sync), `guard` (what a peer may say), `view` (the readable log), `members`, `message`, `segment`, `recover`.
//!
//! Snapshots go by reference (`snapshots`, `base`): what is in one, and how its bytes come from a peer, is the body's;
//! here it is a place in the order, the members there, and the moment from which it counts.
//!
//! Left out: replacing of silent voters (the body decides that, and calls [`Consensus::change_members`]).

mod base;
mod config;
mod engine;
mod entry;
mod error;
mod guard;
mod image;
mod members;
mod message;
mod outbox;
mod recover;
mod segment;
mod snapshots;
mod status;
mod timeout;
mod turn;
mod view;

pub mod limits;

pub use base::Base;
pub use config::{Config, Mutant, Restored};
pub use engine::Consensus;
pub use entry::{Entry, HardState, Kind, Peer};
pub use error::{Error, Refused};
pub use image::{BadImage, Found, ImageReader, ImageWriter, PIECE_BYTES_MAX};
pub use message::{Message, MessageKind, MessageRead};
#[cfg(feature = "mutants")]
pub use recover::recover_torn_tails;
pub use recover::{Corrupt, Cut, Recovered, recover, recover_after, recover_until};
pub use segment::{Origin, Piece, Place, Writer};
pub use status::{Role, Status};
pub use turn::{Step, Turn, Write};
