//! The replicated ledger, and the mind of whoever leads.
//!
//! ```text
//!      log ──Entry──▶ Ledger ──Effect──┐             every node has one and builds the same
//!       ▲                              ▼
//!       └──Entry── proposal ◀──── Master ◀── heard (forwards, reports, results) ── broker link
//!                                   │  ▲
//!               Output: send, ◀─────┘  └── tick (one tick of cluster time), configuration (voters, learners)
//!               voters, hand over
//! ```
//!
//! **Decides:** what each command does to the ledger ([`Ledger::apply`]), and, on the leader, which commands to propose:
//! who waits, who gets what, whose worker is lost, who is a member.
//! **May not touch:** clocks, files, sockets, random sources (`no_std` makes the compiler the guard). Integers only, and
//! no order that a hash decides. It does not see `worker`, which mirrors its shape.
//! **Driven by:** whoever holds both: entries in the order of the log go to [`Ledger::apply`], and while this node leads
//! what comes of them goes to [`Master::applied`]. Promotion is a constructor, [`Master::take_over`]; stepping down drops
//! the value. Nothing leaves as an answer or a dispatch except from an applied entry.
//! **Leaves out:** how an order is agreed on (`consensus`), how an attempt runs (`worker`, `node`), history that left
//! memory.
//!
//! Read [`ledger`], then `apply`, then [`master`]; [`placement`] stands alone.
#![no_std]

extern crate alloc;

mod apply;
#[cfg(feature = "mutants")]
mod broken;
mod comparing;
mod deadlines;
mod digest;
mod draining;
mod electorate;
mod facts;
mod filling;
mod fitting;
mod gateways;
mod hearing;
mod held;
mod joining;
mod keys;
mod learning;
pub mod ledger;
pub mod limits;
mod marks;
pub mod master;
mod members;
mod pace;
pub mod placement;
mod queue;
mod recodex;
mod reserved;
pub mod retention;
mod roster;
mod shards;
mod shares;
mod shortage;
mod snapshot;
mod spares;
mod tail;
mod turnstile;

pub use electorate::Configuration;
#[cfg(feature = "mutants")]
pub use ledger::LedgerMutant;
pub use ledger::{Effect, Ledger, is_noted};
pub use limits::Bounds;
#[cfg(feature = "mutants")]
pub use master::Mutant;
pub use master::{Master, Output, Settings};
pub use placement::{Cluster, Policy, ReasonLine, RunsJobs, Verdict, Why, warning, why};
pub use recodex::RecodexCounts;
pub use retention::{Forgotten, Retention};
pub use shortage::DiskBounds;
pub use snapshot::{BadSnapshot, Restoring, SNAPSHOT_VERSION};

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
