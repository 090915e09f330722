//! Writes one file, always the newest content, on a thread of its own: a disk that hangs keeps nobody waiting.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long an end waits for the last content to be written.
const LAST_WORD: Duration = Duration::from_secs(1);

type Newest = Arc<Mutex<Option<Vec<u8>>>>;

/// The writing thread. Dropped: it writes what it has, for which a moment is waited.
#[derive(Debug)]
pub(super) struct Scribe {
    newest: Newest,
    wake: Option<SyncSender<()>>,
    done: Receiver<()>,
}

impl Scribe {
    /// One that replaces `file` whole. Best effort: never synced.
    pub(super) fn start(file: &Path) -> std::io::Result<Self> {
        let newest = Newest::default();
        let (wake, woken) = sync_channel(1);
        let (tell_done, done) = sync_channel(1);
        let (file, shared) = (file.to_path_buf(), Arc::clone(&newest));
        std::thread::Builder::new().name("lab-workers".to_owned()).spawn(move || {
            while woken.recv().is_ok() {
                write(&file, &shared);
            }
            write(&file, &shared);
            // Whoever waited may have lost patience.
            let _ = tell_done.send(());
        })?;
        Ok(Self { newest, wake: Some(wake), done })
    }

    /// Has this written soon; what was to be written before and is not yet will not be.
    pub(super) fn put(&self, content: Vec<u8>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
        if let Some(wake) = &self.wake {
            // Full: it will wake anyway, and finds the newest.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.wake = None;
        // Late is not wrong: the content is a convenience.
        let _ = self.done.recv_timeout(LAST_WORD);
    }
}

fn write(file: &PathBuf, newest: &Newest) {
    let Some(content) = newest.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let new = file.with_extension("new");
    if let Err(error) = fs::write(&new, content).and_then(|()| fs::rename(&new, file)) {
        tracing::warn!(%error, file = %file.display(), "keeping the names of lab workers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_content_is_there_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("names");
        let scribe = Scribe::start(&file).unwrap();
        for n in 0..100 {
            scribe.put(format!("{n}").into_bytes());
        }
        drop(scribe);
        assert_eq!(fs::read(&file).unwrap(), b"99");
    }

    #[test]
    fn a_file_that_cannot_be_written_hurts_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let scribe = Scribe::start(&dir.path().join("no/such/folder")).unwrap();
        scribe.put(b"lost".to_vec());
        drop(scribe);
    }
}
