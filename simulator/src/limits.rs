//! Every bound and every length of time of this room. Times are virtual, in microseconds (`_us`).

/// A millisecond.
pub(crate) const MS: u64 = 1_000;
/// A second.
pub(crate) const SECOND: u64 = 1_000 * MS;

/// Nodes of a pretend cluster, at least.
pub const NODES_MIN: usize = 3;
/// Nodes of a pretend cluster, at most.
pub const NODES_MAX: usize = 5;
/// Length of a history in minutes, at most.
pub const MINUTES_MAX: u64 = 24 * 60;

/// One tick of a node, as in the real body: half a heartbeat.
pub(crate) const TICK_MS: u64 = 50;
/// Ticks between heartbeats.
pub(crate) const HEARTBEAT_TICKS: usize = 2;
/// Ticks of silence before a follower stands, at least.
pub(crate) const ELECTION_TICKS: usize = 10;
/// Silence after which a voter is replaced: shorter than many faults, so that histories have replacements.
pub(crate) const REPLACE_AFTER_MS: u64 = 2_500;
/// Inputs of one kind that one turn takes, as in the real body.
pub(crate) const TURN_INPUTS: usize = 1_024;
/// Size of a log segment: small, so that a history needs many.
pub(crate) const SEGMENT_BYTES: u64 = 32 * 1_024;
/// A node makes a snapshot after so many bytes of commands: few, so that a history needs many.
pub(crate) const SNAPSHOT_BYTES: u64 = 24 * 1_024;
/// What of the log before it stays in memory.
pub(crate) const SNAPSHOT_MARGIN_BYTES: u64 = 8 * 1_024;
/// An entry that is whole at so few bytes is followed by the next one at once.
pub(crate) const SMALL_ENTRY_BYTES: usize = 1_024;
/// Part of a file that reaches the disk whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// The last part of each minute of history is without faults: by its end the cluster must serve.
pub(crate) const FAULT_SHARE_PERCENT: u64 = 70;
/// Time that a cluster has after the last fault until it agrees and every acknowledged job has ended.
pub(crate) const CONVERGE_US: u64 = 60 * SECOND;
/// Time that a job has from its acknowledgement to its end when nothing is wrong.
pub(crate) const SERVE_US: u64 = 20 * SECOND;
/// How long nothing may have been wrong until it counts as calm: elections, liveness and back-off are over by then.
pub(crate) const CALM_AFTER_US: u64 = 8 * SECOND;
/// In calm, a job may wait so long beside a free slot.
pub(crate) const STARVE_US: u64 = 3 * SECOND;
/// A leader waits so long for a fuller entry, at most.
pub(crate) const GATHER_US: u64 = 8 * MS;
/// How often the whole cluster is looked at.
pub(crate) const LOOK_US: u64 = 250 * MS;
/// How often a newcomer asks to be let in.
pub(crate) const JOIN_US: u64 = 500 * MS;
/// How often a node measures its load.
pub(crate) const PROBE_US: u64 = 1_000 * MS;
/// How often a node whose disk fails tries to start again.
pub(crate) const RETRY_US: u64 = 500 * MS;
/// Every so many applied entries the whole ledger is walked.
pub(crate) const WALK_ENTRIES: u64 = 32;
/// Results of ended jobs that one read compares with how they ended.
pub(crate) const READ_RESULTS: usize = 16;
/// Silence after which a link is taken for closed.
pub(crate) const LINK_SILENCE_US: u64 = SECOND;

/// Ended jobs that a ledger holds: few, so that a history sees them leave.
pub(crate) const ENDED_JOBS: u64 = 20;
/// Ended jobs that history keeps, where it forgets.
pub(crate) const KEEP_JOBS: u64 = 100;

/// Workers of ReCodEx, in histories that have them.
pub(crate) const GUESTS: usize = 4;
/// How often one of them says that it is there.
pub(crate) const PING_US: u64 = 150 * MS;
/// A front end that has no verdict by then is told that its job is rejected.
pub(crate) const VERDICT_US: u64 = 900 * MS;
/// Clients that ask at the same time.
pub(crate) const CLIENTS: usize = 4;
/// Jobs one history may have open: above it the clients wait.
pub(crate) const OPEN_JOBS: usize = 60;
/// How long spare attempts may wait behind slow ones, about.
pub(crate) const SPARES_LIVE_US: u64 = 6 * SECOND;
/// A leader knows the pace of a worker from so long a time, in calm, and from so long a one when results are late: it counts them
/// when it hears them, and after the longest pause it hears all of it at once.
pub(crate) const PACE_US: [u64; 2] = [600 * MS, 7 * SECOND];
/// How often, of a thousand times, a client asks for many quick jobs at once.
pub(crate) const BURST_PERMILLE: u64 = 3;
/// And for how many.
pub(crate) const BURST_JOBS: usize = 60;
/// Events one history may have under way; more would be a storm, which is a fault of its own.
pub(crate) const EVENTS: usize = 200_000;
