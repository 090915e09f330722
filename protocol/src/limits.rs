//! Every bound of the project that more than one room must know, in one place, with its unit in its name.

/// Payload of one job, decoded.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// JSON body of one request.
pub const JSON_BODY_BYTES: usize = 2 << 20;
/// Output kept of one attempt: the first [`OUTPUT_HEAD_BYTES`] and the last [`OUTPUT_TAIL_BYTES`].
pub const OUTPUT_BYTES: usize = OUTPUT_HEAD_BYTES + OUTPUT_TAIL_BYTES;
/// The part of a long output kept from its beginning.
pub const OUTPUT_HEAD_BYTES: usize = 768 << 10;
/// The part of a long output kept from its end.
pub const OUTPUT_TAIL_BYTES: usize = 256 << 10;
/// The end of standard error that is kept.
pub const STDERR_TAIL_BYTES: usize = 16 << 10;
/// All of a job's text maps together: `requires`, `labels`, `env`, and `args`.
pub const HEADERS_BYTES: usize = 16 << 10;
/// The name of a class.
pub const CLASS_BYTES: usize = 200;
/// The name of a submitter.
pub const SUBMITTER_BYTES: usize = 200;
/// The key of a job's shared limits.
pub const SHARE_KEY_BYTES: usize = 200;
/// Jobs of one key that may run at once, at most.
pub const SHARE_CONCURRENCY: u64 = 100_000;
/// Starts of one key in a period, at most.
pub const SHARE_STARTS: u64 = 1_000_000;
/// The periods that a rate may name: a second, a minute, an hour.
pub const RATE_PERIODS_MS: [u64; 3] = [1_000, 60_000, 3_600_000];
/// Labels of one job.
pub const LABELS: usize = 64;
/// Files given to one job, and files named as its outputs, each.
pub const JOB_FILES: usize = 64;
/// The name of such a file.
pub const FILE_NAME_BYTES: usize = 200;
/// Bytes of the files that belong to one result, together.
pub const RESULT_FILES_BYTES: usize = 1 << 20;
/// Entries of any other map or list of one job.
pub const JOB_LIST: usize = 256;
/// Countable resources of one node, or asked for by one job.
pub const RESOURCES: usize = 32;
/// The name of a resource.
pub const RESOURCE_NAME_BYTES: usize = 100;
/// Most of one resource.
pub const RESOURCE_MOST: u64 = 1_000_000;
/// An idempotency key, printable ASCII.
pub const KEY_BYTES: usize = 255;
/// The longest `wait` of a request.
pub const WAIT_MS: u64 = 5 * 60 * 1000;
/// Jobs of one batch.
pub const BATCH_JOBS: usize = 10_000;
/// Body of one batch. Its commands fit one entry of the log.
pub const BATCH_BODY_BYTES: usize = 8 << 20;
/// How long a write waits for a leader with a majority until it answers 503.
pub const WRITE_PATIENCE_MS: u64 = 10_000;
/// The longest duration any field takes: a year.
pub const DURATION_MS: u64 = 366 * 24 * 3600 * 1000;
/// Jobs that may be open at once.
pub const QUEUE_JOBS: u64 = 2_000_000;
/// Bytes of jobs the ledger may hold.
pub const QUEUE_BYTES: u64 = 4 << 30;
/// Jobs of one page of a list.
pub const PAGE_JOBS: usize = 500;
/// Idempotency keys of ended jobs that are remembered.
pub const ENDED_KEYS: usize = 1_000_000;
/// Jobs ended last that the ledger keeps in memory, so that what comes late for them is judged alike everywhere.
pub const ENDED_JOBS: u64 = 10_000;
/// Bytes of those jobs.
pub const ENDED_BYTES: u64 = 64 << 20;
/// Ends of jobs that one `Forget` takes out of history.
pub const FORGET_JOBS: u64 = 10_000;
/// How long history keeps an ended job, in cluster time, unless the leader's node says otherwise: 30 days.
pub const KEEP_MS: u64 = 30 * 24 * 3600 * 1000;
/// Ended jobs that history keeps, unless the leader's node says otherwise.
pub const KEEP_JOBS: u64 = 10_000_000;
/// Bytes of ended jobs that history keeps, about, unless the leader's node says otherwise.
pub const KEEP_BYTES: u64 = 16 << 30;
/// Attempts a job may ask for.
pub const MAX_ATTEMPTS: u32 = 1000;

/// Any one message between nodes.
pub const MESSAGE_BYTES: usize = 16 << 20;
/// One question over the bulk connection of a pair of nodes.
pub const BULK_QUESTION_BYTES: usize = 4 << 10;

/// One answer over the bulk connection of a pair of nodes: a piece of a snapshot, a page of the archive.
pub const BULK_ANSWER_BYTES: usize = 1 << 20;

/// All commands of one entry of the log, about.
pub const ENTRY_BYTES: usize = 8 << 20;
/// Commands of one entry of the log.
pub const ENTRY_COMMANDS: usize = 10_000;
/// Requests a gateway may have open at once.
pub const OPEN_FORWARDS: usize = 65_536;
/// Bytes of requests a gateway may have open at once.
pub const OPEN_FORWARD_BYTES: usize = 256 << 20;
/// How often a worker reports.
pub const REPORT_MS: u64 = 250;
/// Reports a worker may miss until it is lost.
pub const MAX_LIVENESS: u64 = 10;
/// Silence after which a worker is lost.
pub const LIVENESS_MS: u64 = REPORT_MS * MAX_LIVENESS;
/// What runs on a node that is told to end has so long to end, unless the node says otherwise.
pub const DRAIN_DEADLINE_MS: u64 = 10_000;
/// A result or a forward without an answer is sent again after this.
pub const RESEND_MS: u64 = 1_000;
/// A node that has known of no leader for so long asks to be let in again: another with its name may have been taken in for it.
pub const REJOIN_MS: u64 = 5_000;
/// A disk whose write takes longer than this hangs: its leader hands over.
pub const DISK_HANGS_MS: u64 = 1_000;
/// A disk with less free than this, and less than [`DISK_LOW_PERCENT`] of it, is nearly full.
pub const DISK_LOW_BYTES: u64 = 512 << 20;
/// See [`DISK_LOW_BYTES`].
pub const DISK_LOW_PERCENT: u8 = 10;
/// Members of one cluster.
pub const MEMBERS: usize = 1_000;
/// Facts a node keeps in memory for events and `/logging?source=cluster`.
pub const FACTS_KEPT: usize = 20_000;
/// Foreign workers attached to one node.
pub const ATTACHED: usize = 4_096;
/// How long an attached worker has for one job until it is offered to another one too, unless the node says otherwise.
pub const ANSWER_WINDOW_MS: u64 = 2_000;
/// Attached workers that may hold one job at a time, unless the leader's node says otherwise.
pub const MAX_OFFERS: u32 = 3;
/// How long an attached worker whose connection ended may come back with its result.
pub const AWAY_MS: u64 = 10_000;
/// Frames of one message of the lab wire.
pub const LAB_FRAMES: usize = 64;
/// Bytes of the frames of one message of the lab wire that come before its text.
pub const LAB_ENVELOPE_BYTES: usize = 4 << 10;
/// Foreign workers of ReCodEx attached to one node.
pub const RECODEX_WORKERS: usize = 4_096;
/// Different sets of headers that such workers of one node may have.
pub const RECODEX_POOLS: usize = 256;
/// Headers of one such worker or job.
pub const RECODEX_HEADERS: usize = 64;
/// A front end's id of a job.
pub const RECODEX_ID_BYTES: usize = 200;
/// A text that a front end is told; a longer one is cut.
pub const RECODEX_MESSAGE_BYTES: usize = 1 << 10;
/// Calls that a front end is owed; of more, the oldest is given up.
pub const RECODEX_CALLS: usize = 20_000;
/// Attempts of one job whose records are kept.
pub const ATTEMPTS_KEPT: usize = 2_000;

const _: () =
    assert!(PAYLOAD_BYTES < JSON_BODY_BYTES && JSON_BODY_BYTES < ENTRY_BYTES && ENTRY_BYTES < MESSAGE_BYTES);
/// Attempts of one node whose progress is told to the others; of more, nobody hears.
pub const PROGRESS_SHOWN: usize = 64;
/// The text of a progress; a longer one is cut.
pub const PROGRESS_TEXT_BYTES: usize = 200;
