//! The thread that copies lines to files and console, so that nobody who records ever waits for either.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::allowance::Allowance;
use crate::files::Files;
use crate::limits;
use crate::record::{Level, Record};
use crate::ring::Shared;

/// Takes console lines, one or several that are parted by line ends, without the last end; called from the mirror's own thread.
pub type Console = Box<dyn FnMut(&str) + Send>;

/// A console on this process's standard output.
#[must_use]
pub fn stdout_console() -> Console {
    // A closed standard output ends the console, never the process.
    let mut open = true;
    Box::new(move |line| open = open && writeln!(io::stdout().lock(), "{line}").is_ok())
}

/// Lines gather for so long before they are written: a busy container writes some hundred at once, and whoever records them wakes
/// nobody each time.
const GATHER: Duration = Duration::from_millis(5);

/// It is told at most so often that lines were dropped.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is told of that, behind their number.
const DROPPED: &str = " lines came too fast for the log's files and console";

/// The container has no number yet.
pub(crate) const NO_NUMBER: u32 = u32::MAX;

enum Letter {
    Line(Arc<Record>),
    Flush(SyncSender<()>),
}

/// The sending side.
#[derive(Clone)]
pub(crate) struct Mirror {
    letters: SyncSender<Letter>,
    dropped: Arc<AtomicU64>,
    paces: Arc<Mutex<Paces>>,
    /// Lines about jobs that are not taken yet.
    job_lines: Arc<AtomicU64>,
}

/// Jobs come by the ten thousand a second. What is told of the cluster, and what is wrong, must not drown in that.
struct Paces {
    of_jobs: Allowance,
    of_others: Allowance,
}

/// Whether it may be one of very many: a line about a job, and no warning.
fn is_common(record: &Record) -> bool {
    record.job.is_some() && record.level < Level::Warn
}

impl Mirror {
    pub(crate) fn start(shared: &Arc<Shared>, console: Option<Console>) -> io::Result<Self> {
        let (letters, inbox) = sync_channel(limits::MIRROR_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let job_lines = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            shared: Arc::downgrade(shared),
            dropped: Arc::clone(&dropped),
            job_lines: Arc::clone(&job_lines),
            console,
            printing: String::new(),
            files: None,
            retry_at: Instant::now(),
            told_at: None,
        };
        let paces = Paces {
            of_jobs: Allowance::new(limits::MIRROR_JOB_LINES_A_SECOND, limits::MIRROR_JOB_LINES),
            of_others: Allowance::new(limits::MIRROR_OTHER_LINES_A_SECOND, limits::MIRROR_LINES as u64),
        };
        // It ends by itself once every handle on the log is gone.
        std::thread::Builder::new().name("log".into()).spawn(move || writer.serve(&inbox))?;
        Ok(Self { letters, dropped, paces: Arc::new(Mutex::new(paces)), job_lines })
    }

    pub(crate) fn offer(&self, record: Arc<Record>) {
        let went = if is_common(&record) { self.offer_common(record) } else { self.offer_other(record) };
        if !went {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn offer_common(&self, record: Arc<Record>) -> bool {
        let waits = self.job_lines.load(Ordering::Relaxed);
        if waits >= limits::MIRROR_JOB_LINES || !self.paces().of_jobs.take() {
            return false;
        }
        self.job_lines.fetch_add(1, Ordering::Relaxed);
        let went = self.send(record);
        if !went {
            self.job_lines.fetch_sub(1, Ordering::Relaxed);
        }
        went
    }

    fn offer_other(&self, record: Arc<Record>) -> bool {
        self.paces().of_others.take() && self.send(record)
    }

    /// False: there is no room. Where nobody takes letters any more it is as good as sent.
    fn send(&self, record: Arc<Record>) -> bool {
        !matches!(self.letters.try_send(Letter::Line(record)), Err(TrySendError::Full(_)))
    }

    fn paces(&self) -> MutexGuard<'_, Paces> {
        // Whole after every statement.
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flush(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        if self.letters.try_send(Letter::Flush(done)).is_ok() {
            // Late or gone: the caller asked for best effort within its patience.
            let _ = wait.recv_timeout(patience);
        }
    }
}

struct Writer {
    shared: Weak<Shared>,
    dropped: Arc<AtomicU64>,
    job_lines: Arc<AtomicU64>,
    console: Option<Console>,
    /// Lines for the console: it gets those of one batch together.
    printing: String,
    files: Option<Files>,
    retry_at: Instant,
    /// When it was told last that lines were dropped.
    told_at: Option<Instant>,
}

impl Writer {
    fn serve(&mut self, inbox: &Receiver<Letter>) {
        loop {
            let letter = match self.next(inbox) {
                Ok(letter) => letter,
                Err(RecvTimeoutError::Timeout) => {
                    self.tell_dropped();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let alone = matches!(letter, Letter::Flush(_));
            self.take(letter);
            if !alone {
                std::thread::sleep(GATHER);
            }
            while let Ok(letter) = inbox.try_recv() {
                self.take(letter);
            }
            self.settle();
        }
    }

    /// Waits for a letter; where something is left to be told, until that may be.
    fn next(&self, inbox: &Receiver<Letter>) -> Result<Letter, RecvTimeoutError> {
        let untold = self.told_at.filter(|_| self.dropped.load(Ordering::Relaxed) > 0);
        match untold {
            Some(at) => inbox.recv_timeout(TELL_EVERY.saturating_sub(at.elapsed())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, letter: Letter) {
        match letter {
            Letter::Line(record) => {
                if is_common(&record) {
                    self.job_lines.fetch_sub(1, Ordering::Relaxed);
                }
                self.print(&record);
                self.store(&record);
            }
            Letter::Flush(done) => {
                self.told_at = None;
                self.settle();
                // The asker may have lost its patience; then nobody listens.
                let _ = done.try_send(());
            }
        }
    }

    fn print(&mut self, record: &Record) {
        let (Some(_), Some(shared)) = (&self.console, self.shared.upgrade()) else { return };
        if !self.printing.is_empty() {
            self.printing.push('\n');
        }
        // Writing to a text never fails.
        let _ = match shared.number() {
            NO_NUMBER => write!(self.printing, "-,{}", record.message),
            number => write!(self.printing, "{number},{}", record.message),
        };
        if self.printing.len() >= limits::CONSOLE_BYTES {
            self.print_out();
        }
    }

    fn print_out(&mut self) {
        if let Some(console) = self.console.as_mut().filter(|_| !self.printing.is_empty()) {
            console(&self.printing);
            self.printing.clear();
        }
    }

    fn store(&mut self, record: &Record) {
        let Some(shared) = self.shared.upgrade() else { return };
        let Some(folder) = shared.folder() else { return };
        if self.files.is_none() && Instant::now() >= self.retry_at {
            match Files::open(folder) {
                Ok(files) => self.files = Some(files),
                Err(error) => self.give_up(&error),
            }
        }
        if let Some(Err(error)) = self.files.as_mut().map(|files| files.write(record)) {
            self.give_up(&error);
        }
    }

    fn settle(&mut self) {
        self.print_out();
        if let Some(Err(error)) = self.files.as_mut().map(Files::flush) {
            self.give_up(&error);
        }
        self.tell_dropped();
    }

    /// Says how many lines were dropped, not too often.
    fn tell_dropped(&mut self) {
        if self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.told_at = Some(Instant::now());
        }
        if let Some(shared) = self.shared.upgrade().filter(|_| dropped > 0) {
            let message = format!("{dropped}{DROPPED}");
            shared.note(Level::Warn, "log", &message);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        self.files = None;
        self.retry_at = Instant::now() + Duration::from_millis(limits::FILE_RETRY_MS);
        if let Some(shared) = self.shared.upgrade() {
            let folder = shared.folder().map(|f| f.display().to_string()).unwrap_or_default();
            let message = format!("writing the log files in {folder}: {error}; lines stay in memory only");
            shared.note(Level::Warn, "log", &message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::DROPPED;
    use crate::{Level, Log, limits};

    /// Lines about jobs that come to be allowed in so long.
    fn pace(time: Duration) -> u64 {
        limits::MIRROR_JOB_LINES_A_SECOND * time.as_micros() as u64 / 1_000_000 + 1
    }

    #[test]
    fn consoles_print_number_and_message_and_files_keep_earlier_incarnations() {
        let folder = tempfile::tempdir().unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&printed);
        let console = Box::new(move |line: &str| seen.lock().unwrap().push(line.to_string()));
        let log = Log::open("n1", Some(folder.path()), Some(console)).unwrap();
        log.record(Level::Info, "joined", None, "not yet a member");
        log.flush(Duration::from_secs(20));
        log.set_number(3);
        log.record(Level::Info, "promoted", None, "Is master container");
        log.flush(Duration::from_secs(20));
        assert_eq!(*printed.lock().unwrap(), ["-,not yet a member", "3,Is master container"]);
        let incarnation = log.incarnation().to_string();
        drop(log);
        let next = Log::open("n1", Some(folder.path()), None).unwrap();
        let earlier = next.earlier(&incarnation);
        assert_eq!(earlier.len(), 2);
        assert_eq!(earlier[1].message, "Is master container");
        assert!(next.earlier("never").is_empty());
    }

    #[test]
    fn lines_of_many_jobs_are_bounded_and_drown_no_other_line() {
        let printed = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&printed);
        let console = Box::new(move |lines: &str| {
            let mut seen = seen.lock().unwrap();
            seen.push_str(lines);
            seen.push('\n');
        });
        let log = Log::open("n1", None, Some(console)).unwrap();
        let job = Some(protocol::JobId(7));
        let began = std::time::Instant::now();
        for n in 0..20_000 {
            log.record(Level::Info, "received", job, "of a job");
            if n % 5_000 == 0 {
                log.record(Level::Info, "promoted", None, "of the cluster");
                log.record(Level::Warn, "lost", job, "of a lost attempt");
            }
        }
        let most = limits::MIRROR_JOB_LINES + pace(began.elapsed());
        log.flush(Duration::from_secs(20));
        let printed = printed.lock().unwrap().clone();
        let count = |what: &str| printed.lines().filter(|line| line.ends_with(what)).count() as u64;
        assert_eq!((count("of the cluster"), count("of a lost attempt")), (4, 4));
        let of_jobs = count("of a job");
        assert!(of_jobs >= limits::MIRROR_JOB_LINES && of_jobs <= most, "{of_jobs} of {most}");
        // All are in memory, and there it is told how many are nowhere else.
        let lines = log.newest(limits::RING_LINES);
        let told: Vec<&str> = lines.iter().filter_map(|line| line.message.strip_suffix(DROPPED)).collect();
        let dropped: u64 = told.iter().map(|many| many.parse::<u64>().unwrap()).sum();
        assert_eq!((of_jobs + dropped, log.last()), (20_000, 20_008 + told.len() as u64));
        assert!(told.len() as u64 <= 2 + began.elapsed().as_secs(), "{told:?}");
    }

    #[test]
    fn where_nobody_writes_half_the_room_is_for_other_lines() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let printed = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&printed);
        let console = Box::new(move |lines: &str| {
            // It hangs in its first line until it is told to go on.
            let _ = wait.recv();
            seen.lock().unwrap().push_str(lines);
        });
        let log = Log::open("n1", None, Some(console)).unwrap();
        let job = Some(protocol::JobId(7));
        log.record(Level::Info, "joined", None, "first");
        // Until the pace alone would have filled the room.
        let began = std::time::Instant::now();
        while pace(began.elapsed()) < limits::MIRROR_LINES as u64 {
            for _ in 0..50 {
                log.record(Level::Info, "received", job, "of a job");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        log.record(Level::Warn, "stopped", None, "of the cluster");
        drop(go);
        log.flush(Duration::from_secs(20));
        let printed = printed.lock().unwrap();
        let of_jobs = printed.matches("of a job").count() as u64;
        // The writer may have taken some before it hung in the first.
        assert!(printed.ends_with("of the cluster") && of_jobs >= limits::MIRROR_JOB_LINES, "{of_jobs}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("logs");
        let error = Log::open("n1", Some(&folder), None).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
    }
}
