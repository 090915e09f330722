//! Bounds of the relay.

use std::time::Duration;

/// Calls under way at once, open event streams among them.
pub(super) const CALLS: usize = 2_048;
/// All request bodies held at once, in units of [`BODY_UNIT`].
pub(super) const BODY_UNITS: usize = 128 << 10;
/// What one unit of [`BODY_UNITS`] stands for.
pub(super) const BODY_UNIT: usize = 1 << 10;
/// One request body: a batch is the largest.
pub(crate) const BODY_BYTES: usize = 8 << 20;
/// How long a request body may take to arrive, and to find room.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a node may take to be reached.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a node may take to begin its answer to a read, beside what the caller wants to wait.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(8);
/// How long it may take to begin its answer to a write: longer than a node itself waits for a majority.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// After this long no further node is tried, beside what the caller wants to wait.
pub(super) const CALL_PATIENCE: Duration = Duration::from_secs(60);
/// Silence that ends an event stream: a node sends a comment every 15 s.
pub(super) const EVENT_SILENCE: Duration = Duration::from_secs(40);
/// Silence that ends any other answer; a job's output may well pause.
pub(super) const ANSWER_SILENCE: Duration = Duration::from_secs(600);
/// What is read of an answer that may mean "ask another".
pub(super) const PROBLEM_BYTES: usize = 64 << 10;
/// Nodes that may be named.
pub(super) const SERVERS: usize = 64;
