//! The gate before a foreign ZeroMQ port: what libzmq cannot refuse, it refuses.
//!
//! ```text
//!                         ┌────────────────── gate ──────────────────┐
//!   peer ══tcp══▶ listener│ seats ─▶ relay ─▶ zmtp: greeting, READY, │══unix socket══▶ libzmq ROUTER,
//!   peer ◀════════════════│          │        frames; rewritten READY│◀══════════════  PULL or XPUB
//!                         └──────────│───────────────────────────────┘                    │
//!                                    └─ Told: opened (conn, identity), closed, refused ─▶ program
//!                                       budget ◀──────── taken(conn, bytes) ──────────────┘
//! ```
//!
//! libzmq bounds single frames only: one message of many frames fills the memory, peers of old protocols and browsers stay
//! connected for ever, and of two peers with one identity the second is never heard. So each peer is read here first, and
//! libzmq hears of it under a routing id of the connection's own ([`Conn`]), which the program can tell apart and whose end
//! it is told.
//!
//! **Decides:** who may connect, how large and how slow a message may be, how much may lie unread.
//! **May not touch:** what a message says; it passes as it came, and none is held as a whole.
//! **Driven by:** connections to its port; [`Gate::taken`].
//! **Leaves out:** encryption and passwords (mechanism NULL only), protocols before ZMTP 3.0, and what libzmq sends to peers.

mod budget;
mod conn;
mod counts;
mod error;
mod intake;
pub mod limits;
mod listener;
mod port;
mod refusal;
mod relay;
mod rules;
mod seats;
mod stream;
mod told;
mod upstream;
mod zmtp;

pub use conn::Conn;
pub use counts::Counts;
pub use error::GateError;
pub use listener::{Gate, Meter, Taker};
pub use refusal::Refusal;
pub use rules::{Kind, Rules};
pub use told::Told;
pub use upstream::Upstream;
