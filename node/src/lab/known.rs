//! Which workers registered here, on disk: a lab worker registers once in its life and then waits, also for a node that is
//! started again. Best effort: never synced, and the oldest is forgotten first.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use protocol::limits::ATTACHED;
use serde::{Deserialize, Serialize};

use super::scribe::Scribe;

/// The file, inside the data folder.
const FILE: &str = "lab-workers";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waits {
    identity: Bytes,
    class: String,
}

/// The registrations.
#[derive(Debug)]
pub(super) struct Known {
    /// None: no thread could be had, and nothing is kept.
    file: Option<Scribe>,
    /// Of workers that are connected now.
    here: VecDeque<Waits>,
    /// Of those that are not, the oldest first.
    gone: VecDeque<Waits>,
}

impl Known {
    /// What an earlier start left; nothing when that cannot be read.
    pub(super) fn open(data: &Path) -> Self {
        let file = data.join(FILE);
        let gone: VecDeque<Waits> =
            fs::read(&file).ok().and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default();
        let file = Scribe::start(&file)
            .inspect_err(|error| tracing::warn!(%error, "the names of lab workers are not kept"))
            .ok();
        Self { file, here: VecDeque::new(), gone: gone.into_iter().take(ATTACHED).collect() }
    }

    /// A connection of this name: the class it had registered, which is its own from here on.
    pub(super) fn take_up(&mut self, identity: &Bytes) -> Option<String> {
        let place = self.gone.iter().position(|waits| waits.identity == *identity)?;
        self.gone.remove(place).map(|waits| waits.class)
    }

    /// It registered, or waits again.
    pub(super) fn remember(&mut self, identity: &Bytes, class: &str) {
        if identity.is_empty() {
            return;
        }
        // A worker that starts anew registers under the name of the one it was.
        drop(self.take_up(identity));
        self.here.push_back(Waits { identity: identity.clone(), class: class.to_owned() });
        self.here.truncate(ATTACHED);
        self.save();
    }

    /// Its connection is gone; it may come back without a word.
    pub(super) fn put_down(&mut self, identity: &Bytes, class: &str) {
        if let Some(place) = self.place(identity, class) {
            self.gone.extend(self.here.remove(place));
            while self.gone.len() > ATTACHED {
                self.gone.pop_front();
            }
        }
    }

    /// It is not there, or says that it is another.
    pub(super) fn forget(&mut self, identity: &Bytes, class: &str) {
        if let Some(place) = self.place(identity, class) {
            self.here.remove(place);
            self.save();
        }
    }

    fn place(&self, identity: &Bytes, class: &str) -> Option<usize> {
        self.here.iter().position(|waits| waits.identity == *identity && waits.class == class)
    }

    fn save(&self) {
        let all: Vec<&Waits> = self.gone.iter().chain(&self.here).collect();
        match (postcard::to_allocvec(&all), &self.file) {
            (Ok(bytes), Some(file)) => file.put(bytes),
            (Ok(_), None) => {}
            (Err(error), _) => tracing::warn!(%error, "keeping the names of lab workers"),
        }
    }
}
