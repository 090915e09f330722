//! What is done with nodes: `nodes`, `stop`, `resume`, `drain`, `undrain`, `transfer`, `health`.

use clap::Args;
use serde_json::{Value, json};

use crate::api::{self, Ask};
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Where the lead shall go.
#[derive(Debug, Args)]
pub(crate) struct TransferFlags {
    /// The node that shall lead (default: whoever is fit)
    to: Option<String>,
}

/// `nodes`
pub(crate) async fn list(client: &Client) -> Outcome {
    let answer = client.api.json(Ask::get("/api/v1/nodes")).await?;
    if client.json {
        show::json(&answer)?;
    } else {
        print(answer.get("nodes").or(answer.get("items")).unwrap_or(&answer))?;
    }
    Ok(Exit::Ok)
}

/// A table of nodes.
pub(crate) fn print(nodes: &Value) -> Result<(), Failure> {
    let head = ["NODE", "ROLE", "VOTER", "STATE", "CPU %", "MEMORY", "RUNNING", "URL"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for node in nodes.as_array().into_iter().flatten() {
        let cell = |at| show::cell(node, at);
        rows.push(vec![
            cell("/name"),
            cell("/role"),
            cell("/voter"),
            state(node).to_string(),
            cell("/cpu_percent"),
            memory(node),
            format!("{}/{}", cell("/running"), cell("/slots")),
            cell("/url"),
        ]);
    }
    show::table(&rows)
}

fn state(node: &Value) -> &'static str {
    match (node["stopped"] == true, node["alive"] == true, node["draining"] == true) {
        (true, _, _) => "stopped",
        (_, false, _) => "silent",
        (_, _, true) => "draining",
        _ => "alive",
    }
}

fn memory(node: &Value) -> String {
    let mib = |at: &str| node[at].as_u64().map(|bytes| bytes >> 20);
    match (mib("memory_used_bytes"), mib("memory_total_bytes")) {
        (Some(used), Some(total)) => format!("{used}/{total} MiB"),
        _ => "-".to_string(),
    }
}

/// `stop NODE`
pub(crate) async fn stop(client: &Client, node: &str) -> Outcome {
    turn(client, node, "stop", "stopped").await
}

/// `resume NODE`
pub(crate) async fn resume(client: &Client, node: &str) -> Outcome {
    turn(client, node, "resume", "resumed").await
}

/// `drain NODE`
pub(crate) async fn drain(client: &Client, node: &str) -> Outcome {
    turn(client, node, "drain", "drained: no new attempts there").await
}

/// `undrain NODE`
pub(crate) async fn undrain(client: &Client, node: &str) -> Outcome {
    turn(client, node, "undrain", "takes attempts again").await
}

async fn turn(client: &Client, node: &str, verb: &str, done: &str) -> Outcome {
    let key = api::new_key()?;
    let answer = client.api.ask(Ask::post(&node_path(node, verb)?, &key)).await?;
    let text = answer.text().await.unwrap_or_default();
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if client.json => show::json(&value)?,
        _ => show::line(&format!("{} {done}", show::safe(node)))?,
    }
    Ok(Exit::Ok)
}

pub(super) fn node_path(node: &str, verb: &str) -> Result<String, Failure> {
    let mut url = reqwest::Url::parse("http://node/api/v1/nodes/")
        .map_err(|cause| Failure::error(format!("building the request: {cause}")))?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(node).push(verb);
    }
    Ok(url.path().to_string())
}

/// `transfer [NODE]`
pub(crate) async fn transfer(client: &Client, flags: &TransferFlags) -> Outcome {
    let key = api::new_key()?;
    let body = flags.to.as_ref().map_or_else(|| json!({}), |to| json!({ "to": to }));
    let answer = client.api.ask(Ask::post("/api/v1/leader/transfer", &key).body(&body)).await?;
    let text = answer.text().await.unwrap_or_default();
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if client.json => show::json(&value)?,
        Ok(value) => {
            let cell = |at| show::cell(&value, at);
            show::line(&format!("{} leads in term {}", cell("/leader"), cell("/term")))?;
        }
        Err(_) => show::talk("the lead is handed over"),
    }
    Ok(Exit::Ok)
}

/// `health`: asks the server that is named first, and no other.
pub(crate) async fn health(client: &Client) -> Outcome {
    let server = client.api.server().to_string();
    let only = api::Api::new(vec![server.clone()])?;
    match only.ask(Ask::get("/readyz?verbose")).await {
        Ok(_) => Ok(Exit::Ok),
        Err(error) => Err(Failure::error(format!("{server} is not ready: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(node_path("worker-1", "stop").unwrap(), "/api/v1/nodes/worker-1/stop");
        assert_eq!(node_path("a/b?c", "resume").unwrap(), "/api/v1/nodes/a%2Fb%3Fc/resume");
    }
}
