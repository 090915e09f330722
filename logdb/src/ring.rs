//! A container's own log: the last lines in memory, numbered within this incarnation of the process.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::JobId;
use tokio::sync::{Semaphore, watch};

use crate::files;
use crate::limits;
use crate::mirror::{Console, Mirror, NO_NUMBER};
use crate::record::{Level, Record, now_ms, safe_name};

/// A log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made or written.
    #[error("opening the log folder {}: {cause}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The thread that writes files and console cannot be started.
    #[error("starting the thread that writes the log: {0}")]
    Thread(std::io::Error),
}

/// A handle on the log; clones share it. Recording never waits for a disk, a terminal or a reader.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    mirror: Option<Mirror>,
}

pub(crate) struct Shared {
    name: Arc<str>,
    incarnation: String,
    source: Arc<str>,
    number: AtomicU32,
    folder: Option<PathBuf>,
    ring: Mutex<Ring>,
    news: watch::Sender<News>,
    followers: Arc<Semaphore>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Arc<Record>>,
    bytes: usize,
    last: u64,
}

#[derive(Clone, Copy)]
struct News {
    last: u64,
    closed: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("source", &self.shared.source).field("last", &self.last()).finish()
    }
}

impl Log {
    /// A log in memory alone.
    #[must_use]
    pub fn in_memory(name: &str) -> Self {
        Self { shared: Arc::new(Shared::new(name, None)), mirror: None }
    }

    /// A log that also writes its lines to rotating files in `folder` and as `i,message` to `console`.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be written or no thread can be started.
    pub fn open(name: &str, folder: Option<&Path>, console: Option<Console>) -> Result<Self, OpenError> {
        if let Some(folder) = folder {
            let failed = |cause| OpenError::Folder { folder: folder.to_path_buf(), cause };
            files::check(folder).map_err(failed)?;
        }
        let shared = Arc::new(Shared::new(name, folder.map(Path::to_path_buf)));
        let mirror = Mirror::start(&shared, console).map_err(OpenError::Thread)?;
        Ok(Self { shared, mirror: Some(mirror) })
    }

    /// Adds a line about this container itself. `event` is its kind in one word.
    pub fn record<'m>(
        &self,
        level: Level,
        event: impl Into<Cow<'static, str>>,
        job: Option<JobId>,
        message: impl Into<Cow<'m, str>>,
    ) {
        self.record_at(now_ms(), level, event, job, message);
    }

    /// Adds a line about another node.
    pub fn record_of<'m>(
        &self,
        node: &str,
        level: Level,
        event: impl Into<Cow<'static, str>>,
        job: Option<JobId>,
        message: impl Into<Cow<'m, str>>,
    ) {
        let record = self.shared.add(now_ms(), Some(node), level, event.into(), job, message.into());
        if let Some(mirror) = &self.mirror {
            mirror.offer(record);
        }
    }

    /// Adds a line about something of this container that happened at `time_ms` (since 1970) and can be told only now.
    pub fn record_at<'m>(
        &self,
        time_ms: u64,
        level: Level,
        event: impl Into<Cow<'static, str>>,
        job: Option<JobId>,
        message: impl Into<Cow<'m, str>>,
    ) {
        let record = self.shared.add(time_ms, None, level, event.into(), job, message.into());
        if let Some(mirror) = &self.mirror {
            mirror.offer(record);
        }
    }

    /// Says which number this container bears on consoles: the founder 1, client-web 0.
    pub fn set_number(&self, number: u32) {
        self.shared.number.store(number, Ordering::Relaxed);
    }

    /// The number this container bears on consoles; none before it is a member.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        Some(self.shared.number()).filter(|number| *number != NO_NUMBER)
    }

    /// Waits until there is a line above `seq`.
    pub(crate) async fn newer(&self, seq: u64) {
        let mut news = self.shared.listen();
        // An error means that the log itself is gone, which `self` rules out.
        let _ = news.wait_for(|news| news.last > seq).await;
    }

    /// The container's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Which start of the process numbers these lines.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.shared.incarnation
    }

    /// Number of the oldest line still in memory; 0 when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.shared.ring().lines.front().map_or(0, |record| record.seq)
    }

    /// Number of the newest line; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.shared.ring().last
    }

    /// The oldest `limit` lines above `seq`, in order.
    #[must_use]
    pub fn after(&self, seq: u64, limit: usize) -> Vec<Arc<Record>> {
        let ring = self.shared.ring();
        let start = ring.lines.partition_point(|record| record.seq <= seq);
        ring.lines.iter().skip(start).take(limit).cloned().collect()
    }

    /// The newest `limit` lines, in order.
    #[must_use]
    pub fn newest(&self, limit: usize) -> Vec<Arc<Record>> {
        let ring = self.shared.ring();
        let start = ring.lines.len().saturating_sub(limit);
        ring.lines.iter().skip(start).cloned().collect()
    }

    /// Lines of an earlier incarnation that the files still hold; reads disk.
    #[must_use]
    pub fn earlier(&self, incarnation: &str) -> Vec<Arc<Record>> {
        let source = format!("{}/{incarnation}", self.shared.name);
        self.shared.folder.as_deref().map(|folder| files::read(folder, &source)).unwrap_or_default()
    }

    /// Follows the log from the line after `seq`; `None` when too many do already.
    #[must_use]
    pub fn follow(&self, seq: u64) -> Option<Follower> {
        let seat = Arc::clone(&self.shared.followers).try_acquire_owned().ok()?;
        Some(Follower { log: self.clone(), news: self.shared.listen(), seen: seq, _seat: seat })
    }

    /// Waits at most `patience` until files and console have every line recorded so far.
    pub fn flush(&self, patience: Duration) {
        if let Some(mirror) = &self.mirror {
            mirror.flush(patience);
        }
    }

    /// Ends every follower, so that a server can shut down; lines are still recorded.
    pub fn close(&self) {
        self.shared.news.send_modify(|news| news.closed = true);
    }
}

impl Shared {
    fn new(name: &str, folder: Option<PathBuf>) -> Self {
        let name: Arc<str> = Arc::from(crate::record::escape(name, limits::NAME_BYTES));
        // Two starts of one container within a millisecond would need the same process id to collide.
        let incarnation = format!("{:x}-{}", now_ms(), std::process::id());
        Self {
            source: Arc::from(format!("{name}/{incarnation}")),
            name,
            incarnation,
            number: AtomicU32::new(NO_NUMBER),
            folder,
            ring: Mutex::default(),
            news: watch::Sender::new(News { last: 0, closed: false }),
            followers: Arc::new(Semaphore::new(limits::FOLLOWERS)),
        }
    }

    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Adds a line about the container itself, in memory only (the mirror's own troubles).
    pub(crate) fn note(&self, level: Level, event: &'static str, message: &str) {
        self.add(now_ms(), None, level, Cow::Borrowed(event), None, message.into());
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A ring is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of lines from here on, and which is the last one now.
    fn listen(&self) -> watch::Receiver<News> {
        // Under the lock: whoever adds a line after this sees that somebody listens.
        let ring = self.ring();
        let news = self.news.subscribe();
        self.news.send_if_modified(|news| std::mem::replace(&mut news.last, ring.last) != ring.last);
        news
    }

    /// Adds a line about a node; none: about the container itself.
    fn add(
        &self,
        time_ms: u64,
        node: Option<&str>,
        level: Level,
        event: Cow<'static, str>,
        job: Option<JobId>,
        message: Cow<'_, str>,
    ) -> Arc<Record> {
        let node = node.map_or_else(|| Arc::clone(&self.name), safe_name);
        let source = Arc::clone(&self.source);
        let mut record = Record::of_node(source, 0, time_ms, level, event, job, node, message);
        let mut ring = self.ring();
        ring.last += 1;
        record.seq = ring.last;
        let record = Arc::new(record);
        ring.push(Arc::clone(&record));
        // Told under the lock: followers hear the numbers in order. It wakes, it does not wait. Where nobody follows, nobody is told.
        if self.news.receiver_count() > 0 {
            self.news.send_modify(|news| news.last = record.seq);
        }
        record
    }
}

impl Ring {
    fn push(&mut self, record: Arc<Record>) {
        self.bytes += record.weight_bytes();
        self.lines.push_back(record);
        while self.lines.len() > limits::RING_LINES || self.bytes > limits::RING_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.weight_bytes();
        }
    }
}

/// Reads a log as it grows. It keeps its place: a slow reader misses only what memory no longer holds.
pub struct Follower {
    log: Log,
    news: watch::Receiver<News>,
    seen: u64,
    _seat: tokio::sync::OwnedSemaphorePermit,
}

impl Follower {
    /// The next lines (at least one), in order; `None` when the log was closed.
    pub async fn next(&mut self) -> Option<Vec<Arc<Record>>> {
        let seen = self.seen;
        self.news.wait_for(|news| news.closed || news.last > seen).await.ok()?;
        let lines = self.log.after(seen, limits::PAGE_LINES);
        self.seen = lines.last()?.seq;
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(lines: &[Arc<Record>]) -> Vec<u64> {
        lines.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn lines_are_numbered_from_one_and_read_from_either_end() {
        let log = Log::in_memory("n1");
        assert_eq!((log.first(), log.last()), (0, 0));
        for i in 1..=5 {
            log.record(Level::Info, "test", None, format!("line {i}"));
        }
        assert_eq!((log.first(), log.last()), (1, 5));
        assert_eq!(seqs(&log.after(2, 2)), [3, 4]);
        assert_eq!(seqs(&log.newest(2)), [4, 5]);
        assert!(log.after(5, 9).is_empty() && log.after(u64::MAX, 9).is_empty());
        assert_eq!(&*log.newest(1)[0].source, format!("n1/{}", log.incarnation()));
    }

    #[test]
    fn memory_is_bounded_in_lines_and_in_bytes() {
        let log = Log::in_memory("n1");
        for _ in 0..limits::RING_LINES + 10 {
            log.record(Level::Info, "test", None, "short");
        }
        assert_eq!(log.first(), 11);
        let long = "x".repeat(limits::MESSAGE_BYTES);
        for _ in 0..2_000 {
            log.record(Level::Info, "test", None, &long);
        }
        let ring = log.shared.ring();
        assert!(ring.bytes <= limits::RING_BYTES && ring.lines.len() < 1_100);
        assert_eq!(ring.bytes, ring.lines.iter().map(|r| r.weight_bytes()).sum::<usize>());
    }

    #[tokio::test]
    async fn a_follower_hears_each_line_once_and_ends_when_the_log_is_closed() {
        let log = Log::in_memory("n1");
        log.record(Level::Info, "test", None, "before");
        let mut follower = log.follow(0).unwrap();
        assert_eq!(seqs(&follower.next().await.unwrap()), [1]);
        let writer = log.clone();
        let task = tokio::spawn(async move { writer.record(Level::Info, "test", None, "later") });
        assert_eq!(seqs(&follower.next().await.unwrap()), [2]);
        task.await.unwrap();
        log.close();
        assert!(follower.next().await.is_none());
    }

    #[test]
    fn only_so_many_may_follow_and_a_seat_comes_back() {
        let log = Log::in_memory("n1");
        let mut all: Vec<Follower> = (0..limits::FOLLOWERS).map_while(|_| log.follow(0)).collect();
        assert_eq!(all.len(), limits::FOLLOWERS);
        assert!(log.follow(0).is_none());
        all.pop();
        assert!(log.follow(0).is_some());
    }
}
