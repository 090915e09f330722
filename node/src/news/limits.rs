//! Bounds of what is told and heard.

use std::time::Duration;

/// The body of one piece of node information, and of one message with its envelope.
pub(crate) const VALUE_BYTES: usize = 64 << 10;
/// The value an agent says, as JSON text.
pub const MESSAGE_VALUE_BYTES: usize = 16 << 10;
/// Kind and name of an agent's message, each.
pub const WORD_BYTES: usize = 64;
/// The body of anything told. A job whose record is longer is not told; HTTP shows it.
pub(crate) const BODY_BYTES: usize = 256 << 10;
/// Messages of one node's agents that are kept; the oldest goes first.
pub(crate) const MESSAGES_A_NODE: usize = 1_000;
/// Bytes of all agents' messages together; each node has an equal part of it.
pub(crate) const MESSAGES_BYTES: usize = 64 << 20;
/// Nodes among which [`MESSAGES_BYTES`] is shared at least.
pub(crate) const SHARERS_LEAST: usize = 4;
/// What waits to be published; beyond either, what comes is dropped and counted.
pub(crate) const QUEUE_ITEMS: usize = 8_192;
/// See [`QUEUE_ITEMS`].
pub(crate) const QUEUE_BYTES: usize = 8 << 20;
/// Messages ZeroMQ holds for one slow subscriber; what comes beyond is lost to it alone.
pub(crate) const HIGH_WATER: i32 = 1_000;
/// A subscription: longer ones end their connection.
pub(crate) const SUBSCRIPTION_BYTES: usize = 4 << 10;
/// Subscriptions of one connection at once: one more ends it.
pub(crate) const SUBSCRIPTIONS: usize = 1_000;
/// Connections of the port, and of one address at it.
pub(crate) const CONNECTIONS: usize = 4_096;
/// See [`CONNECTIONS`].
pub(crate) const CONNECTIONS_AN_ADDRESS: usize = 1_024;
/// Subscriptions looked at in one turn.
pub(crate) const TURN_SUBSCRIPTIONS: usize = 256;
/// Things published in one turn.
pub(crate) const TURN_POSTS: usize = 512;
/// Things heard in one turn.
pub(crate) const TURN_HEARD: usize = 512;
/// Subscriptions to jobs that are told apart; with more, jobs are told until the end.
pub(crate) const JOB_SUBSCRIPTIONS: usize = 1_024;
/// Keys of messages that are remembered, so that a repetition is no second message.
pub(crate) const KEYS: usize = 1_024;
/// Things without a number that a listener remembers having passed on.
pub(crate) const PASSED_ON: usize = 8_192;
/// URLs a listener takes.
pub const URLS: usize = 1_000;

/// How long a connection may take to say who it is.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a subscription that has begun may take to arrive.
pub(crate) const SUBSCRIPTION: Duration = Duration::from_secs(10);
/// How often load is told.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// All four kinds are told again after so many periods.
pub(crate) const PERIODS_AGAIN: u32 = 30;
/// Two states are told at least so far apart; the newest of what was between is the second.
pub(crate) const STATE_PAUSE: Duration = Duration::from_millis(100);
/// How often the owner loop shows how it stands.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// What was heard longer ago no longer defends its place against a number that seems older, and is not passed on again.
pub(crate) const STALE: Duration = Duration::from_secs(60);

const _: () =
    assert!(MESSAGE_VALUE_BYTES < VALUE_BYTES && VALUE_BYTES < BODY_BYTES && BODY_BYTES < QUEUE_BYTES);
