//! A task becomes a job, its job's end an answer. Whatever happens to single nodes, it goes on: the same key to the next.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Say;
use super::template::Template;
use crate::api::{self, Api, ApiError, Ask};
use crate::job;

/// How long one request waits for a job's end, or for anybody to answer: then a complaint is due, and it is asked again.
const WAIT: Duration = Duration::from_secs(5);
/// Pause after nobody could answer.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two complaints about a cluster that cannot be reached.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// All that tasks have in common.
pub(super) struct Work {
    api: Api,
    class: String,
    template: Template,
    say: Say,
    complained: Mutex<Option<Instant>>,
}

impl Work {
    pub(super) fn new(api: Api, class: &str, template: &Template, say: Say) -> Self {
        let (class, template) = (class.to_string(), template.clone());
        Self { api, class, template, say, complained: Mutex::default() }
    }

    /// The output of the task's job, or `ERROR reason`. Takes as long as it takes.
    pub(super) async fn answer(&self, task: &[u8]) -> Vec<u8> {
        let Some(payload) = self.template.fill(task) else { return b"ERROR too-large".to_vec() };
        let mut body = Map::new();
        body.insert("class".into(), json!(self.class));
        job::put_payload(&mut body, payload);
        match self.ended(&Value::Object(body)).await {
            Ok(ended) => words_of(&ended),
            Err(reason) => format!("ERROR {reason}").into_bytes(),
        }
    }

    /// The job when it has ended, or why there is none.
    async fn ended(&self, body: &Value) -> Result<Value, String> {
        let key = api::new_key().map_err(|error| {
            (self.say)(&error.to_string());
            "key".to_string()
        })?;
        let path = format!("/api/v1/jobs?wait={}s", WAIT.as_secs());
        let submitted = loop {
            let ask = Ask::post(&path, &key).body(body).waiting(WAIT).patient(WAIT);
            match self.api.json(ask).await {
                Ok(submitted) => break submitted,
                Err(error) => self.bear(error).await?,
            }
        };
        if job::has_ended(&submitted) {
            return Ok(submitted);
        }
        let id = job::id_of(&submitted).ok_or("bad-answer")?;
        loop {
            match job::wait_for_end(&self.api, id, Some(WAIT)).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {}
                Err(error) => self.bear(error).await?,
            }
        }
    }

    /// Waits a little where asking again may help; else says that it is over.
    async fn bear(&self, error: ApiError) -> Result<(), String> {
        if !error.may_pass() {
            (self.say)(&format!("a task was refused: {error}"));
            let name = match &error {
                ApiError::Refused(problem) if !problem.name().is_empty() => problem.name(),
                _ => "refused",
            };
            return Err(name.to_string());
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

/// The answer an ended job gives.
fn words_of(job: &Value) -> Vec<u8> {
    if job["state"] != "succeeded" {
        let reason = job["reason"].as_str().filter(|reason| !reason.is_empty());
        return format!("ERROR {}", reason.or(job["state"].as_str()).unwrap_or("failed")).into_bytes();
    }
    job::output_of(job).unwrap_or_else(|_| b"ERROR bad-answer".to_vec())
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
