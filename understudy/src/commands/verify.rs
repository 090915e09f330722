//! `status --verify`: whether all nodes hold the same ledger.

use serde_json::{Value, json};

use crate::api::Ask;
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// What one node said: its digest, or why there is none.
struct Said {
    node: String,
    digest: Result<String, String>,
}

/// Compares every node's ledger at one index: the highest that any of them has applied when it begins.
pub(crate) async fn run(client: &Client) -> Outcome {
    let listed = client.api.json(Ask::get("/api/v1/nodes")).await?;
    let nodes = listed["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<String> =
        nodes.iter().filter_map(|node| node["name"].as_str().map(String::from)).collect();
    let mut index = 0;
    for name in &names {
        // Who cannot be asked now is named below.
        let at = client.api.json(Ask::get(&path(name, None)?)).await.ok();
        index = index.max(at.and_then(|at| at["index"].as_u64()).unwrap_or(0));
    }
    let mut all = Vec::new();
    for name in names {
        let answer = client.api.json(Ask::get(&path(&name, Some(index))?)).await;
        let digest = match answer {
            Ok(at) => {
                at["digest"].as_str().map(String::from).ok_or_else(|| "an answer without a digest".into())
            }
            Err(error) => Err(error.to_string()),
        };
        all.push(Said { node: name, digest });
    }
    let same = is_one(&all);
    if client.json {
        let shown = |said: &Said| match &said.digest {
            Ok(digest) => json!({"node": said.node, "digest": digest}),
            Err(why) => json!({"node": said.node, "error": why}),
        };
        show::json(
            &json!({"index": index, "same": same, "nodes": all.iter().map(shown).collect::<Vec<Value>>()}),
        )?;
    } else {
        for said in &all {
            let what = match &said.digest {
                Ok(digest) => show::safe(digest),
                Err(why) => format!("cannot be asked: {}", show::safe(why)),
            };
            show::line(&format!("{} at index {index}: {what}", show::safe(&said.node)))?;
        }
    }
    if same {
        show::talk("all nodes hold the same ledger");
        return Ok(Exit::Ok);
    }
    let asked = all.iter().all(|said| said.digest.is_ok());
    Err(Failure::error(if asked { "the ledgers differ" } else { "not every node could be asked" }))
}

fn is_one(all: &[Said]) -> bool {
    let first = all.first().and_then(|said| said.digest.as_ref().ok());
    first.is_some() && all.iter().all(|said| said.digest.as_ref().ok() == first)
}

fn path(node: &str, index: Option<u64>) -> Result<String, Failure> {
    let path = super::nodes::node_path(node, "digest")?;
    Ok(index.map_or_else(|| path.clone(), |index| format!("{path}?index={index}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_differs_or_says_nothing_is_enough() {
        let said = |digest: Result<&str, &str>| Said {
            node: "n".into(),
            digest: digest.map(String::from).map_err(String::from),
        };
        assert!(is_one(&[said(Ok("a")), said(Ok("a"))]));
        assert!(!is_one(&[said(Ok("a")), said(Ok("b"))]));
        assert!(!is_one(&[said(Ok("a")), said(Err("away"))]));
        assert!(!is_one(&[said(Err("away")), said(Err("away"))]) && !is_one(&[]));
    }
}
