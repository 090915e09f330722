//! `jobs`: a list, newest first.

use clap::Args;
use reqwest::Url;

use crate::api::Ask;
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Which jobs.
#[derive(Debug, Args)]
pub(crate) struct JobsFlags {
    /// Only in this state
    #[arg(long)]
    state: Option<String>,
    /// Only of this class
    #[arg(long)]
    class: Option<String>,
    /// Only with this label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Option<String>,
    /// Only of this submitter
    #[arg(long)]
    submitter: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// The part after the `next` of an earlier answer
    #[arg(long)]
    after: Option<String>,
}

/// Lists jobs.
pub(crate) async fn run(client: &Client, flags: &JobsFlags) -> Outcome {
    let answer = client.api.json(Ask::get(&flags.path()?)).await?;
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

impl JobsFlags {
    fn path(&self) -> Result<String, Failure> {
        // A placeholder host: only path and query, rightly encoded, are taken from it.
        let mut url = Url::parse("http://node/api/v1/jobs")
            .map_err(|cause| Failure::error(format!("building the request: {cause}")))?;
        let filters = [
            ("state", &self.state),
            ("class", &self.class),
            ("label", &self.label),
            ("submitter", &self.submitter),
            ("after", &self.after),
        ];
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &self.limit.to_string());
        for (name, value) in filters {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(format!("{}?{}", url.path(), url.query().unwrap_or("")))
    }
}
