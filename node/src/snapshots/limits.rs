//! Every bound of snapshots.

use std::time::Duration;

/// A snapshot is due when so many bytes of commands were applied since the last one, unless the settings say otherwise.
pub const DUE_BYTES: u64 = 48 << 20;
/// And not before the log is as long as this part (one in so many bytes) of the last snapshot: then what is written in
/// snapshots is at most so many times what is written in the log.
pub(super) const LOG_SHARE: u64 = 3;
/// A snapshot that is due waits while a peer fetches the newest one, until the log is so many times as long.
pub(super) const SERVING_PATIENCE: u64 = 4;
/// A peer that asked for a part within this time is still fetching.
pub(super) const SERVING: Duration = Duration::from_secs(3);
/// None is begun for so long after one failed.
pub(super) const FAILED_PAUSE: Duration = Duration::from_secs(30);
/// A part of a snapshot that cannot be had is asked for so often.
pub(super) const TRIES: u32 = 5;
/// First pause before it is asked for again; doubles each time.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of the largest snapshot that is fetched.
pub(super) const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;
/// What threads and tasks have said and the loop has not taken.
pub(crate) const TOLD: usize = 8;

/// What of the log before a snapshot stays in memory, for peers that are a little behind.
pub(crate) fn margin_bytes(due_bytes: u64) -> u64 {
    consensus::limits::MARGIN_BYTES.min(due_bytes / 4)
}
