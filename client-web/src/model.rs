//! What the pages read of the API's answers.

use serde::Deserialize;

/// `GET /status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) node: String,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) applied_index: u64,
    pub(crate) quorum: bool,
    pub(crate) open: bool,
    pub(crate) nodes: Vec<Node>,
}

/// One of its nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) voter: bool,
    pub(crate) alive: bool,
    pub(crate) stopped: bool,
    pub(crate) cpu_percent: f64,
    pub(crate) memory_used_bytes: u64,
    pub(crate) memory_total_bytes: u64,
    pub(crate) slots: u64,
    pub(crate) running: u64,
    pub(crate) classes: Vec<String>,
}

/// `GET /jobs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Jobs {
    pub(crate) items: Vec<Job>,
    pub(crate) rev: String,
}

/// The job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) submitter: String,
    pub(crate) priority: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_excerpt: String,
    pub(crate) submitted_at: String,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) result: Option<Outcome>,
    pub(crate) retry_of: Option<String>,
    pub(crate) progress: Progress,
    pub(crate) rev: String,
}

/// What its program last said of how far it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    /// From 0 to 1.
    pub(crate) value: Option<f64>,
    pub(crate) text: Option<String>,
}

/// `GET /jobs/{id}/why`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Why {
    pub(crate) text: String,
    pub(crate) nodes: Vec<Verdict>,
}

/// One node, judged for the job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) fits: bool,
    pub(crate) reasons: Vec<ReasonLine>,
}

/// What keeps it from the job, or that nothing does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReasonLine {
    pub(crate) text: String,
}

/// One try of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) node: String,
    pub(crate) term: u64,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) started_at: String,
    pub(crate) finished_at: Option<String>,
}

/// Its result.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) output: Option<String>,
    pub(crate) output_base64: Option<String>,
    pub(crate) output_bytes: u64,
    pub(crate) truncated: bool,
    pub(crate) exit_code: Option<i64>,
    pub(crate) error: Option<String>,
}

/// An error of the API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: u16,
    pub(crate) title: String,
    pub(crate) detail: String,
    pub(crate) id: Option<String>,
}
