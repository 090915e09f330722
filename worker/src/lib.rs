//! What a node decides towards its leader: as a worker (which attempts it holds, what it offers, what it still has to
//! report) and as a gateway (which users' requests are still unanswered).
//!
//! ```text
//!   Dispatch, Answered, Settled ─▶ ┌────────┐ ─▶ Run, Kill          (to the runner)
//!   ended(attempt, outcome) ─────▶ │ Worker │ ─▶ Report, Result     (to the leader)
//!                                  └────────┘
//!   ask(ticket, request) ────────▶ ┌─────────┐ ─▶ Forward           (to the leader, and to the next one)
//!   Forwarded, own apply ────────▶ │ Gateway │ ─▶ Tell(ticket)      (to the user)
//!                                  └─────────┘
//! ```
//!
//! **Decides:** what runs in a free slot, what is ended because the leader no longer wants it, what is sent again.
//! **May not touch:** clocks, files, sockets, processes: milliseconds that passed are an argument of `tick`.
//! **Driven by:** one call for each thing that can happen, then `drain`. It mirrors the shape of `master`.
//! **Leaves out:** how a program runs (`node`), who leads (`consensus`).
#![no_std]

extern crate alloc;

mod attached;
mod attempts;
mod gateway;
mod guests;
mod waiting;

pub use attached::{AttachedId, Windows};
#[cfg(feature = "mutants")]
pub use attempts::Mutant;
pub use attempts::{Output, Worker};
pub use gateway::{Busy, Gateway, Output as GatewayOutput, Told};
pub use guests::{AtWork, GuestId};
