//! Bounds of a measurement.

use std::time::Duration;

/// Requests of one round, at most.
pub const REQUESTS: usize = 10_000_000;
/// Requests that may be open at once.
pub const OUTSTANDING: usize = 65_536;
/// Workers that may be attached at once.
pub const WORKERS: usize = 256;
/// Workers of ReCodEx that may be attached at once.
pub const RECODEX_WORKERS: usize = 4_000;
/// Threads they share, at least;
pub(crate) const WORKER_THREADS: usize = 4;
/// and so many on one: a context of libzmq has 1,023 sockets.
pub(crate) const CONTEXT_WORKERS: usize = 1_000;
/// Evaluations without a verdict at once: a front end waits a second for one, so a burst says little.
pub(crate) const UNDECIDED: usize = 256;
/// What they did and nobody counted yet: more than may be open.
pub(crate) const DONE_UNREAD: usize = 2 * OUTSTANDING;
/// Silence after which a measurement gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that libzmq may hold for one peer: never fewer than may be open.
pub(crate) const HIGH_WATER: i32 = 100_000;
/// How often a thread looks whether it shall end.
pub(crate) const LOOK_MS: i64 = 50;
/// Messages taken in one turn.
pub(crate) const TURN_MESSAGES: usize = 256;
/// Nodes of a cluster of our own.
pub const NODES: usize = 3;
/// Jobs that each of them runs at once: two workers and four slots in all, as the leader runs none.
pub(crate) const SLOTS: usize = 2;
/// Slots of the one worker that drains a queue.
pub(crate) const DRAIN_SLOTS: usize = 4;
/// Jobs of one batch.
pub(crate) const BATCH_JOBS: u64 = 1_000;
/// Batches in flight when a queue is filled.
pub(crate) const FILLERS: usize = 4;
/// Seconds that a queue may take to drain.
pub(crate) const DRAIN_PATIENCE: Duration = Duration::from_secs(300);
/// How often something is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// What is weighed is looked at so often until it stays the same,
pub(crate) const SETTLE_LOOK: Duration = Duration::from_millis(500);
/// for so many looks,
pub(crate) const SETTLED_LOOKS: u32 = 6;
/// or this was the last.
pub(crate) const SETTLE_LOOKS: u32 = 60;
/// One try of a client that looks for a node that answers.
pub(crate) const TRY: Duration = Duration::from_millis(1_000);
/// Requests in flight over HTTP: a node takes 1,024 connections of one address, or as many requests that share some.
pub const HTTP_OUTSTANDING: usize = 3_000;
/// Jobs that may be queued for a measurement: as many as a cluster takes.
pub const QUEUED: usize = 2_000_000;
/// Requests in flight on one connection of HTTP/2; of more, another connection has its part. A node takes 512.
pub(crate) const SHARED_REQUESTS: usize = 512;
/// Bytes of answers that may be on their way on one connection of HTTP/2.
pub(crate) const WINDOW_BYTES: u32 = 1 << 20;
