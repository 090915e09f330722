//! A job: what a user gave, what became of it, and every try of it.
//!
//! ```text
//!             ┌────────── back-off over (Release) ──────────┐
//!             ▼                                             │
//!   Submit ▶ queued ──Assign──▶ running ──failure, tries left──▶ scheduled
//!             ▲  │                │  │
//!             │  └─Cancel/Expire  │  ├─ success ──▶ succeeded
//!             └──Requeue (lost)───┘  ├─ failure ──▶ failed
//!                                    └─ Cancel ───▶ cancelled
//! ```
//! The three states on the right are for ever (`terminal_is_final`). A success of *any* attempt ends an open job; a
//! failure counts only for the attempt that is current.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::attempt::AttemptMore;
use crate::ids::{Boot, JobId, NodeId, Rev};
use crate::more::More;

/// What a user gave, checked against the limits and with every default filled in. Never changes once accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What kind of work it is; a worker says which classes it serves.
    pub class: String,
    /// The work itself: standard input of a configured command, the script of `sh` and `python`.
    pub payload: Bytes,
    /// Arguments for `sh` and `python` scripts.
    pub args: Vec<String>,
    /// Environment added for a child process.
    pub env: BTreeMap<String, String>,
    /// Standard input of `sh` and `python` scripts.
    pub stdin: Option<Bytes>,
    /// Headers the node must carry.
    pub requires: BTreeMap<String, String>,
    /// Reserved processor time, thousandths of a core; 0 reserves nothing.
    pub cpu_milli: u32,
    /// Reserved memory; 0 reserves nothing.
    pub memory_bytes: u64,
    /// 0–9, 9 first.
    pub priority: u8,
    /// Who asked, for display and fairness.
    pub submitter: String,
    /// Longest run of one attempt; none: no limit.
    pub timeout_ms: Option<u64>,
    /// Failures of the job itself until it has failed for good.
    pub max_attempts: u32,
    /// Workers that may die under it until it has failed for good.
    pub max_lost: u32,
    /// Pause after the first failure; doubles with each further one.
    pub retry_base_ms: u64,
    /// Longest pause between two attempts.
    pub retry_max_ms: u64,
    /// Free words for searching.
    pub labels: BTreeMap<String, String>,
    /// What to do when no present node could ever run it.
    pub if_unsatisfiable: IfUnsatisfiable,
    /// What it asks beyond these. The last field, and the only one that may grow.
    pub more: More,
}

impl JobSpec {
    /// Bytes this job takes in memory and in the log, about: what the limits of the queue count.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let maps = [&self.env, &self.requires, &self.labels];
        let pairs: usize = maps.iter().flat_map(|m| m.iter()).map(|(k, v)| k.len() + v.len() + 48).sum();
        let args: usize = self.args.iter().map(|a| a.len() + 24).sum();
        let stdin = self.stdin.as_ref().map_or(0, Bytes::len);
        let fixed = 400;
        let own = self.class.len() + self.submitter.len() + self.payload.len();
        (own + stdin + pairs + args + self.more.weight_bytes() + fixed) as u64
    }
}

/// What happens to a job that no node now in the cluster could ever run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfUnsatisfiable {
    /// It waits: such a node may come.
    Wait,
    /// It is acknowledged and ends at once as `failed`/`unsatisfiable`.
    Fail,
}

/// Where a job stands. The last three are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its time (a back-off): `not_before`.
    Scheduled,
    /// Waits for other jobs.
    Blocked,
    /// Waits for a worker; no attempt of it is under way.
    Queued,
    /// An attempt is committed to a worker.
    Running,
    /// Ended well: it has its one result.
    Succeeded,
    /// Ended badly: `reason` says why.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
}

impl JobState {
    /// Every state, in the order people read them.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Blocked,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// No command changes such a job any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word of the public surface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a job or an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The program ended with a code other than 0, or could not be started.
    Exit,
    /// A signal we did not send ended it.
    Signal,
    /// It ran longer than its `timeout`.
    Timeout,
    /// It was silent longer than its `quiet_limit`.
    Quiet,
    /// It was killed for memory.
    Memory,
    /// Its workers died too often.
    Lost,
    /// Its time to start was over.
    Expired,
    /// A job it waited for did not end as asked.
    Dependency,
    /// No node could ever run it, and it asked to fail then.
    Unsatisfiable,
}

impl Reason {
    /// The word of the public surface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::Quiet => "quiet",
            Self::Memory => "memory",
            Self::Lost => "lost",
            Self::Expired => "expired",
            Self::Dependency => "dependency",
            Self::Unsatisfiable => "unsatisfiable",
        }
    }
}

/// A job as the ledger holds it. Wall times (milliseconds since 1970) are for display only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name for ever.
    pub id: JobId,
    /// What the user gave.
    pub spec: Arc<JobSpec>,
    /// Its place in the order of acceptance, from 1.
    pub order: u64,
    /// Where it stands.
    pub state: JobState,
    /// Why, once it has failed.
    pub reason: Option<Reason>,
    /// Cluster time before which it is not offered again (back-off).
    pub not_before_ms: Option<u64>,
    /// The same moment for people.
    pub not_before_wall_ms: Option<u64>,
    /// When the leader accepted it.
    pub submitted_wall_ms: u64,
    /// When its first attempt was assigned.
    pub started_wall_ms: Option<u64>,
    /// When it ended.
    pub finished_wall_ms: Option<u64>,
    /// Every try, in order; the last one is current.
    pub attempts: Vec<Attempt>,
    /// Failures of its own so far.
    pub failures: u32,
    /// Workers that died under it so far.
    pub lost: u32,
    /// Its one result, once it has ended (none for a job that ended without running).
    pub result: Option<Arc<Outcome>>,
    /// Its place among the ends, once it has ended.
    pub ending: Option<Ending>,
    /// The moment of its last change.
    pub rev: Rev,
}

/// The end of a job among all ends: history is numbered by it, without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// It was the how-manieth job to end, from 1.
    pub number: u64,
    /// The moment of it.
    pub rev: Rev,
    /// Cluster time of it, milliseconds.
    pub clock_ms: u64,
}

impl Job {
    /// The attempt now committed to a worker, if the job is running.
    #[must_use]
    pub fn current(&self) -> Option<&Attempt> {
        match self.state {
            JobState::Running => self.attempts.last(),
            _ => None,
        }
    }
}

/// One try of a job on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The node it was committed to.
    pub node: NodeId,
    /// The start of that node it was committed to: a later start cannot hold it.
    pub boot: Boot,
    /// The term whose leader assigned it; with the number, its fencing token.
    pub term: u64,
    /// What became of it.
    pub state: AttemptState,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// Exit code of the program.
    pub exit_code: Option<i32>,
    /// Signal that ended the program.
    pub signal: Option<i32>,
    /// When it was assigned.
    pub started_wall_ms: u64,
    /// When its end was recorded.
    pub finished_wall_ms: Option<u64>,
    /// Processor time it used, where known.
    pub cpu_ms: Option<u64>,
    /// What is known of it beyond these. The last field, and the only one that may grow.
    pub more: AttemptMore,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    /// Committed to a worker that has not answered yet.
    Running,
    /// Ended well, and ended the job.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Its worker went silent or started anew.
    Lost,
    /// Another attempt ended the job first.
    Superseded,
    /// Somebody cancelled the job.
    Cancelled,
}

impl AttemptState {
    /// The word of the public surface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an attempt ended, as its worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Exit 0.
    Success,
    /// Anything else.
    Failure(Reason),
}

/// What a worker brings back of one attempt. How it is written, and how it grew: [`crate::outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Well or not.
    pub end: End,
    /// Standard output, at most [`crate::limits::OUTPUT_BYTES`]: the first and the last part when there was more.
    pub output: Bytes,
    /// How much there was in truth.
    pub output_bytes: u64,
    /// Whether a middle part of the output is missing.
    pub truncated: bool,
    /// The end of standard error.
    pub stderr: Bytes,
    /// Exit code, when the program ended by itself.
    pub exit_code: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// Processor time, where known.
    pub cpu_ms: Option<u64>,
    /// Largest resident memory, where known.
    pub memory_peak_bytes: Option<u64>,
    /// The files that the job named as its outputs.
    pub files: BTreeMap<String, Bytes>,
}

impl Outcome {
    /// Bytes it takes in memory and in the log, about.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|(name, bytes)| name.len() + bytes.len() + 64).sum();
        self.output.len() + self.stderr.len() + self.error.as_ref().map_or(0, String::len) + files
    }

    /// A good end with this output, as the built-in classes give it.
    #[must_use]
    pub fn success(output: Bytes) -> Self {
        let output_bytes = output.len() as u64;
        Self { output_bytes, ..Self::bare(End::Success, output, None) }
    }

    /// A bad end without output.
    #[must_use]
    pub fn failure(reason: Reason, error: String) -> Self {
        Self::bare(End::Failure(reason), Bytes::new(), Some(error))
    }

    fn bare(end: End, output: Bytes, error: Option<String>) -> Self {
        Self {
            end,
            output,
            output_bytes: 0,
            truncated: false,
            stderr: Bytes::new(),
            exit_code: None,
            signal: None,
            error,
            cpu_ms: None,
            memory_peak_bytes: None,
            files: BTreeMap::new(),
        }
    }
}
