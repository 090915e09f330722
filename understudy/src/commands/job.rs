//! What is done with one job: `job`, `wait`, `why`, `output`.

use std::time::Duration;

use bridge::job::wait_for_end;
use clap::Args;
use futures_util::StreamExt as _;
use protocol::{JobId, duration};
use serde_json::Value;

use crate::api::Ask;
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Names a job to wait for.
#[derive(Debug, Args)]
pub(crate) struct WaitFlags {
    /// The job's id
    id: JobId,
    /// Longest wait, such as 30s (default: for ever); over it the exit code is 4
    #[arg(long, value_parser = duration_words)]
    timeout: Option<Duration>,
}

/// Names a job whose output is wanted.
#[derive(Debug, Args)]
pub(crate) struct OutputFlags {
    /// The job's id
    id: JobId,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Standard error instead
    #[arg(long)]
    stderr: bool,
    /// Of this attempt instead of the last
    #[arg(long)]
    attempt: Option<u32>,
}

pub(crate) fn duration_words(text: &str) -> Result<Duration, String> {
    duration::parse_ms(text).map(Duration::from_millis).map_err(|error| error.to_string())
}

/// `job ID`
pub(crate) async fn show(client: &Client, id: JobId) -> Outcome {
    let job = client.api.json(Ask::get(&format!("/api/v1/jobs/{id}"))).await?;
    if client.json {
        show::json(&job)?
    } else {
        print(&job)?
    }
    Ok(Exit::Ok)
}

/// `wait ID`
pub(crate) async fn wait(client: &Client, flags: &WaitFlags) -> Outcome {
    let Some(job) = wait_for_end(&client.api, flags.id, flags.timeout).await? else {
        return Err(Failure { exit: Exit::TimeOver, message: format!("{} has not ended yet", flags.id) });
    };
    if client.json {
        show::json(&job)?
    } else {
        show::line(&show::cell(&job, "/state"))?
    }
    Ok(if job["state"] == "succeeded" { Exit::Ok } else { Exit::JobFailed })
}

/// `why ID`
pub(crate) async fn why(client: &Client, id: JobId) -> Outcome {
    let why = client.api.json(Ask::get(&format!("/api/v1/jobs/{id}/why"))).await?;
    if client.json {
        show::json(&why)?;
        return Ok(Exit::Ok);
    }
    show::line(&format!("{}: {}", show::cell(&why, "/state"), show::cell(&why, "/text")))?;
    for node in why["nodes"].as_array().into_iter().flatten() {
        let fits = if node["fits"] == true { "fits" } else { "does not fit" };
        let reasons: Vec<String> = node["reasons"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|reason| show::cell(reason, "/text"))
            .collect();
        show::line(&format!("  {} {fits}  {}", show::cell(node, "/name"), reasons.join("; ")))?;
    }
    Ok(Exit::Ok)
}

/// `output ID`
pub(crate) async fn output(client: &Client, flags: &OutputFlags) -> Outcome {
    let mut query = vec![format!("stream={}", if flags.stderr { "stderr" } else { "stdout" })];
    query.extend(flags.attempt.map(|attempt| format!("attempt={attempt}")));
    query.extend(flags.follow.then(|| "follow=1".to_string()));
    print_stream(client, &format!("/api/v1/jobs/{}/output?{}", flags.id, query.join("&"))).await?;
    Ok(Exit::Ok)
}

/// Prints what a job prints while it runs, until it has ended.
pub(crate) async fn follow(client: &Client, id: JobId) -> Result<(), Failure> {
    print_stream(client, &format!("/api/v1/jobs/{id}/output?follow=1")).await
}

async fn print_stream(client: &Client, path: &str) -> Result<(), Failure> {
    let answer = client.api.ask(Ask::get(path).endless()).await?;
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|cause| Failure::error(format!("reading the output: {cause}")))?;
        show::bytes(&part)?;
    }
    Ok(())
}

/// The id of an answered job.
pub(crate) fn id_of(job: &Value) -> Result<JobId, Failure> {
    bridge::job::id_of(job).ok_or_else(|| Failure::error("reading the answer: it names no job id"))
}

fn print(job: &Value) -> Result<(), Failure> {
    let rows = [
        ("id", "/id"),
        ("class", "/class"),
        ("state", "/state"),
        ("reason", "/reason"),
        ("why", "/text"),
        ("retry of", "/retry_of"),
        ("submitter", "/submitter"),
        ("submitted", "/submitted_at"),
        ("started", "/started_at"),
        ("finished", "/finished_at"),
        ("exit code", "/result/exit_code"),
        ("error", "/result/error"),
        ("output bytes", "/result/output_bytes"),
    ];
    let shown = rows.iter().map(|(name, at)| vec![(*name).to_string(), show::cell(job, at)]);
    show::table(&shown.filter(|row| !matches!(row[1].as_str(), "-" | "")).collect::<Vec<_>>())?;
    let mut attempts = vec![
        ["ATTEMPT", "NODE", "TERM", "STATE", "REASON", "STARTED", "FINISHED", "WHY THERE"]
            .map(String::from)
            .to_vec(),
    ];
    for attempt in job["attempts"].as_array().into_iter().flatten() {
        let columns =
            ["/number", "/node", "/term", "/state", "/reason", "/started_at", "/finished_at", "/why/text"];
        attempts.push(columns.iter().map(|at| show::cell(attempt, at)).collect());
    }
    if attempts.len() > 1 { show::table(&attempts) } else { Ok(()) }
}
