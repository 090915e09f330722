//! A job as those see it who ask for it over HTTP: payload in, end and output out.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::JobId;
use serde_json::{Map, Value, json};

use crate::api::{self, Api, ApiError, Ask};

/// How long one request waits for a job's end; then it is asked again, wherever an answer can be had.
const SLICE: Duration = Duration::from_secs(20);
/// A server that does not wait is not asked more often than this.
const PAUSE: Duration = Duration::from_millis(100);

/// The recorded output is no base64 although it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the output: {why}")]
pub struct OutputError {
    why: String,
}

/// Puts the payload into a submission: as text where it is text, else as base64.
pub fn put_payload(body: &mut Map<String, Value>, bytes: Vec<u8>) {
    match String::from_utf8(bytes) {
        Ok(text) => body.insert("payload".into(), json!(text)),
        Err(error) => body.insert("payload_base64".into(), json!(STANDARD.encode(error.as_bytes()))),
    };
}

/// The id an answer names.
#[must_use]
pub fn id_of(job: &Value) -> Option<JobId> {
    job["id"].as_str().and_then(|id| id.parse().ok())
}

/// Whether it has reached a state that never changes again.
#[must_use]
pub fn has_ended(job: &Value) -> bool {
    job["state"].as_str().is_some_and(|state| matches!(state, "succeeded" | "failed" | "cancelled"))
}

/// The recorded output as bytes; none recorded is none.
///
/// # Errors
/// [`OutputError`] when the answer is damaged.
pub fn output_of(job: &Value) -> Result<Vec<u8>, OutputError> {
    if let Some(text) = job["result"]["output"].as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let Some(encoded) = job["result"]["output_base64"].as_str() else { return Ok(Vec::new()) };
    STANDARD.decode(encoded).map_err(|cause| OutputError { why: cause.to_string() })
}

/// The job once it has ended; none when the time was over first. Goes on through changes of leader and dead servers.
///
/// # Errors
/// [`ApiError`] when nobody could say for [`api::PATIENCE`] (or for `timeout`, when that is less), or the job is unknown.
pub async fn wait_for_end(
    api: &Api,
    id: JobId,
    timeout: Option<Duration>,
) -> Result<Option<Value>, ApiError> {
    let began = Instant::now();
    loop {
        let left = timeout.map_or(SLICE, |timeout| timeout.saturating_sub(began.elapsed()).min(SLICE));
        let path = format!("/api/v1/jobs/{id}?wait={}ms", left.as_millis().max(1));
        let patience = timeout.map_or(api::PATIENCE, |timeout| timeout.min(api::PATIENCE));
        let asked = Instant::now();
        let job = api.json(Ask::get(&path).waiting(left).patient(patience)).await?;
        if has_ended(&job) {
            return Ok(Some(job));
        }
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            return Ok(None);
        }
        tokio::time::sleep(PAUSE.saturating_sub(asked.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_the_bytes_of_the_job() {
        assert_eq!(output_of(&json!({"result":{"output":"42\n"}})).unwrap(), b"42\n");
        assert_eq!(
            output_of(&json!({"result":{"output":null,"output_base64":"//4="}})).unwrap(),
            [0xff, 0xfe]
        );
        assert!(output_of(&json!({"result":null})).unwrap().is_empty());
        assert!(output_of(&json!({"result":{"output_base64":"?"}})).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_travel_as_base64() {
        let mut body = Map::new();
        put_payload(&mut body, vec![0xff, 0xfe]);
        assert_eq!(Value::Object(body), json!({"payload_base64": "//4="}));
    }

    #[test]
    fn only_the_three_last_states_are_an_end() {
        for (state, ended) in [
            ("queued", false),
            ("running", false),
            ("scheduled", false),
            ("succeeded", true),
            ("failed", true),
            ("cancelled", true),
        ] {
            assert_eq!(has_ended(&json!({"state": state})), ended, "{state}");
        }
    }
}
