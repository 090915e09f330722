//! The protocol of ZeroMQ's connections (ZMTP 3.0 and 3.1, mechanism NULL) as far as a gate must understand it.
//!
//! ```text
//!   peer ──▶ greeting, 64 bytes ─▶ READY command ─▶ messages of frames, commands between them
//!            [`greeting`]          [`ready`]        [`frame`], [`command`], [`subscriptions`]
//!            made anew             made anew        passed on as they are
//! ```
//!
//! All of it is bytes in, bytes out: no clock, no socket. [`Parser`] puts the parts together. What it holds of a peer is
//! bounded: one frame's header, or one command, or one subscription.

mod command;
mod frame;
mod greeting;
mod parser;
mod ready;
mod subscriptions;

pub(crate) use greeting::{GREETING_BYTES, OWN_GREETING};
pub(crate) use parser::Parser;
pub(crate) use ready::Introduction;
