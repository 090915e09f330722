//! `jobs`: a list, newest first. `retry` and `cancel`: one job, or all that fit the same filters.

use clap::Args;
use protocol::JobId;
use reqwest::Url;
use serde_json::{Value, json};

use crate::api::{self, Ask};
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Jobs of one answer when all that fit are to be dealt with: each answer comes in time.
const AT_ONCE: u32 = 1_000;

/// What jobs are narrowed by; each must fit.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only in this state (or one of several: a,b)
    #[arg(long)]
    state: Option<String>,
    /// Only of this class
    #[arg(long)]
    class: Option<String>,
    /// Only with this label (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Only of this submitter
    #[arg(long)]
    submitter: Option<String>,
    /// Only with this text in id, class, labels or submitter
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
}

/// One job, or which jobs.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The job's id
    #[arg(conflicts_with = "Filters", required_unless_present = "Filters")]
    id: Option<JobId>,
    #[command(flatten)]
    filters: Filters,
}

/// Which jobs.
#[derive(Debug, Args)]
pub(crate) struct JobsFlags {
    #[command(flatten)]
    filters: Filters,
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// The part after the `next` of an earlier answer
    #[arg(long)]
    after: Option<String>,
}

/// Lists jobs.
pub(crate) async fn run(client: &Client, flags: &JobsFlags) -> Outcome {
    let path = flags.filters.path("/api/v1/jobs", flags.limit, flags.after.as_deref())?;
    let answer = client.api.json(Ask::get(&path)).await?;
    if client.json {
        show::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let mut rows =
        vec![["ID", "CLASS", "STATE", "REASON", "ATTEMPTS", "SUBMITTED"].map(String::from).to_vec()];
    for job in answer["items"].as_array().into_iter().flatten() {
        let attempts = job["attempts"].as_array().map_or(0, Vec::len).to_string();
        let cell = |at| show::cell(job, at);
        rows.push(vec![
            cell("/id"),
            cell("/class"),
            cell("/state"),
            cell("/reason"),
            attempts,
            cell("/submitted_at"),
        ]);
    }
    show::table(&rows)?;
    if answer["next"].is_string() {
        show::talk(&format!("more: --after {}", show::cell(&answer, "/next")));
    }
    Ok(Exit::Ok)
}

/// `cancel`
pub(crate) async fn cancel(client: &Client, which: &Which) -> Outcome {
    if let Some(id) = which.id {
        let job = one(client, id, "cancel").await?;
        if client.json {
            show::json(&job)?
        } else {
            show::line(&show::cell(&job, "/state"))?
        }
        return Ok(Exit::Ok);
    }
    all(client, &which.filters, "cancel").await
}

/// `retry`
pub(crate) async fn retry(client: &Client, which: &Which) -> Outcome {
    if let Some(id) = which.id {
        let job = one(client, id, "retry").await?;
        if client.json {
            show::json(&job)?
        } else {
            show::line(&show::cell(&job, "/id"))?
        }
        return Ok(Exit::Ok);
    }
    all(client, &which.filters, "retry").await
}

async fn one(client: &Client, id: JobId, what: &str) -> Result<Value, Failure> {
    let key = api::new_key()?;
    let path = format!("/api/v1/jobs/{id}/{what}");
    Ok(client.api.json(Ask::post(&path, &key).patient(api::PATIENCE)).await?)
}

/// Asks again and again until all jobs that fit are dealt with, all under one key.
async fn all(client: &Client, filters: &Filters, what: &str) -> Outcome {
    let key = api::new_key()?;
    let mut ids: Vec<Value> = Vec::new();
    let mut after = None;
    loop {
        let path = filters.path(&format!("/api/v1/jobs/{what}"), AT_ONCE, after.as_deref())?;
        let mut answer = client.api.json(Ask::post(&path, &key).patient(api::PATIENCE)).await?;
        for id in answer["ids"].as_array().into_iter().flatten() {
            if !client.json {
                show::line(id.as_str().unwrap_or_default())?;
            }
        }
        if let Value::Array(some) = answer["ids"].take() {
            ids.extend(some);
        }
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_string()),
            None => break,
        }
    }
    if client.json {
        show::json(&json!({ "ids": ids }))?;
    } else if ids.is_empty() {
        show::talk("no job fits");
    }
    Ok(Exit::Ok)
}

impl Filters {
    fn path(&self, path: &str, limit: u32, after: Option<&str>) -> Result<String, Failure> {
        // A placeholder host: only path and query, rightly encoded, are taken from it.
        let mut url = Url::parse(&format!("http://node{path}"))
            .map_err(|cause| Failure::error(format!("building the request: {cause}")))?;
        let filters = [
            ("state", self.state.as_deref()),
            ("class", self.class.as_deref()),
            ("submitter", self.submitter.as_deref()),
            ("q", self.q.as_deref()),
            ("after", after),
        ];
        let labels = self.label.iter().map(|label| ("label", Some(label.as_str())));
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &limit.to_string());
        for (name, value) in filters.into_iter().chain(labels) {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(format!("{}?{}", url.path(), url.query().unwrap_or("")))
    }
}
