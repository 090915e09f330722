//! `run`: submit, wait for the end, print the output, exit with the job's code. A terminal sees the output while the job runs;
//! a pipe or a file gets that of the attempt that counts, and nothing else.

use std::io::IsTerminal as _;

use bridge::job::{output_of, wait_for_end};
use serde_json::Value;

use crate::commands::submit::{JobWords, submit};
use crate::commands::{Client, job};
use crate::exit::{Exit, Outcome};
use crate::show;

/// Runs a job as if it were a program here.
pub(crate) async fn run(client: &Client, words: &JobWords) -> Outcome {
    let submitted = submit(client, words).await?;
    let id = job::id_of(&submitted)?;
    show::talk(&format!("job {id}"));
    let is_watched = !client.json && std::io::stdout().is_terminal();
    let seen = if is_watched { Some(job::follow(client, id).await) } else { None };
    if let Some(Err(failure)) = &seen {
        show::talk(&format!("{}; its whole output comes when it has ended", failure.message));
    }
    let ended = wait_for_end(&client.api, id, None).await?.unwrap_or(submitted);
    if client.json {
        show::json(&ended)?;
    } else {
        if !matches!(seen, Some(Ok(()))) {
            show::bytes(&output_of(&ended)?)?;
        }
        complain(&ended);
    }
    Ok(exit_of(&ended))
}

/// Says on standard error what was not well.
fn complain(job: &Value) {
    if job["result"]["truncated"] == true {
        show::talk(&format!(
            "the middle of {} bytes of output is missing",
            show::cell(job, "/result/output_bytes")
        ));
    }
    if job["state"] != "succeeded" {
        let (state, reason) = (show::cell(job, "/state"), show::cell(job, "/reason"));
        let error = job["result"]["error"].as_str().map(|text| format!(": {}", show::safe(text)));
        show::talk(&format!("job {state} ({reason}){}", error.unwrap_or_default()));
    }
}

/// The job's own code where it has one; 128 + the signal that ended it, as shells say; else what its state means.
pub(crate) fn exit_of(job: &Value) -> Exit {
    if job["state"] == "succeeded" {
        return Exit::Ok;
    }
    let last = job["attempts"].as_array().and_then(|attempts| attempts.last()).unwrap_or(&Value::Null);
    let code = job["result"]["exit_code"].as_i64().or(last["exit_code"].as_i64());
    let signal = last["signal"].as_i64().map(|signal| signal + 128);
    let own = code.or(signal).and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    match own {
        Some(code) if job["state"] == "failed" => Exit::Job(code),
        _ => Exit::JobFailed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_code_is_the_jobs_own_where_it_has_one() {
        let cases = [
            (json!({"state":"succeeded","result":{"exit_code":0}}), 0),
            (json!({"state":"failed","reason":"exit","result":{"exit_code":7}}), 7),
            (json!({"state":"failed","result":{"exit_code":null},"attempts":[{"signal":9}]}), 137),
            (json!({"state":"failed","reason":"timeout","result":null,"attempts":[]}), 3),
            (json!({"state":"cancelled","result":{"exit_code":7}}), 3),
        ];
        for (job, code) in cases {
            assert_eq!(exit_of(&job).code(), code, "{job}");
        }
    }
}
