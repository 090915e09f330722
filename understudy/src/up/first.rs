//! From processes to a cluster that has run its first job.

use std::path::Path;
use std::time::{Duration, Instant};

use bridge::job::{output_of, wait_for_end};
use serde_json::{Value, json};

use super::Place;
use super::plan::Plan;
use crate::api::{self, Ask};
use crate::commands::{Client, job};
use crate::exit::Failure;
use crate::show;

/// How long the voters may take to find each other.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often we look.
const LOOK: Duration = Duration::from_millis(100);
/// What the first job says.
const HELLO: &str = "Hello from Understudy";

/// Waits until the cluster serves, says where it is, runs one job.
pub(super) async fn greet(
    plan: &Plan,
    place: &Place,
    token_file: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let of = |servers| {
        let token_file = token_file.map(Path::to_path_buf);
        api::of(servers, token_file.as_deref()).map(|api| Client { api, json, token_file })
    };
    let client = of(plan.urls())?;
    voters(&client, plan).await?;
    // From here on as a user would: through the door on the first port.
    let client = of(vec![plan.door()])?;
    door(&client).await?;
    if !json {
        say_where(plan, place)?;
    }
    let key = api::new_key()?;
    let hello = json!({"class": "echo", "payload": HELLO});
    let submitted =
        client.api.json(Ask::post("/api/v1/jobs", &key).body(&hello).patient(api::PATIENCE)).await?;
    let id = job::id_of(&submitted)?;
    let ended = wait_for_end(&client.api, id, Some(START_PATIENCE)).await?.unwrap_or(submitted);
    if ended["state"] != "succeeded" {
        return Err(Failure::error(format!(
            "the first job did not succeed: {}",
            show::cell(&ended, "/state")
        )));
    }
    let output = String::from_utf8_lossy(&output_of(&ended)?).into_owned();
    let node = show::cell(&ended, "/attempts/0/node");
    if json {
        let nodes: Vec<Value> =
            plan.nodes.iter().map(|node| json!({"name": node.name, "url": node.url()})).collect();
        let job = json!({"id": id.to_string(), "node": node, "output": output});
        show::line(&json!({"url": plan.door(), "dir": place.path(), "nodes": nodes, "job": job}).to_string())
    } else {
        show::line(&format!("First job {id} ran on {node}; its output:"))?;
        show::line(output.trim_end())?;
        show::line("Ctrl-C ends everything.")
    }
}

/// Waits for as many voters as there shall be, and a node that takes writes.
async fn voters(client: &Client, plan: &Plan) -> Result<(), Failure> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        let (voters, why) = match client.api.json(Ask::get("/api/v1/status")).await {
            Ok(status) => {
                (count_voters(&status), format!("{} of {} voters", count_voters(&status), plan.voters))
            }
            Err(error) => (0, error.to_string()),
        };
        if voters >= plan.voters && client.api.ask(Ask::get("/readyz")).await.is_ok() {
            return Ok(());
        }
        if Instant::now() >= until {
            let seconds = START_PATIENCE.as_secs();
            return Err(Failure::error(format!("the cluster is not up after {seconds} s: {why}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until client-web has found a node that is ready.
async fn door(client: &Client) -> Result<(), Failure> {
    let until = Instant::now() + START_PATIENCE;
    while let Err(error) = client.api.ask(Ask::get("/readyz")).await {
        if Instant::now() >= until {
            return Err(Failure::error(format!("client-web is not up: {error}")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn count_voters(status: &Value) -> usize {
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    nodes.iter().filter(|node| node["voter"] == true && node["alive"] == true).count()
}

fn say_where(plan: &Plan, place: &Place) -> Result<(), Failure> {
    let lasts = match place {
        Place::Kept(_) => "kept",
        Place::Temporary(_) => "removed at the end; --dir keeps one",
    };
    let nodes = plan.nodes.len();
    show::line(&format!("A cluster of {nodes} nodes is up, {} of them voters.", plan.voters))?;
    show::line(&format!("Open {}", plan.door()))?;
    for node in plan.all() {
        show::line(&format!("  {:<10} {}  log {}", node.name, node.url(), node.console().display()))?;
    }
    show::line(&format!("Folder {} ({lasts})", place.path().display()))?;
    show::line(&format!("Try: understudy --server {} run sh 'echo $((6*7))'", plan.door()))
}
