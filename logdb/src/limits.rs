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
