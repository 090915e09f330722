//! Bounds of a measurement.

use std::time::Duration;

/// Requests of one round, at most.
pub const REQUESTS: usize = 10_000_000;
/// Requests that may be open at once.
pub const OUTSTANDING: usize = 65_536;
/// Workers that may be attached at once.
pub const WORKERS: usize = 256;
/// Silence after which a measurement gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that libzmq may hold for one peer: never fewer than may be open.
pub(crate) const HIGH_WATER: i32 = 100_000;
/// How often a thread looks whether it shall end.
pub(crate) const LOOK_MS: i64 = 50;
/// Messages taken in one turn.
pub(crate) const TURN_MESSAGES: usize = 256;
