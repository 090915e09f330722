//! Runs attempts: built-in classes in this process, programs under a keeper each. (Being written.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use protocol::{AttemptRef, Dispatch, Outcome};

use crate::settings::ClassCommand;

/// What running attempts printed so far: shared and bounded.
#[derive(Clone, Debug, Default)]
pub struct Outputs;

impl Outputs {
    /// Standard output so far (first and last part) and the end of standard error; none when it is not running here.
    #[must_use]
    pub fn read(&self, _attempt: AttemptRef) -> Option<(Bytes, Bytes)> {
        None
    }
}

/// How a runner shall be.
#[derive(Clone, Debug)]
pub struct RunnerSettings {
    /// Script classes it may serve: `sh`, `python`.
    pub allow: BTreeSet<String>,
    /// Classes from the configuration.
    pub classes: BTreeMap<String, ClassCommand>,
    /// Folder for scratch folders and the list of living groups.
    pub scratch: PathBuf,
    /// This program's executable: started as `EXE keeper`.
    pub keeper: PathBuf,
}

/// Runs attempts, each until it has ended and nothing of it is left.
#[derive(Debug)]
pub struct Runner;

impl Runner {
    /// Kills what an earlier start left, empties the scratch folder, and is ready.
    ///
    /// # Errors
    /// When the scratch folder cannot be made.
    pub fn start(
        _handle: tokio::runtime::Handle,
        _settings: RunnerSettings,
        _outputs: Outputs,
        _ended: impl Fn(AttemptRef, Outcome) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Ok(Self)
    }

    /// The classes a runner with these settings serves on this machine.
    #[must_use]
    pub fn classes(_settings: &RunnerSettings) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Starts an attempt. Never blocks; `ended` is called exactly once for it, after all of it is gone.
    pub fn run(&self, _dispatch: &Dispatch) {}

    /// Ends an attempt: TERM, and KILL after the grace; `ended` still comes.
    pub fn kill(&self, _attempt: AttemptRef) {}

    /// Kills everything at once and waits until it is gone, at most 5 s; no `ended` afterwards.
    pub fn kill_all(self) {}
}
