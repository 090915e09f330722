//! The thread that copies lines to files and console, so that nobody who records ever waits for either.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
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
}

impl Mirror {
    pub(crate) fn start(shared: &Arc<Shared>, console: Option<Console>) -> io::Result<Self> {
        let (letters, inbox) = sync_channel(limits::MIRROR_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            shared: Arc::downgrade(shared),
            dropped: Arc::clone(&dropped),
            console,
            printing: String::new(),
            files: None,
            retry_at: Instant::now(),
            allowance: Allowance::new(limits::MIRROR_LINES_A_SECOND, limits::MIRROR_LINES as u64),
        };
        // It ends by itself once every handle on the log is gone.
        std::thread::Builder::new().name("log".into()).spawn(move || writer.serve(&inbox))?;
        Ok(Self { letters, dropped })
    }

    pub(crate) fn offer(&self, record: Arc<Record>) {
        if let Err(TrySendError::Full(_)) = self.letters.try_send(Letter::Line(record)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
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
    console: Option<Console>,
    /// Lines for the console: it gets those of one batch together.
    printing: String,
    files: Option<Files>,
    retry_at: Instant,
    allowance: Allowance,
}

impl Writer {
    fn serve(&mut self, inbox: &Receiver<Letter>) {
        while let Ok(letter) = inbox.recv() {
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

    fn take(&mut self, letter: Letter) {
        match letter {
            Letter::Line(_) if self.allowance.left() == 0 => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Letter::Line(record) => {
                self.allowance.spend(1);
                self.print(&record);
                self.store(&record);
            }
            Letter::Flush(done) => {
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
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if let Some(shared) = self.shared.upgrade().filter(|_| dropped > 0) {
            let message = format!("{dropped} lines came too fast for the log's files and console");
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

    use crate::{Level, Log};

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
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("logs");
        let error = Log::open("n1", Some(&folder), None).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
    }
}
