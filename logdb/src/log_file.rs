//! A second copy of a container's own lines, in a file that the operator named; from a thread of its own.
//!
//! ```text
//!   Log (ring) ──▶ LogFile ──▶ broker.log, broker.1.log …
//! ```
//! It keeps its place in the ring, so nobody who records a line waits for it. A disk that is slow, full or not there costs lines
//! and one warning.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::limits;
use crate::record::Level;
use crate::ring::Log;
use crate::rotating::{Rotating, Shape};

/// Lines gather for so long before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// Where the lines go, and which.
#[derive(Clone, Debug)]
pub struct LogFileSettings {
    /// Path without the suffix `.log`.
    pub stem: PathBuf,
    /// The least grave level that is written.
    pub least: Level,
    /// Bytes of one file.
    pub max_bytes: u64,
    /// Older ones that are kept.
    pub rotations: u32,
}

/// The running copy; dropping it ends it without waiting.
#[derive(Debug)]
pub struct LogFile {
    ending: watch::Sender<bool>,
    ended: Receiver<()>,
}

impl LogFile {
    /// Copies `log` from its oldest line on.
    ///
    /// # Errors
    /// When no thread can be started. That the file cannot be written is no error: a line of the log says so, and it is tried again.
    pub fn start(log: &Log, settings: LogFileSettings) -> io::Result<Self> {
        let (ending, told) = watch::channel(false);
        let (end, ended) = sync_channel(1);
        let shape = Shape {
            stem: settings.stem,
            suffix: "log",
            max_bytes: settings.max_bytes,
            rotations: settings.rotations as usize,
        };
        let mut work = Work {
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
            log: log.clone(),
            shape,
            least: settings.least,
            told,
            file: None,
            is_warned: false,
            seen: 0,
        };
        std::thread::Builder::new().name("log-file".to_string()).spawn(move || work.serve(&end))?;
        Ok(Self { ending, ended })
    }

    /// Ends it; lines recorded so far are written within `patience`, or not at all.
    pub fn end(self, patience: Duration) {
        self.ending.send_replace(true);
        // A disk that hangs must not hold up the end of the process.
        let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
            self.ended.recv_timeout(patience);
    }
}

struct Work {
    runtime: Runtime,
    log: Log,
    shape: Shape,
    least: Level,
    told: watch::Receiver<bool>,
    file: Option<Rotating>,
    /// Whether the present trouble was told already.
    is_warned: bool,
    seen: u64,
}

impl Work {
    fn serve(&mut self, ended: &SyncSender<()>) {
        loop {
            // Asked before the copy: lines recorded until then are written.
            let is_last = *self.told.borrow_and_update() || self.told.has_changed().is_err();
            let is_good = self.copy();
            if is_last {
                // Whoever waited may have lost its patience.
                let _ = ended.try_send(());
                return;
            }
            self.wait(is_good);
        }
    }

    /// Writes what was recorded since; false when that failed, and then those lines are lost.
    fn copy(&mut self) -> bool {
        loop {
            let lines = self.log.after(self.seen, limits::PAGE_LINES);
            let Some(last) = lines.last() else { return true };
            self.seen = last.seq;
            let worth = lines.iter().filter(|record| record.level >= self.least).map(|record| record.text());
            match write(&self.shape, &mut self.file, worth) {
                Ok(()) => self.is_warned = false,
                Err(error) => {
                    self.file = None;
                    self.warn(&error);
                    return false;
                }
            }
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_warned, true) {
            let path = self.shape.path(0);
            let message = format!("writing the log file {}: {error}; its lines are lost", path.display());
            self.log.record(Level::Warn, "log", None, &message);
        }
    }

    fn wait(&mut self, is_good: bool) {
        let Self { runtime, log, told, seen, .. } = self;
        let news = async {
            if is_good {
                log.newer(*seen).await;
                tokio::time::sleep(GATHER).await;
            } else {
                tokio::time::sleep(Duration::from_millis(limits::FILE_RETRY_MS)).await;
            }
        };
        // An error means that the handle is gone, which is an end too.
        runtime.block_on(async {
            tokio::select! { () = news => {}, _ = told.changed() => {} }
        });
    }
}

fn write(shape: &Shape, file: &mut Option<Rotating>, lines: impl Iterator<Item = String>) -> io::Result<()> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    if file.is_none() {
        shape.check()?;
        *file = Some(Rotating::open(shape)?);
    }
    let Some(file) = file else { return Ok(()) };
    lines.try_for_each(|line| file.write(&line))?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn settings(folder: &std::path::Path, least: Level) -> LogFileSettings {
        LogFileSettings { stem: folder.join("made/broker"), least, max_bytes: 1 << 20, rotations: 3 }
    }

    #[test]
    fn a_log_file_has_every_line_of_its_level_also_those_before_it_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::in_memory("n1");
        log.record(Level::Info, "first", None, "before it began");
        let file = LogFile::start(&log, settings(folder.path(), Level::Info)).unwrap();
        log.record(Level::Debug, "detail", None, "not worth a line");
        log.record(Level::Error, "last", None, "when it ended");
        file.end(PATIENCE);
        let text = std::fs::read_to_string(folder.path().join("made/broker.log")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].ends_with("info n1 before it began") && lines[1].ends_with("error n1 when it ended")
        );
    }

    #[test]
    fn a_log_file_that_cannot_be_written_costs_one_warning_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("made"), "a file where its folder should be").unwrap();
        let log = Log::in_memory("n1");
        log.record(Level::Info, "first", None, "one");
        let file = LogFile::start(&log, settings(folder.path(), Level::Debug)).unwrap();
        let warned = || log.newest(10).iter().filter(|record| record.event == "log").count();
        while warned() == 0 {
            std::thread::yield_now();
        }
        log.record(Level::Info, "second", None, "two");
        file.end(PATIENCE);
        assert_eq!((warned(), log.last()), (1, 3));
        assert!(log.newest(2)[0].message.contains("made/broker.log"), "{:?}", log.newest(2));
    }

    #[test]
    fn lines_after_the_trouble_is_over_are_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("made"), "").unwrap();
        let log = Log::in_memory("n1");
        log.record(Level::Info, "first", None, "too early");
        let file = LogFile::start(&log, settings(folder.path(), Level::Debug)).unwrap();
        while log.last() < 2 {
            std::thread::yield_now();
        }
        std::fs::remove_file(folder.path().join("made")).unwrap();
        log.record(Level::Info, "second", None, "kept");
        file.end(PATIENCE);
        let text = std::fs::read_to_string(folder.path().join("made/broker.log")).unwrap();
        assert!(text.contains(" kept\n") && !text.contains(" too early\n"), "{text}");
    }
}
