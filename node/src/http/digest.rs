//! What a node's ledger was at one index, as a number that is equal on all nodes: `understudy status --verify` compares them.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::desk::Desk;
use super::limits::{DIGEST_PATIENCE, DIGEST_PAUSE};
use super::params::Params;
use super::problem::{Kind, Problem};
use super::{nodes, peers, shown};

/// `GET /nodes/{name}/digest?index=N`: waits until the node has applied so much; without `index`, where it is now.
pub(super) async fn digest(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let index = Params::read(request.uri(), &["index"])?.number("index", 1, u64::MAX)?;
    if !nodes::is_self(&desk, &name) {
        peers::refuse_loop(request.headers())?;
        let member = nodes::named(&desk.view().await?, &name)?;
        return peers::relay(&desk, &member.http, request).await;
    }
    let deadline = Instant::now() + DIGEST_PATIENCE;
    loop {
        let at = desk.digest(index).await?;
        let wanted = index.unwrap_or(at.applied);
        match at.digest {
            Some(digest) => {
                let digest = format!("{digest:016x}");
                let node = &desk.served.settings.name;
                return Ok(shown::json(&json!({"node": node, "index": wanted, "digest": digest})));
            }
            None if at.applied >= wanted => {
                let detail = format!("index {wanted} is too long ago, this node is at {}", at.applied);
                return Err(Problem::new(Kind::NotFound, detail));
            }
            None if Instant::now() >= deadline => {
                let detail = format!("this node has applied {} and not yet {wanted}", at.applied);
                return Err(Problem::new(Kind::NoQuorum, detail));
            }
            None => sleep(DIGEST_PAUSE).await,
        }
    }
}
