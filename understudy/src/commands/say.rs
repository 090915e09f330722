//! `say`: an agent's message, for whoever listens to the node that takes it.

use clap::Args;
use serde_json::{Value, json};

use crate::api::{self, Ask};
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// What is said.
#[derive(Debug, Args)]
pub(crate) struct SayWords {
    /// Kind of message, such as weather: 1 to 64 letters, digits, '.', '_' or '-'
    kind: String,
    /// What it is about, such as hall-2: by the same rule
    name: String,
    /// The value as JSON (a text stands in quotes: '"0 1 2000"')
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    value: String,
}

/// Says it.
pub(crate) async fn run(client: &Client, words: &SayWords) -> Outcome {
    let value: Value = serde_json::from_str(&words.value).map_err(|cause| {
        let quoted = Value::from(words.value.as_str());
        Failure::usage(format!("JSON: {cause}; a text stands in quotes: '{quoted}'"))
    })?;
    let body = json!({"kind": words.kind, "name": words.name, "value": value});
    let key = api::new_key()?;
    let answer = client.api.json(Ask::post("/api/v1/messages", &key).body(&body)).await?;
    if client.json {
        show::json(&answer)?;
    } else {
        let cell = |at| show::cell(&answer, at);
        show::line(&format!("{} said {} as number {}", cell("/node"), cell("/topic"), cell("/number")))?;
    }
    Ok(Exit::Ok)
}
