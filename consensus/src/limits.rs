//! Every bound of this room.

/// Bytes of one segment file of the log, unless one write alone is larger.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Entries up to this many bytes travel together in one append message; a larger entry travels alone.
pub const APPEND_BYTES_MAX: u64 = 512 * 1024;

/// Append messages on their way to one follower that it has not answered yet.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Bytes of commands proposed and not yet committed; over it `propose` answers `Busy`.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of entries before the newest snapshot that stay in memory for peers that are only a little behind.
pub const MARGIN_BYTES: u64 = 16 * 1024 * 1024;

/// A leader takes a snapshot that it has named to a peer for lost after so many election timeouts without an answer, and
/// names one again. (A peer that is fetching one goes on with that.)
pub const SNAPSHOT_PATIENCE_ELECTIONS: usize = 8;

/// Bytes of one command.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of committed entries taken from the engine in one round of a turn.
pub const COMMITTED_BYTES_PER_ROUND: u64 = 8 * 1024 * 1024;

/// Linearizable reads a leader has under way; more are refused or dropped (the asker tries again).
pub const READS_MAX: usize = 4096;

/// Voters and learners together.
pub const MEMBERS_MAX: usize = 256;

/// Highest term or index taken from a peer: far beyond any real one, far below where arithmetic would overflow.
pub const NUMBER_MAX: u64 = 1 << 60;

/// Bytes of the opaque context that a peer's message may carry.
pub const CONTEXT_BYTES_MAX: usize = 64;

/// What one entry costs beside its data when sizes are bounded, in bytes.
pub(crate) const ENTRY_OVERHEAD_BYTES: u64 = 32;
