//! Every bound of snapshots.

use std::time::Duration;

/// A snapshot is due when so many bytes of commands were applied since the last one, unless the settings say otherwise.
pub const DUE_BYTES: u64 = 48 << 20;
/// And not before the log is as long as this part (one in so many bytes) of the last snapshot: then what is written in
/// snapshots is at most so many times what is written in the log.
const LOG_SHARE: u64 = 3;
/// Open jobs of so many bytes each, on average, are long: payloads of this size lie in the log's entries in memory, so that a
/// longer log takes little more of it while they wait. Then the log may get as long as the last snapshot, and as what waits,
const LONG_BYTES: u64 = 4 << 10;
/// but for this alone not longer than so: of jobs that end meanwhile it does take memory, of files and outputs too, and a start
/// has to read it.
const LONG_LOG_BYTES: u64 = 1 << 30;
/// A snapshot that is due waits while a peer fetches the newest one, until the log is so many times as long.
const SERVING_PATIENCE: u64 = 4;
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
/// open jobs take so many bytes. While a peer fetches the newest one, it is not made the last but one, unless the log gets far too long.
pub(super) fn log_bytes(
    due_bytes: u64,
    last_bytes: u64,
    (open_jobs, open_bytes): (u64, u64),
    serving: bool,
) -> u64 {
    let is_long = open_bytes / open_jobs.max(1) >= LONG_BYTES;
    let long = if is_long { last_bytes.min(open_bytes).min(LONG_LOG_BYTES) } else { 0 };
    let usual = due_bytes.max(last_bytes / LOG_SHARE);
    if serving { usual.saturating_mul(SERVING_PATIENCE).max(long) } else { usual.max(long) }
}

/// What of the log before a snapshot stays in memory, for peers that are a little behind.
pub(crate) fn margin_bytes(due_bytes: u64) -> u64 {
    consensus::limits::MARGIN_BYTES.min(due_bytes / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const DUE: u64 = 48 * MIB;

    #[test]
    fn a_log_of_long_jobs_gets_as_long_as_the_last_snapshot_within_a_bound() {
        let (short, long) = ((20_000_000, 20_000_000 * 500), (2_000_000, 2_000_000 * (LONG_BYTES + 1)));
        for (last_mib, of_short_mib, of_long_mib) in [
            (0, 48, 48),
            (30, 48, 48),
            (300, 100, 300),
            (900, 300, 900),
            (1_500, 500, 1_024),
            (6_000, 2_000, 2_000),
        ] {
            let log = |open| log_bytes(DUE, last_mib * MIB, open, false) / MIB;
            assert_eq!((log(short), log(long)), (of_short_mib, of_long_mib), "{last_mib} MiB");
        }
    }

    #[test]
    fn a_large_snapshot_of_jobs_that_have_ended_allows_no_long_log() {
        for (open, log_mib) in [((0, 0), 300), ((10, 50 * LONG_BYTES), 300), ((100_000, 500 * MIB), 500)] {
            assert_eq!(log_bytes(DUE, 900 * MIB, open, false), log_mib * MIB, "{open:?}");
        }
    }

    #[test]
    fn whoever_fetches_a_snapshot_is_waited_for_no_longer_because_jobs_are_long() {
        let (short, long) = ((1_000, 500_000), (100_000, 500 * MIB));
        for (last_mib, log_mib) in [(0, 192), (300, 400), (900, 1_200)] {
            for open in [short, long] {
                assert_eq!(log_bytes(DUE, last_mib * MIB, open, true), log_mib * MIB, "{open:?}");
            }
        }
    }
}
