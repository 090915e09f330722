//! `status`: the cluster at a glance.

use serde_json::Value;

use crate::api::Ask;
use crate::commands::{Client, nodes};
use crate::exit::{Exit, Outcome};
use crate::show;

/// Shows the cluster; exits with 5 when nobody leads.
pub(crate) async fn run(client: &Client) -> Outcome {
    let status = client.api.json(Ask::get("/api/v1/status")).await?;
    let exit = if status["leader"].is_null() { Exit::NoQuorum } else { Exit::Ok };
    if client.json {
        show::json(&status)?;
        return Ok(exit);
    }
    let cell = |at| show::cell(&status, at);
    show::line(&format!("cluster {}, asked {}", cell("/cluster"), cell("/node")))?;
    if exit == Exit::Ok {
        show::line(&format!("leader {} in term {}, {}", cell("/leader"), cell("/term"), voters(&status)))?;
    } else {
        show::line("no leader: writes wait for a majority of the voters")?;
    }
    nodes::print(&status["nodes"])?;
    let counts = status["jobs"].as_object().into_iter().flatten();
    let counts: Vec<String> = counts.map(|(state, count)| format!("{count} {}", show::safe(state))).collect();
    show::line(&format!("jobs: {}", counts.join(", ")))?;
    Ok(exit)
}

fn voters(status: &Value) -> String {
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let voters = nodes.iter().filter(|node| node["voter"] == true).count();
    let alive = nodes.iter().filter(|node| node["voter"] == true && node["alive"] == true).count();
    match voters {
        1 | 2 => format!("{alive} of {voters} voters alive: it survives no loss of its voter"),
        _ => format!("{alive} of {voters} voters alive"),
    }
}
