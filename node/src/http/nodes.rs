//! The cluster and its nodes: how they stand, the soft crash of one.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::Response;
use master::Why;
use protocol::{Job, Member};
use serde::Serialize;
use serde_json::{Value, json};

use super::desk::{Desk, aged};
use super::params::Params;
use super::peers;
use super::problem::{Kind, Problem};
use super::shown::{self, NodeShown};
use crate::ask::View;
use crate::settings::{Policy, RunsJobs};

#[derive(Serialize)]
struct Status {
    cluster: String,
    node: String,
    role: &'static str,
    leader: Option<String>,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    quorum: bool,
    open: bool,
    voters: usize,
    losses_survived: usize,
    stopped: bool,
    rev: String,
    nodes: Vec<NodeShown>,
    jobs: BTreeMap<&'static str, u64>,
}

pub(super) async fn status(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let view = desk.view().await?;
    let response = shown::json(&Status {
        cluster: view.cluster.to_string(),
        node: desk.served.settings.name.clone(),
        role: shown::role(view.leader == Some(view.node)),
        leader: view.leader.map(|id| shown::node_name(&view.ledger, id)),
        term: view.term,
        commit_index: view.commit,
        applied_index: view.applied,
        quorum: view.leader.is_some() && view.leaderless_ms == 0,
        open: view.ledger.is_open(),
        voters: view.voters.len(),
        losses_survived: view.voters.len().saturating_sub(1) / 2,
        stopped: desk.is_stopped(),
        rev: view.ledger.rev().to_string(),
        nodes: all(&desk, &view).await,
        jobs: counts(&view),
    });
    Ok(if view.leaderless_ms > 0 { aged(response, view.leaderless_ms) } else { response })
}

/// Jobs by the word of their state.
pub(super) fn counts(view: &View) -> BTreeMap<&'static str, u64> {
    view.ledger.counts().into_iter().map(|(state, count)| (state.word(), count)).collect()
}

/// Every member, as everybody sees it, in order of joining.
pub(super) async fn all(desk: &Desk, view: &View) -> Vec<NodeShown> {
    let stopped = peers::stopped(desk, view).await;
    let mut members: Vec<&Member> = view.ledger.members().collect();
    members.sort_by_key(|member| member.number);
    members.into_iter().map(|member| shown::node(member, view, stopped.contains(&member.id))).collect()
}

pub(super) async fn list(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let view = desk.view().await?;
    Ok(shown::json(
        &json!({"items": shown_values(&all(&desk, &view).await), "rev": view.ledger.rev().to_string()}),
    ))
}

fn shown_values(nodes: &[NodeShown]) -> Vec<Value> {
    nodes.iter().filter_map(|node| serde_json::to_value(node).ok()).collect()
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let view = desk.view().await?;
    let id = if is_self(&desk, &name) { view.node } else { named(&view, &name)?.id };
    let wanted = id.to_string();
    let nodes = all(&desk, &view).await;
    let node = nodes.iter().find(|node| node.id == wanted).ok_or_else(|| unknown(&name))?;
    Ok(shown::json(node))
}

pub(super) fn is_self(desk: &Desk, name: &str) -> bool {
    name == "self" || name == desk.served.settings.name
}

pub(super) fn named(view: &View, name: &str) -> Result<Member, Problem> {
    view.ledger.member_named(name).cloned().ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    let name: String = name.chars().take(100).collect();
    Problem::new(Kind::NotFound, format!("no node bears the name {name:?}"))
}

/// Why a job stands where it stands, in this node's view.
pub(super) fn why(desk: &Desk, job: &Job, view: &View) -> Why {
    let settings = &desk.served.settings;
    let cluster = master::Cluster {
        roster: &view.roster,
        leader: view.leader,
        runs_jobs: runs_jobs(settings.runs_jobs),
        policy: policy(settings.policy),
        name: &|id| shown::node_name(&view.ledger, id),
    };
    master::why(job, &view.ledger, &cluster, crate::clock::wall_ms())
}

pub(super) fn runs_jobs(setting: RunsJobs) -> master::RunsJobs {
    match setting {
        RunsJobs::Auto => master::RunsJobs::Auto,
        RunsJobs::Always => master::RunsJobs::Always,
        RunsJobs::Never => master::RunsJobs::Never,
    }
}

pub(super) fn policy(setting: Policy) -> master::Policy {
    match setting {
        Policy::Single => master::Policy::Single,
        Policy::Multi => master::Policy::Multi,
    }
}

/// `POST /nodes/{name}/drain`: no new attempts there; what runs goes on.
pub(super) async fn drain(desk: State<Desk>, name: Path<String>, uri: Uri) -> Result<Response, Problem> {
    turn_drain(desk, name, uri, true).await
}

/// `POST /nodes/{name}/undrain`
pub(super) async fn undrain(desk: State<Desk>, name: Path<String>, uri: Uri) -> Result<Response, Problem> {
    turn_drain(desk, name, uri, false).await
}

/// The leader writes it down: it holds for every leader to come, and over restarts of the node.
async fn turn_drain(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    uri: Uri,
    draining: bool,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let view = desk.view().await?;
    let (node, name) = if is_self(&desk, &name) {
        (view.node, desk.served.settings.name.clone())
    } else {
        let member = named(&view, &name)?;
        (member.id, member.name)
    };
    desk.request(protocol::Request::Drain { node, draining }).await?;
    Ok(shown::json(&json!({"node": name, "draining": draining})))
}

pub(super) async fn stop(
    desk: State<Desk>,
    name: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    turn(desk, name, request, true).await
}

pub(super) async fn resume(
    desk: State<Desk>,
    name: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    turn(desk, name, request, false).await
}

async fn turn(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    request: Request,
    stopped: bool,
) -> Result<Response, Problem> {
    if is_self(&desk, &name) {
        desk.door.turn(stopped).await?;
        return Ok(shown::json(&json!({"node": desk.served.settings.name, "stopped": stopped})));
    }
    peers::refuse_loop(request.headers())?;
    let member = named(&desk.view().await?, &name)?;
    peers::relay(&desk, &member.http, request).await
}
