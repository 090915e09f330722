//! A task becomes a job, its job's end an answer.

use serde_json::{Map, Value, json};

use super::template::Template;
use crate::api::{self, Api};
use crate::errand::{Errands, Refusal, Say};
use crate::job;

/// All that tasks have in common.
pub(super) struct Work {
    errands: Errands,
    class: String,
    template: Template,
    say: Say,
}

impl Work {
    pub(super) fn new(api: Api, class: &str, template: &Template, say: Say) -> Self {
        let (class, template) = (class.to_string(), template.clone());
        Self { errands: Errands::new(api, say.clone()), class, template, say }
    }

    /// The output of the task's job, or `ERROR reason`. Takes as long as it takes.
    pub(super) async fn answer(&self, task: &[u8]) -> Vec<u8> {
        let Some(payload) = self.template.fill(task) else { return b"ERROR too-large".to_vec() };
        let mut body = Map::new();
        body.insert("class".into(), json!(self.class));
        job::put_payload(&mut body, payload);
        let Ok(key) = api::new_key().inspect_err(|error| (self.say)(&error.to_string())) else {
            return b"ERROR key".to_vec();
        };
        match self.errands.ended(&key, &Value::Object(body)).await {
            Ok(ended) => words_of(&ended),
            Err(Refusal { name, .. }) => format!("ERROR {name}").into_bytes(),
        }
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
