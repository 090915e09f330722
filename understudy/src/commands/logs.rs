//! `logs`: a node's own `/logging`, which answers even while the node is stopped.

use clap::Args;
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::api::{self, Ask};
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Which lines.
#[derive(Debug, Args)]
pub(crate) struct LogsFlags {
    /// Only lines that hold this text
    query: Option<String>,
    /// Go on as lines come
    #[arg(short, long)]
    follow: bool,
    /// Of this node (default: the one that is asked)
    #[arg(long, conflicts_with = "cluster")]
    node: Option<String>,
    /// The facts of the ledger instead: the same on every node
    #[arg(long)]
    cluster: bool,
    /// How many of the newest lines
    #[arg(long, default_value_t = 200)]
    limit: u32,
}

/// Shows lines.
pub(crate) async fn run(client: &Client, flags: &LogsFlags) -> Outcome {
    let format = if client.json { "jsonl" } else { "text" };
    let mut path = format!("/logging?format={format}&limit={}", flags.limit);
    if flags.follow {
        path.push_str("&follow=1");
    }
    if flags.cluster {
        path.push_str("&source=cluster");
    }
    let elsewhere = match &flags.node {
        Some(name) => Some(api::of(vec![url_of(client, name).await?], client.token_file.as_deref())?),
        None => None,
    };
    let api = elsewhere.as_ref().unwrap_or(&client.api);
    let answer = api.ask(Ask::get(&path).endless()).await?;
    let mut parts = answer.bytes_stream();
    let mut lines = Lines { rest: Vec::new(), query: flags.query.as_deref() };
    while let Some(part) = parts.next().await {
        let part = part.map_err(|cause| Failure::error(format!("reading the log: {cause}")))?;
        show::bytes(&lines.take(&part))?;
    }
    Ok(Exit::Ok)
}

async fn url_of(client: &Client, name: &str) -> Result<String, Failure> {
    let status = client.api.json(Ask::get("/api/v1/status")).await?;
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let node = nodes.iter().find(|node| node["name"] == name);
    let url = node.and_then(|node| node["url"].as_str());
    url.map(String::from).ok_or_else(|| {
        let names = nodes.iter().filter_map(|node: &Value| node["name"].as_str());
        Failure::error(format!("no node is named {name:?}: {}", crate::nearest::hint(name, names)))
    })
}

/// Cuts what comes into lines and keeps those that are wanted.
struct Lines<'a> {
    rest: Vec<u8>,
    query: Option<&'a str>,
}

impl Lines<'_> {
    fn take(&mut self, part: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(part);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let Some(query) = self.query else { return lines };
        let wanted = |line: &&[u8]| String::from_utf8_lossy(line).contains(query);
        lines.split_inclusive(|byte| *byte == b'\n').filter(wanted).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filtered_whole_however_they_arrive() {
        let mut lines = Lines { rest: Vec::new(), query: Some("job") };
        assert!(lines.take(b"1 a jo").is_empty());
        assert_eq!(lines.take(b"b\n2 other\n3 job"), b"1 a job\n");
        assert_eq!(lines.take(b"\n"), b"3 job\n");
    }
}
