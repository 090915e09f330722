//! Bounds of the archive.

use std::time::Duration;

/// Bytes of jobs and facts between apply and archive; above it the leader takes no new jobs.
pub(super) const BACKLOG_BYTES: u64 = 256 << 20;
/// Above that it takes them again once so much is left.
pub(super) const BACKLOG_RELIEVED_BYTES: u64 = 192 << 20;
/// Jobs and facts of one batch, about; more begin another one.
pub(super) const BATCH_ITEMS: usize = 2_000;
/// Batches of one transaction.
pub(super) const WRITE_BATCHES: usize = 8;
/// Bytes of one transaction, about.
pub(super) const WRITE_BYTES: u64 = 16 << 20;
/// After a transaction what comes gathers for so long at least: one costs more than most of what is in it.
pub(super) const GATHER: Duration = Duration::from_millis(100);
/// And so many times as long as the transaction took: in a burst the jobs go first, and are written down afterwards,
pub(super) const REST: u32 = 5;
/// for so long at most,
pub(super) const REST_MOST: Duration = Duration::from_secs(2);
/// unless so many bytes wait.
pub(super) const LAG_BYTES: u64 = 96 << 20;
/// Rows of one statement (SQLite takes 32,766 values).
pub(super) const INSERT_ROWS: usize = 500;
/// Facts of one block: to look for one of them is to read all.
pub(super) const BLOCK_FACTS: usize = 256;
/// Blocks that one statement reads, at most.
pub(super) const BLOCKS_AT_ONCE: u64 = 64;
/// Once so many blocks in a row began at one time, facts of that time have marks. A batch of jobs fills forty.
pub(super) const MOMENT_BLOCKS: usize = 64;
/// Blocks of one time that are looked through; those without marks are among the first [`MOMENT_BLOCKS`] but where a peer told them.
pub(super) const SCAN_BLOCKS: usize = 1_024;
/// What is written is made safe at least so often.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// And when so many bytes were written since.
pub(super) const CHECKPOINT_BYTES: u64 = 64 << 20;
/// How long the end of a start waits for a write under way.
pub(super) const CLOSING: Duration = Duration::from_secs(1);
/// Pause after a failed write.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long a write or a checkpoint waits for readers.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Readers at once; more wait.
pub(super) const READERS: u32 = 4;
/// Jobs in memory that one page looks at.
pub(super) const SCAN_JOBS: usize = 200_000;
/// Places in the order of acceptance that one statement looks at.
pub(super) const SCAN_ORDERS: u64 = 250_000;
/// A page looks no further once it has taken so long.
pub(super) const SCAN_TIME: Duration = Duration::from_millis(500);
/// Bytes of a payload that a list shows a beginning of.
pub(super) const EXCERPT_BYTES: usize = 1 << 10;
/// Bytes of an output that a list shows; of a longer one it must be seen that it is longer.
pub(super) const SHOWN_OUTPUT_BYTES: usize = (4 << 10) + 1;
/// Bytes of one page for a peer, about; below what an answer in bulk may have.
pub(super) const PAGE_BYTES: u64 = 900 << 10;
/// Rows of one page for a peer.
pub(super) const PAGE_ROWS: u64 = 500;
/// What is long of one job, at most: payload, files and output within their limits are far below.
pub(super) const BODY_BYTES: usize = 16 << 20;
/// No page is asked for while more than this waits to be written.
pub(super) const FILL_BACKLOG_BYTES: u64 = 32 << 20;
/// Pause after nobody had anything.
pub(super) const FILL_RETRY: Duration = Duration::from_secs(2);
/// About what a fact takes in memory.
pub(super) const FACT_BYTES: u64 = 150;
