//! The bounds of a container's own log.

/// Lines kept in memory.
pub const RING_LINES: usize = 20_000;
/// Bytes kept in memory, about.
pub const RING_BYTES: usize = 8 << 20;
/// Bytes of one message; the rest is cut and counted.
pub const MESSAGE_BYTES: usize = 8 << 10;
/// Bytes of a name (node, event) in a record.
pub const NAME_BYTES: usize = 256;
/// Lines that may wait for files and console; more are dropped there (and counted), never waited for.
pub const MIRROR_LINES: usize = 8_192;
/// Lines about jobs a second that files and console get in the long run, warnings aside; more are dropped there like those that find no
/// room. Each job has three to seven, and a cluster under load must not spend its processors on its own story: the files hold some
/// 76,000 lines, so it would push all else out of them in four seconds. As many are shipped, [`SHIP_LINES_A_SECOND`].
pub const MIRROR_JOB_LINES_A_SECOND: u64 = 5_000;
/// As many of those at once after a rest, and as many of them that may wait: half the room is for other lines.
pub const MIRROR_JOB_LINES: u64 = MIRROR_LINES as u64 / 2;
/// All other lines a second, warnings about jobs among them.
pub const MIRROR_OTHER_LINES_A_SECOND: u64 = 15_000;
/// Bytes of lines that the console is given at once, about.
pub const CONSOLE_BYTES: usize = 32 << 10;
/// Size at which a file is closed and the next one begun.
pub const FILE_BYTES: u64 = 4 << 20;
/// Files kept, the present one included.
pub const FILES: usize = 4;
/// Lines of one answer, when the reader names no `limit`.
pub const PAGE_LINES: usize = 1_000;
/// Lines of one answer at most.
pub const PAGE_LINES_MOST: usize = 10_000;
/// Readers that may follow one log at the same time.
pub const FOLLOWERS: usize = 64;
/// How often a follower of `source=cluster` looks for news.
pub const CLUSTER_LOOK_MS: u64 = 250;
/// Pause after a log file could not be written.
pub const FILE_RETRY_MS: u64 = 5_000;
/// Bytes of one frame at the store's port: a record with its longest message, escaped as JSON. Longer ones are dropped there.
pub const FRAME_BYTES: usize = 64 << 10;
/// Frames that may wait in ZeroMQ on either side.
pub const FRAMES: i32 = 1_000;
/// Frames the store's port hands over at once.
pub const PULL_BATCH: usize = 256;
/// Bytes and frames of one message at the store's port. A line is one frame; what has more is read, counted and let go.
pub const PULL_MESSAGE_BYTES: usize = 256 << 10;
/// See [`PULL_MESSAGE_BYTES`].
pub const PULL_MESSAGE_FRAMES: usize = 16;
/// Connections of the store's port, and of one address at it.
pub const PULL_CONNECTIONS: usize = 2_048;
/// See [`PULL_CONNECTIONS`].
pub const PULL_CONNECTIONS_AN_ADDRESS: usize = 1_024;
/// How long a connection may take to introduce itself.
pub const PULL_HANDSHAKE_MS: u64 = 5_000;
/// How long a message may take that has begun.
pub const PULL_MESSAGE_MS: u64 = 10_000;
/// Batches that may wait for the store's writer; then the port reads no more, and senders keep their lines.
pub const PULL_BATCHES: usize = 8;
/// Lines of one transaction, about.
pub const STORE_BATCH: usize = 2_000;
/// Rows of one statement (SQLite binds 32,766 values at most).
pub const STORE_ROWS: usize = 500;
/// Lines the store keeps; the oldest go.
pub const STORE_LINES: u64 = 5_000_000;
/// How many lines come between two looks at that bound.
pub const STORE_SHORTEN_EVERY: u64 = 10_000;
/// Connections to the database: one writes, the others read.
pub const STORE_CONNECTIONS: u32 = 4;
/// How long a statement waits for another one's lock.
pub const STORE_BUSY_MS: u64 = 5_000;
/// Pause after the store could not be written.
pub const STORE_RETRY_MS: u64 = 1_000;
/// How long a store may take to be reached by whoever passes a question on to it.
pub const REMOTE_CONNECT_MS: u64 = 1_500;
/// Silence of a store that ends its answer.
pub const REMOTE_SILENCE_MS: u64 = 8_000;
/// How long the lines of one job may take to come from it.
pub const REMOTE_JOB_MS: u64 = 2_000;
/// What is read of them.
pub const REMOTE_BYTES: usize = 16 << 20;
/// Lines shipped between two looks at the connection.
pub const SHIP_BATCH: usize = 256;
/// Lines a second that are shipped in the long run, at most: what a store indexes beside the cluster it serves. Of more, the
/// oldest are overtaken in memory and missing there.
pub const SHIP_LINES_A_SECOND: u64 = 5_000;
