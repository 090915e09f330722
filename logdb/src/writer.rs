//! The one task that writes the store: takes what came in, keeps it in one transaction, then tells file, console, readers.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gate::{Counts, Meter};
use tokio::sync::{mpsc, watch};

use crate::arrived::{Arrived, Kept};
use crate::limits;
use crate::mirror::Console;
use crate::store::Store;

/// How the store is, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Lines kept since the start.
    pub(crate) kept: AtomicU64,
    /// Records that were kept before.
    pub(crate) repeated: AtomicU64,
    /// Messages that were no line.
    pub(crate) dropped: Arc<AtomicU64>,
    trouble: Mutex<Option<String>>,
    port: Mutex<Option<Meter>>,
}

impl Health {
    /// What keeps lines from being stored now.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The port that is open now.
    pub(crate) fn set_port(&self, port: Option<Meter>) {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = port;
    }

    /// Who came to the port since it was opened last.
    pub(crate) fn port(&self) -> Option<Counts> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Meter::counts)
    }

    pub(crate) fn tell(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The file of text lines: only ever appended to.
pub(crate) struct TextFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl TextFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = Self { path: path.to_path_buf(), file: None };
        text.append(&[])?;
        Ok(text)
    }

    /// Adds lines. After an error the file is opened anew for the next ones.
    fn append(&mut self, lines: &[Kept]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        for line in lines {
            writeln!(file, "{}", line.text())?;
        }
        file.flush()?;
        self.file = Some(file);
        Ok(())
    }

    fn begin(&self) -> io::Result<BufWriter<File>> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        // The last process may have died in the middle of a line; ours starts on a new one.
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
        Ok(BufWriter::new(file))
    }
}

/// The writer. It ends when nobody can send lines any more, with all of them written.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) file: Option<TextFile>,
    pub(crate) console: Option<Console>,
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) last: watch::Sender<u64>,
    pub(crate) health: Arc<Health>,
}

impl Writer {
    pub(crate) async fn serve(mut self, mut inbox: mpsc::Receiver<Vec<Arrived>>) {
        let mut since_shortened = limits::STORE_SHORTEN_EVERY;
        while let Some(mut lines) = inbox.recv().await {
            while lines.len() < limits::STORE_BATCH {
                let Ok(more) = inbox.try_recv() else { break };
                lines.extend(more);
            }
            // The soft crash forgets what is not on disk.
            if *self.stopped.borrow() {
                continue;
            }
            let came = lines.len();
            let Some(kept) = self.keep(lines, &inbox).await else { continue };
            self.health.kept.fetch_add(kept.len() as u64, Ordering::Relaxed);
            self.health.repeated.fetch_add((came - kept.len()) as u64, Ordering::Relaxed);
            self.tell(&kept);
            since_shortened += kept.len() as u64;
            if since_shortened >= limits::STORE_SHORTEN_EVERY
                && self.store.shorten(limits::STORE_LINES).await.is_ok()
            {
                since_shortened = 0;
            }
        }
    }

    /// Tries until it is written; gives up when the store is stopped or ends meanwhile.
    async fn keep(&mut self, lines: Vec<Arrived>, inbox: &mpsc::Receiver<Vec<Arrived>>) -> Option<Vec<Kept>> {
        loop {
            match self.store.append(lines.clone()).await {
                Ok(kept) => {
                    self.health.tell(None);
                    return Some(kept);
                }
                Err(error) => self.health.tell(Some(error.to_string())),
            }
            let patience = tokio::time::sleep(Duration::from_millis(limits::STORE_RETRY_MS));
            let stopped = self.stopped.wait_for(|stopped| *stopped);
            tokio::select! {
                () = patience => {}
                _ = stopped => return None,
            }
            if inbox.is_closed() {
                return None;
            }
        }
    }

    fn tell(&mut self, kept: &[Kept]) {
        if let Some(console) = &mut self.console {
            let lines: String = kept.iter().flat_map(|line| [line.console(), "\n".to_string()]).collect();
            console(&lines);
        }
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.append(kept)) {
            let path = self.file.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
            self.health.tell(Some(format!("writing the lines to {path}: {error}")));
        }
        if let Some(line) = kept.last() {
            self.last.send_replace(line.n);
        }
    }
}
