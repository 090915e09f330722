//! Asking another node over HTTP: passing a call on (once, never further), and hearing whether a silent node is stopped.

use std::sync::PoisonError;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use protocol::{Member, NodeId};

use super::desk::Desk;
use super::limits::{FOLLOW_MOST, PEER_ANSWER_BYTES, PEER_PATIENCE, PROBE_FRESH, PROBE_PATIENCE};
use super::problem::{Kind, Problem};
use crate::ask::View;

/// Marks a call that a node has passed on: whoever gets it answers, or fails, and passes nothing on.
const PASSED_ON: &str = "x-understudy-passed-on";

/// Refuses what was passed on already.
pub(super) fn refuse_loop(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(PASSED_ON) {
        return Err(Problem::new(
            Kind::NotFound,
            "this call was passed on once already, and it is not for this node",
        ));
    }
    Ok(())
}

/// Passes a call without a body on to the node at `http` and brings its answer back.
pub(super) async fn relay(desk: &Desk, http: &str, request: Request) -> Result<Response, Problem> {
    refuse_loop(request.headers())?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let away = |error: reqwest::Error| {
        Problem::new(Kind::OutcomeUnknown, format!("asking the node at {http}: {}", error.without_url()))
    };
    let mut answer = desk
        .client
        .request(request.method().clone(), format!("http://{http}{path}"))
        .header(PASSED_ON, "1")
        .send()
        .await
        .map_err(away)?;
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if bytes.len() + chunk.len() > PEER_ANSWER_BYTES {
            let detail = format!("the node at {http} answered more than {PEER_ANSWER_BYTES} bytes");
            return Err(Problem::new(Kind::OutcomeUnknown, detail));
        }
        bytes.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Asks the node at `http` for what it runs itself, and gives its answer as it comes.
pub(super) async fn follow(desk: &Desk, http: &str, path: &str) -> Result<reqwest::Response, Problem> {
    let asking =
        desk.client.get(format!("http://{http}{path}")).header(PASSED_ON, "1").timeout(FOLLOW_MOST).send();
    let away =
        || Problem::new(Kind::OutcomeUnknown, format!("asking the node at {http} for an output: no answer"));
    tokio::time::timeout(PEER_PATIENCE, asking).await.ok().and_then(Result::ok).ok_or_else(away)
}

/// Whether another node has passed this call on.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(PASSED_ON)
}

/// Which of the members are stopped: this one by its valve, others when they are silent and their HTTP says so.
pub(super) async fn stopped(desk: &Desk, view: &View) -> Vec<NodeId> {
    let silent = |member: &&Member| {
        let heard = view.roster.iter().any(|line| line.id == member.id && line.alive);
        member.id != view.node && view.leader != Some(member.id) && !heard
    };
    let silent: Vec<Member> = view.ledger.members().filter(silent).cloned().collect();
    let probes = silent.iter().map(|member| probe(desk, member));
    let answers = futures_util::future::join_all(probes).await;
    silent.iter().zip(answers).filter(|(_, stopped)| *stopped).map(|(member, _)| member.id).collect()
}

async fn probe(desk: &Desk, member: &Member) -> bool {
    let known = {
        let probes = desk.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.get(&member.id).filter(|(at, _)| at.elapsed() < PROBE_FRESH).map(|(_, stopped)| *stopped)
    };
    if let Some(known) = known {
        return known;
    }
    let url = format!("http://{}/readyz", member.http);
    let answer = desk.client.get(url).timeout(PROBE_PATIENCE).header(PASSED_ON, "1").send().await;
    let stopped = match answer {
        Ok(mut answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
            let body = answer.chunk().await.ok().flatten().unwrap_or_default();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            body["type"] == "/problems/stopped"
        }
        Ok(_) | Err(_) => false,
    };
    let mut probes = desk.probes.lock().unwrap_or_else(PoisonError::into_inner);
    probes.insert(member.id, (Instant::now(), stopped));
    stopped
}
