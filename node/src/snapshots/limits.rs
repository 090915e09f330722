//! Every bound of snapshots.

use std::time::Duration;

/// A snapshot is due when so many bytes of commands were applied since the last one, unless the settings say otherwise.
pub const DUE_BYTES: u64 = 48 << 20;
/// And not before the log is as long as this part (one in so many bytes) of the last snapshot: then what is written in
/// snapshots is at most so many times what is written in the log.
const LOG_SHARE: u64 = 3;
/// Jobs of so many bytes each, on average, are long: their payloads lie in the log's entries in memory, so that a longer log
/// takes no more of it while they wait. Then the log may get as long as the last snapshot,
const LONG_BYTES: u64 = 4 << 10;
/// but for this alone not longer than so: of jobs that end meanwhile it does take memory, and a start has to read it.
const LONG_LOG_BYTES: u64 = 1 << 30;
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

/// How long the log gets before the next snapshot, where one is worth it after `due_bytes`, the last had `last_bytes`, and so many
/// open jobs take so many bytes.
pub(super) fn log_bytes(due_bytes: u64, last_bytes: u64, (jobs, job_bytes): (u64, u64)) -> u64 {
    let is_long = job_bytes / jobs.max(1) >= LONG_BYTES;
    let long = if is_long { last_bytes.min(LONG_LOG_BYTES) } else { 0 };
    due_bytes.max(last_bytes / LOG_SHARE).max(long)
}

/// What of the log before a snapshot stays in memory, for peers that are a little behind.
pub(crate) fn margin_bytes(due_bytes: u64) -> u64 {
    consensus::limits::MARGIN_BYTES.min(due_bytes / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_long_jobs_gets_as_long_as_the_last_snapshot_within_a_bound() {
        const MIB: u64 = 1 << 20;
        let (short, long) = ((1_000, 1_000 * 500), (1_000, 1_000 * (LONG_BYTES + 1)));
        for (last_mib, of_short_mib, of_long_mib) in [
            (0, 48, 48),
            (30, 48, 48),
            (300, 100, 300),
            (900, 300, 900),
            (1_500, 500, 1_024),
            (6_000, 2_000, 2_000),
        ] {
            assert_eq!(log_bytes(48 * MIB, last_mib * MIB, short), of_short_mib * MIB, "{last_mib} MiB");
            assert_eq!(log_bytes(48 * MIB, last_mib * MIB, long), of_long_mib * MIB, "{last_mib} MiB");
        }
        assert_eq!(log_bytes(48 * MIB, 300 * MIB, (0, 0)), 100 * MIB);
    }
}
