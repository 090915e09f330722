//! The bounds of bridges, each with its unit.

/// Classes of one bridge.
pub const CLASSES: usize = 64;
/// Lanes of one bridge, all classes together: each takes up to twelve of the 1,023 sockets ZeroMQ has.
pub const LANES: usize = 64;
/// Bridges a request may have passed; one that comes with so many is refused.
pub const HOPS: usize = 8;
/// Connections a lane keeps to the second broker beside the usual one, for requests that came over other bridges.
pub const TRAILS: usize = 2;
/// How often a request is asked whose connection ended before the reply.
pub const ASKS: u32 = 3;
/// Longest delay a bridge adds.
pub const DELAY_MS: u64 = 3_600_000;
/// Bytes of one frame; a longer one ends its connection.
pub const FRAME_BYTES: usize = protocol::limits::MESSAGE_BYTES;
/// Messages ZeroMQ may hold for a lane, each way: there is one request under way.
pub const LANE_MESSAGES: i32 = 4;
/// Messages ZeroMQ may have taken in that the bridge has not read: they are gone when it is killed.
pub const READ_AHEAD: i32 = 1;
/// Confirmations or answers that ZeroMQ may hold for a slow or absent peer.
pub const SEND_AHEAD: i32 = 1_000;
/// Messages one turn reads or sends.
pub const TURN_MESSAGES: usize = 256;
/// Events of a connection one look takes.
pub const LOOK_EVENTS: usize = 64;
/// Jobs a bridge may have under way.
pub const CONCURRENCY: usize = 1_024;
/// Jobs it has under way where nothing else is said.
pub const CONCURRENCY_DEFAULT: usize = 64;
/// Bytes of a template.
pub const TEMPLATE_BYTES: usize = 64 << 10;
/// A connection that ended is made anew after this, at the earliest.
pub const RENEW_MS: u64 = 200;
/// ZeroMQ tries a broker that is away again after this, doubling …
pub const RECONNECT_MS: i32 = 100;
/// … up to this.
pub const RECONNECT_LAST_MS: i32 = 1_000;
/// A lane without work leaves the first broker when the second has been away for this long.
pub const AWAY_MS: u64 = 1_000;
/// How long a bridge that was told to end finishes what it has under way.
pub const FINISH_MS: u64 = 10_000;
/// How long what was sent last may take to leave.
pub const LINGER_MS: i32 = 1_000;
/// Bytes of a queue's name, as AMQP has them.
pub const QUEUE_BYTES: usize = 255;
/// Pause before an AMQP server that is away is tried again; doubles …
pub const AMQP_PAUSE_MS: u64 = 250;
/// … up to this.
pub const AMQP_PAUSE_LAST_MS: u64 = 5_000;
/// Bytes of an answer that says where the server is.
pub const DISCOVERED_BYTES: usize = 1 << 20;
