//! The nouns of Understudy, the messages nodes exchange about them, and the limits of both.
//!
//! ```text
//!   a user's JSON ──submit──▶ JobSpec ──Request──▶ leader ──Entry(Command…)──▶ every ledger ──▶ Fact
//!                                                   │  ▲
//!                                       ToNode ─────┘  └───── ToMaster        (the broker link)
//! ```
//!
//! **Decides:** what a job, an attempt, a command and a fact are, how they are written as bytes, and how large each may be.
//! **May not touch:** clocks, files, sockets, random sources (`no_std` makes the compiler the guard); it holds no state.
//! **Driven by:** plain function calls and serde.
//! **Leaves out:** what a command does to the ledger (`master`), how a job runs (`worker`, `node`), the JSON shown to users (`node`).
//!
//! Read [`job`] first: with it the rest reads aloud.
#![no_std]

extern crate alloc;

pub mod amount;
pub mod attempt;
pub mod cbw;
pub mod command;
pub mod duration;
pub mod fact;
pub mod ids;
pub mod job;
pub mod limits;
pub mod member;
pub mod message;
pub mod more;
pub mod native;
mod outcome;
pub mod recodex;
pub mod request;
pub mod requires;
pub mod submit;

pub use attempt::{AttemptMore, Chosen, Refused};
pub use command::{Change, Command, Entry, LossCause, Origin};
pub use fact::{Fact, What};
pub use ids::{AttemptRef, Boot, ClusterId, JobId, NodeId, Rev};
pub use job::{Attempt, AttemptState, End, Ending, IfUnsatisfiable, Job, JobSpec, JobState, Outcome, Reason};
pub use member::{LAB_HEADER, Load, Member, NodeLoad, Offer, Progress};
pub use message::{Answered, Checkpoint, Dispatch, Envelope, Forward, Report, ToMaster, ToNode, Verdict};
pub use more::{More, RetryRule, Share};
pub use request::{Answer, Batch, Refusal, Request};
