//! Runs attempts: the built-in classes within the node, programs under a keeper each.
//!
//! ```text
//!   run(dispatch) ──▶ task ──┬─ echo, sleep, burn, hash ───────────────────────────┐
//!                            └─ folder, keeper, note on disk, order ──▶ report ────┤
//!   kill(attempt) ──────────────────▶ TERM, grace, KILL                            ▼
//!   kill_all() ── keepers see end of file, KILL at once            ended(attempt, outcome)
//! ```
//! `ended` comes once for every attempt, when its processes and its folder are gone: a slot is held until then.

pub(crate) mod child;
pub(crate) mod fence;
pub(crate) mod order;
pub(crate) mod processes;

mod builtin;
mod files;
mod leftovers;
mod live;
mod outputs;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use protocol::{AttemptRef, Dispatch, End, JobSpec, Outcome, Reason};
use tokio::runtime::Handle;

use self::child::{Limits, Places, Plan, base_env, search_path};
use self::leftovers::Sessions;
use self::live::{Live, Wish};
use self::order::Order;
use self::outputs::locked;
use crate::settings::ClassCommand;

pub use self::outputs::{Follower, Outputs};

/// The script classes and their interpreters.
const SCRIPTS: [(&str, &str); 2] = [("sh", "sh"), ("python", "python3")];
/// How long a start tries to kill what an earlier one left.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(3);
/// How long a stop waits until everything is gone.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How a runner shall be.
#[derive(Clone, Debug)]
pub struct RunnerSettings {
    /// Script classes it may serve: `sh`, `python`.
    pub allow: BTreeSet<String>,
    /// Classes from the configuration.
    pub classes: BTreeMap<String, ClassCommand>,
    /// Folder for scratch folders and the list of living groups; nobody else's.
    pub scratch: PathBuf,
    /// This program's executable: started as `EXE keeper`.
    pub keeper: PathBuf,
}

/// Runs attempts, each until it has ended and nothing of it is left. Dropping it kills everything without waiting.
#[derive(Debug)]
pub struct Runner {
    handle: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    settings: RunnerSettings,
    places: Places,
    outputs: Outputs,
    ended: Box<dyn Fn(AttemptRef, Outcome) + Send + Sync>,
    state: Mutex<State>,
    one_gone: Condvar,
    folders: AtomicU64,
}

/// What changes together.
#[derive(Debug, Default)]
struct State {
    live: BTreeMap<AttemptRef, Arc<Live>>,
    /// Calls of `ended` under way.
    telling: usize,
    stopped: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Runner {
    /// Kills what an earlier start of this node left, empties the scratch folder, and is ready. Blocks meanwhile.
    /// `handle` is of a runtime with time and I/O; `ended` is called from its threads and must not block.
    ///
    /// # Errors
    /// When the scratch folder cannot be made or emptied.
    pub fn start(
        handle: Handle,
        settings: RunnerSettings,
        outputs: Outputs,
        ended: impl Fn(AttemptRef, Outcome) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let places = prepare(&settings).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("preparing the scratch folder {}: {error}", settings.scratch.display()),
            )
        })?;
        let shared = Shared {
            settings,
            places,
            outputs,
            ended: Box::new(ended),
            state: Mutex::default(),
            one_gone: Condvar::new(),
            folders: AtomicU64::new(0),
        };
        Ok(Self { handle, shared: Arc::new(shared) })
    }

    /// The classes a runner with these settings serves on this machine: the built-in ones, the configured ones, and
    /// the allowed script classes whose interpreter is here.
    #[must_use]
    pub fn classes(settings: &RunnerSettings) -> BTreeSet<String> {
        let scripts = SCRIPTS.iter().filter(|(class, interpreter)| {
            settings.allow.contains(*class) && find_program(interpreter).is_some()
        });
        let own = builtin::NAMES.iter().copied().chain(scripts.map(|(class, _)| *class)).map(String::from);
        own.chain(settings.classes.keys().cloned()).collect()
    }

    /// Whether every node has this class.
    #[must_use]
    pub fn is_built_in(class: &str) -> bool {
        builtin::NAMES.contains(&class)
    }

    /// What an attempt brings that needs no time at all, so that whoever has a free slot for it need not start it; none for
    /// others.
    #[must_use]
    pub fn at_once(dispatch: &Dispatch) -> Option<Outcome> {
        let spec = &dispatch.spec;
        builtin::at_once(&spec.class, &spec.payload).map(|outcome| without_files(spec, outcome))
    }

    /// Starts an attempt. Never blocks; `ended` is called exactly once for it, after all of it is gone (by this very call, when
    /// it needs no time). An attempt that is running already goes on as it is.
    pub fn run(&self, dispatch: &Dispatch) {
        let attempt = dispatch.attempt;
        if let Some(outcome) = Self::at_once(dispatch) {
            self.shared.gone(attempt, outcome);
            return;
        }
        let (shared, dispatch) = (Arc::clone(&self.shared), dispatch.clone());
        let live = Arc::new(Live::new());
        {
            let mut state = locked(&shared.state);
            // Under one lock: a stop that comes now finds this attempt, one that came before keeps it out.
            if state.stopped || state.live.contains_key(&attempt) {
                return;
            }
            state.live.insert(attempt, Arc::clone(&live));
        }
        self.handle.spawn(async move {
            let task = tokio::spawn({
                let shared = Arc::clone(&shared);
                async move { shared.attempt(&dispatch, &live).await }
            });
            // A task of its own, so that even a panic in it frees the slot.
            let outcome = task.await.unwrap_or_else(|error| {
                Outcome::failure(Reason::Exit, format!("the attempt's task did not end: {error}"))
            });
            shared.outputs.close(attempt);
            shared.gone(attempt, outcome);
        });
    }

    /// Ends an attempt: TERM, and KILL after a grace of 2 s. `ended` still comes; an attempt that ended by itself
    /// before it heard of this ends as it did.
    pub fn kill(&self, attempt: AttemptRef) {
        if let Some(live) = locked(&self.shared.state).live.get(&attempt) {
            live.wish(Wish::Cancel);
        }
    }

    /// Kills everything at once and waits until it is gone, at most 5 s; no `ended` afterwards. Not to be called
    /// from the only thread of the runtime.
    pub fn kill_all(self) {
        self.shared.stop();
        let state = locked(&self.shared.state);
        let (state, _) = self
            .shared
            .one_gone
            .wait_timeout_while(state, STOP_PATIENCE, |state| !state.live.is_empty() || state.telling > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if !state.live.is_empty() {
            tracing::warn!(attempts = state.live.len(), "attempts were still there when the node stopped");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        let mut state = locked(&self.state);
        state.stopped = true;
        for attempt in state.live.values() {
            attempt.wish(Wish::Stop);
        }
    }

    fn gone(&self, attempt: AttemptRef, outcome: Outcome) {
        let tell = {
            let mut state = locked(&self.state);
            // Off the list first: whoever hears of the end may run the same attempt again.
            state.live.remove(&attempt);
            let tell = !state.stopped;
            state.telling += usize::from(tell);
            tell
        };
        if tell {
            (self.ended)(attempt, outcome);
            locked(&self.state).telling -= 1;
        }
        self.one_gone.notify_all();
    }

    async fn attempt(&self, dispatch: &Dispatch, live: &Live) -> Outcome {
        let spec = &dispatch.spec;
        if let Some(outcome) = builtin::run(&spec.class, &spec.payload, spec.timeout_ms, live).await {
            return without_files(spec, outcome);
        }
        let Some(plan) = self.plan(dispatch.attempt, spec) else {
            return Outcome::failure(
                Reason::Exit,
                format!("this node does not serve the class {:?}", spec.class),
            );
        };
        // Unlike the attempt's name, never used twice: a folder that could not be removed is nobody else's.
        let serial = self.folders.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{}.{serial}", dispatch.attempt.job, dispatch.attempt.attempt);
        let capture = self.outputs.open(dispatch.attempt);
        child::run(&self.places, dispatch.attempt, name, plan, live, capture).await
    }

    fn plan(&self, attempt: AttemptRef, spec: &JobSpec) -> Option<Plan> {
        let quiet_ms = spec.more.quiet_limit_ms;
        let mut env = base_env();
        env.extend(spec.env.clone());
        let own = [
            ("UNDERSTUDY_JOB", attempt.job.to_string()),
            ("UNDERSTUDY_ATTEMPT", attempt.attempt.to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        if let Some(class) = self.settings.classes.get(&spec.class) {
            let (program, args) = class.command.split_first()?;
            // The operator's word is over the job's.
            env.extend(class.env.clone());
            env.extend(own);
            let memory_bytes =
                if spec.memory_bytes > 0 { spec.memory_bytes } else { class.memory_bytes.unwrap_or(0) };
            let (program, args, stdin) = (program.clone(), args.to_vec(), Some(spec.payload.clone()));
            let files = spec.more.files.clone();
            let order = Order { program, script: None, args, env, stdin, files, memory_bytes, fence: None };
            let timeout_ms = spec.timeout_ms.or(class.timeout_ms);
            let outputs = spec.more.outputs.clone();
            return Some(Plan { order, limits: Limits { timeout_ms, quiet_ms }, outputs });
        }
        let (_, interpreter) = SCRIPTS.iter().find(|(class, _)| *class == spec.class)?;
        if !self.settings.allow.contains(&spec.class) {
            return None;
        }
        env.extend(own);
        let order = Order {
            program: find_program(interpreter)?,
            script: Some(spec.payload.clone()),
            args: spec.args.clone(),
            env,
            stdin: spec.stdin.clone(),
            files: spec.more.files.clone(),
            memory_bytes: spec.memory_bytes,
            fence: None,
        };
        let (limits, outputs) = (Limits { timeout_ms: spec.timeout_ms, quiet_ms }, spec.more.outputs.clone());
        Some(Plan { order, limits, outputs })
    }
}

/// A built-in class has no folder, so that it never leaves a file that was asked for.
fn without_files(spec: &JobSpec, outcome: Outcome) -> Outcome {
    match spec.more.outputs.first() {
        Some(name) if outcome.end == End::Success => {
            let error =
                format!("its output file {name:?} is not there: the class {} makes no files", spec.class);
            Outcome { end: End::Failure(Reason::Exit), error: Some(error), ..outcome }
        }
        _ => outcome,
    }
}

/// Kills what an earlier start left and makes the folders anew.
fn prepare(settings: &RunnerSettings) -> io::Result<Places> {
    fs::create_dir_all(&settings.scratch)?;
    let scratch = settings.scratch.canonicalize()?;
    let (attempts, groups) = (scratch.join("attempts"), scratch.join("groups"));
    fs::create_dir_all(&groups)?;
    let sessions: Sessions = leftovers::noted(&groups)?;
    let left = leftovers::kill_all(&sessions, &attempts, LEFTOVER_PATIENCE);
    if left > 0 {
        tracing::warn!(left, "processes of an earlier start could not be killed");
    }
    for folder in [&attempts, &groups] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(folder)?,
        }
    }
    Ok(Places { keeper: settings.keeper.clone(), attempts, groups, fences: fence::prepare(Path::new("/")) })
}

/// The path of an executable file of this name.
fn find_program(name: &str) -> Option<String> {
    search_path()
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| {
            fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}
