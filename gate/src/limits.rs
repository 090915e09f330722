//! The gate's own bounds. What depends on the port stands in [`crate::Rules`].

use std::time::Duration;

/// Bytes of a peer's READY command: 255 of identity, a socket type, and some properties of its own.
pub const READY_BYTES: usize = 2 << 10;
/// Bytes of the identity a peer may give itself.
pub const IDENTITY_BYTES: usize = 255;
/// Bytes of a PING or PONG: name, time to live, 16 of context.
pub const PING_BYTES: usize = 5 + 2 + 16;
/// Bytes of a SUBSCRIBE command before its topic.
pub const SUBSCRIBE_BYTES: usize = 1 + 9;
/// Bytes read from a peer, or from libzmq, at once; a connection that is read holds two such buffers at most.
pub const READ_BYTES: usize = 16 << 10;
/// A single connection may hold one part in so many of `unread_bytes`.
pub const CONNECTION_SHARE: usize = 4;
/// Messages that are not complete yet may hold one part in so many of `unread_bytes`.
pub const UNFINISHED_SHARE: usize = 2;
/// How long the remains of an ended connection may stay without the program taking any of them; then they are given up.
pub const LINGER: Duration = Duration::from_secs(60);
/// Pause until libzmq's socket is tried again while it does not accept.
pub const UPSTREAM_PAUSE: Duration = Duration::from_millis(5);
/// Pause after the system could not give a descriptor for a new connection.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Descriptors of one connection: the peer's, and both ends of the private socket.
pub const CONNECTION_DESCRIPTORS: usize = 3;
/// All gates of a process use at most one part in so many of the descriptors it may open.
pub const DESCRIPTOR_SHARE: usize = 2;
/// A silent peer is asked for a sign of life after so many seconds.
pub const KEEPALIVE_IDLE_S: u32 = 30;
/// Seconds between two such questions.
pub const KEEPALIVE_EVERY_S: u32 = 10;
/// Questions without an answer after which the host is dead.
pub const KEEPALIVE_TRIES: u32 = 3;
/// Milliseconds that bytes may wait for a peer to take them; then it is closed.
pub const UNREAD_BY_PEER_MS: u32 = 120_000;
/// A refusal of one address for one reason is told once in this time.
pub const TELL_AGAIN: Duration = Duration::from_secs(300);
/// Pairs of address and reason that are remembered as told; with more, new ones are only counted.
pub const TOLD_PAIRS: usize = 1_024;
/// Changes of a peer's subscriptions that pass in [`SUBSCRIPTION_SPAN`]; then it waits, since libzmq queues each without a bound.
pub const SUBSCRIPTION_CHANGES: u64 = 10_000;
/// See [`SUBSCRIPTION_CHANGES`].
pub const SUBSCRIPTION_SPAN: Duration = Duration::from_secs(1);
/// Bytes of a private socket's name; with `/proc/self/fd/N/` before it a path has at most 107.
pub const SOCKET_NAME_BYTES: usize = 80;
/// Connections that the system may hold for a gate until it accepts them.
pub const BACKLOG: i32 = 1_024;
