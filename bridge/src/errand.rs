//! One job on behalf of somebody who knows nothing of the cluster: submitted under one key, followed to its end. Whatever
//! happens to single nodes, it goes on: the same key to the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{Api, ApiError, Ask};
use crate::job;

/// How long one request waits for a job's end, or for anybody to answer: then a complaint is due, and it is asked again.
const WAIT: Duration = Duration::from_secs(5);
/// Pause after nobody could answer.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two complaints about a cluster that cannot be reached.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Hears what an operator may want to know, a line each.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Why there is no job, and never will be one: the cluster refused it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    /// A word: the problem's name.
    pub(crate) name: String,
    /// What the cluster said.
    pub(crate) text: String,
}

/// Who runs errands.
pub(crate) struct Errands {
    api: Api,
    say: Say,
    complained: Mutex<Option<Instant>>,
}

impl Errands {
    pub(crate) fn new(api: Api, say: Say) -> Self {
        Self { api, say, complained: Mutex::default() }
    }

    /// The cluster, for questions beside.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The job when it has ended. Takes as long as it takes.
    pub(crate) async fn ended(&self, key: &str, body: &Value) -> Result<Value, Refusal> {
        let path = format!("/api/v1/jobs?wait={}s", WAIT.as_secs());
        let submitted = loop {
            let ask = Ask::post(&path, key).body(body).waiting(WAIT).patient(WAIT);
            match self.api.json(ask).await {
                Ok(submitted) => break submitted,
                Err(error) => self.bear(error).await?,
            }
        };
        if job::has_ended(&submitted) {
            return Ok(submitted);
        }
        let id = job::id_of(&submitted).ok_or_else(|| Refusal {
            name: "bad-answer".to_string(),
            text: "the answer names no job".to_string(),
        })?;
        loop {
            match job::wait_for_end(&self.api, id, Some(WAIT)).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {}
                Err(error) => self.bear(error).await?,
            }
        }
    }

    /// Waits a little where asking again may help; else says that it is over.
    async fn bear(&self, error: ApiError) -> Result<(), Refusal> {
        if !error.may_pass() {
            (self.say)(&format!("a task was refused: {error}"));
            let name = match &error {
                ApiError::Refused(problem) if !problem.name().is_empty() => problem.name(),
                _ => "refused",
            };
            return Err(Refusal { name: name.to_string(), text: error.to_string() });
        }
        if self.may_complain() {
            (self.say)(&format!("tasks wait for the cluster: {error}"));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn may_complain(&self) -> bool {
        // Nothing that panics happens under this lock.
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let may = complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY);
        if may {
            *complained = Some(Instant::now());
        }
        may
    }
}
