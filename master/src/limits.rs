//! Bounds that only this room needs; those shared by several rooms are in [`protocol::limits`].

use protocol::limits;

/// Groups of pieces of the ledger's maps, and pieces of a group: a write after a clone copies one piece, and the pointers
/// of one group and of all groups. So many that an entry of a thousand jobs copies a small part of a million.
pub const SHARD_GROUPS: usize = 128;
/// See [`SHARD_GROUPS`].
pub const SHARDS_IN_GROUP: usize = 128;
/// A piece that is full grows by so many: about a kibibyte of waiting jobs, and multiples of it are little below the sizes
/// that allocators have.
pub const PIECE_GROWTH: usize = 10;
/// Jobs in one chunk of the order of acceptance, and in one chunk of an index over it.
pub const ORDER_CHUNK: u64 = 1024;
/// Kinds of jobs (class, submitter, priority) whose terms are remembered, so that the next ones share them.
pub const TERMS_SHARED: usize = 256;
/// A payload up to this is copied when it is looked at, and shared when it is longer.
pub const SHORT_BYTES: usize = 512;
/// Facts in one chunk of the ring.
pub const FACT_CHUNK: usize = 250;
/// Bytes of jobs and keys in one piece of a snapshot, unless one job alone is larger.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Items in one piece of a snapshot.
pub const PIECE_ITEMS: usize = 4_096;
/// First pause of a job whose workers died under it more than once; doubles with each further one.
pub const LOST_PAUSE_MS: u64 = 1_000;
/// A job waits this much as though it were one priority level higher.
pub const AGEING_MS: u64 = 30_000;
/// Slices of the period of a rate: a start counts at most one of them longer than the period.
pub const RATE_SLICES: u64 = 20;
/// Keys whose starts are counted at once, for each period; while it is full, jobs of other keys that name a rate wait.
pub const RATE_KEYS: u64 = 100_000;
/// Submitters that have no job in the queue now and whose place in the round is remembered.
pub const SUBMITTERS_AWAY: usize = 10_000;
/// Shapes of work that one filling may fail to place before it pauses until the next turn.
pub const SHAPES_TRIED: usize = 256;
/// Looks at a worker that one filling may take before it pauses until the next turn.
pub const LOOKS: usize = 50_000;
/// Bytes of commands that may wait for their entry; above it a `Submit` is refused as `Full`.
pub const WAITING_BYTES: usize = limits::OPEN_FORWARD_BYTES;
/// Commands taken from the waiting ones into one entry: the rest of it is kept for assignments.
pub const WAITING_PER_ENTRY: usize = limits::ENTRY_COMMANDS / 2;
/// An entry takes no further command beyond so many bytes, though one command alone may be larger: entries that are on their
/// way one behind the other come to their end sooner than one large one, and leave less of a log segment unused.
pub const ENTRY_FULL_BYTES: usize = 1 << 20;
/// Nodes the leader listens to: all members, and as many that ask to become one.
pub const PEERS: usize = 2 * limits::MEMBERS;
/// How often a wish for other voters or learners is said again, and the loads behind choices are told.
pub const REMIND_MS: u64 = 1_000;
/// After a voter had to go, the voters stay as they are for so long, unless one more loss would stop the cluster.
pub const CHANGE_PAUSE_MS: u64 = 60_000;
/// Recoveries by hand that one cluster can have: each is remembered by the id that the cluster had before.
pub const RECOVERIES: u32 = 1_000;
/// Checkpoints of its own ledger that a leader remembers, to compare others' with.
pub const CHECKPOINTS: usize = 64;
/// Transfers of the lead that wait for a voter that is fit; above it the oldest is refused.
pub const TRANSFERS: usize = 16;
/// Jobs asking to fail when unsatisfiable that are looked at in one second.
pub const UNDECIDED_LOOKS: usize = 256;
/// A spare attempt waits about so long for its slot: a node is sent as many ahead as end there in this time. It hides the
/// time that a commit takes.
pub const SPARE_MS: u64 = 25;
/// Waiting jobs of one line that lie together, at most. They leave at the front and come at the end, so that mostly only those
/// two chunks are not full.
pub const TURNS_CHUNK: usize = 512;
/// A chunk of them with room for so many keeps it, however few are left.
pub const TURNS_KEPT: usize = 16;
/// Spare attempts of one class that a node is sent ahead, at most.
pub const SPARES: u32 = 256;
/// A spare attempt that waited so long is asked back while another node could begin it.
pub const SPARE_PATIENCE_MS: u64 = 100;
/// Marks of which job ended when.
pub const MARKS: usize = 4_096;
/// Cluster time, ends and bytes of ended jobs between two of them, at most.
pub const MARK_MS: u64 = 15 * 60 * 1000;
/// See [`MARK_MS`].
pub const MARK_JOBS: u64 = 10_000;
/// See [`MARK_MS`].
pub const MARK_BYTES: u64 = 16 << 20;
/// What a slot in use adds to a worker's score, per mille, when all slots are in use.
pub const SLOTS_PERMILLE: u64 = 400;
/// What it adds to a worker's score, per mille, when something always waits there for a processor. Little: the average
/// that the kernel tells moves slowly, and two nodes of one machine read it at different moments.
pub const CPU_PRESSURE_PERMILLE: u64 = 250;
/// What it adds when something always waits there for memory.
pub const MEMORY_PRESSURE_PERMILLE: u64 = 1_000;
/// What an attempt that is not in its worker's load yet is taken to use, thousandths of a core.
pub const SENT_CPU_MILLI: u64 = 1_000;

/// Open jobs may take this part (one in so many bytes) of the smallest voter's memory.
pub const LIVE_SHARE: u64 = 4;

/// Bounds of the ledger, equal on every node: a field and not constants so that tests can lower them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs that may be open at once.
    pub open_jobs: u64,
    /// Bytes of jobs the ledger may hold.
    pub live_bytes: u64,
    /// Jobs ended last that are still held, when an entry begins.
    pub ended_jobs: u64,
    /// Bytes of those, when an entry begins.
    pub ended_bytes: u64,
    /// Keys of ended jobs that are remembered.
    pub ended_keys: usize,
    /// Facts that are kept, about (whole chunks leave).
    pub facts: usize,
    /// Answers remembered for one gateway.
    pub answers: usize,
    /// Attempts of one job.
    pub attempts: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            open_jobs: limits::QUEUE_JOBS,
            live_bytes: limits::QUEUE_BYTES,
            ended_jobs: limits::ENDED_JOBS,
            ended_bytes: limits::ENDED_BYTES,
            ended_keys: limits::ENDED_KEYS,
            facts: limits::FACTS_KEPT,
            answers: limits::OPEN_FORWARDS,
            attempts: limits::ATTEMPTS_KEPT,
        }
    }
}
