//! What nodes ask each other before they share a link: which cluster is this, who leads, and: take me in.
//!
//! The asking side and the shapes are in [`admit`](crate::admit).

use std::sync::PoisonError;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use protocol::{Answer, Member, Request};
use serde::Serialize;

use super::desk::Desk;
use super::limits::SMALL_BODY_BYTES;
use super::problem::{self, Kind, Problem};
use super::{body, shown};
use crate::admit::{ClusterInfo, MemberInfo, PROOF};
use crate::ask::View;

/// Where a newcomer asks to be taken in.
pub(super) const JOIN_PATH: &str = "/internal/v1/join";
/// Where a newcomer asks for the cluster.
pub(super) const CLUSTER_PATH: &str = "/internal/v1/cluster";
/// Longest name of a node, and longest address.
const NAME_BYTES: usize = 200;

/// What both calls answer: the cluster, and who it is that answers.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    info: ClusterInfo,
    /// Id of the node that answers, hexadecimal.
    node: String,
    /// Its name.
    name: String,
    /// `HOST:PORT` of the leader's HTTP, when one is known.
    leader_http: Option<String>,
}

fn told(view: &View, name: &str) -> Response {
    let leader = view.leader.and_then(|id| view.ledger.member(id));
    shown::json(&Told {
        info: ClusterInfo {
            cluster: view.cluster.to_string(),
            founder: view.founder.to_string(),
            members: view.ledger.members().map(MemberInfo::from).collect(),
            former: view.ledger.former().iter().map(ToString::to_string).collect(),
        },
        node: view.node.to_string(),
        name: name.to_string(),
        leader_http: leader.map(|member| member.http.clone()),
    })
}

/// The newcomer, if every field can be meant; else the field that cannot.
fn checked(shown: &MemberInfo) -> Result<Member, Problem> {
    let wrong =
        |field: &str, detail: &str| Problem::field(Kind::Invalid, field, detail, Some(NAME_BYTES as u64));
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.len() <= NAME_BYTES
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if !is_plain(&shown.name) || shown.name == "self" || shown.name.contains('/') {
        return Err(wrong(
            "name",
            "must be 1 to 200 bytes without spaces, control characters and slashes, and not self",
        ));
    }
    for (field, address) in [("http", &shown.http), ("link", &shown.link), ("broker", &shown.broker)] {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if !is_plain(address) || port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(wrong(field, "must be HOST:PORT"));
        }
    }
    shown.member().ok_or_else(|| wrong("id", "must be a hexadecimal number other than 0"))
}

pub(super) async fn cluster(State(desk): State<Desk>) -> Result<Response, Problem> {
    let view = desk.view().await?;
    Ok(told(&view, &desk.served.settings.name))
}

/// Whoever asks must have the cluster key, where there is one: its links would be refused anyway, and its name stay behind.
fn prove(desk: &Desk, headers: &HeaderMap, said: &[u8]) -> Result<(), Problem> {
    let proof = headers.get(PROOF).and_then(|proof| proof.to_str().ok());
    let why = match (&desk.served.settings.cluster_key, proof) {
        (None, None) => return Ok(()),
        (Some(key), Some(proof)) if key.proves(said, proof) => return Ok(()),
        (Some(_), Some(_)) => "its cluster key is another one",
        (Some(_), None) => "it has no cluster key, and this cluster has one",
        (None, Some(_)) => "it has a cluster key, and this cluster has none",
    };
    let name = serde_json::from_slice::<MemberInfo>(said).map(|member| member.name).unwrap_or_default();
    let name: String = name.chars().take(NAME_BYTES).collect();
    let line = format!("refused to let a node join that calls itself {name:?}: {why}");
    let mut refusals = desk.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    if refusals.is_news(&line, Instant::now()) {
        desk.served.log.record(logdb::Level::Warn, "join-refused", None, &line);
    }
    Err(Problem::new(Kind::Forbidden, format!("node {name:?} is not let in: {why}")))
}

pub(super) async fn join(
    State(desk): State<Desk>,
    headers: HeaderMap,
    given: Body,
) -> Result<Response, Problem> {
    let bytes = body::read(&headers, given, "body", SMALL_BODY_BYTES).await?;
    prove(&desk, &headers, &bytes)?;
    let shown: MemberInfo = serde_json::from_value(body::json(&bytes)?)
        .map_err(|error| Problem::field(Kind::Invalid, "body", format!("is no member: {error}"), None))?;
    let member = checked(&shown)?;
    let id = member.id;
    match desk.request(Request::Join(member)).await? {
        Answer::Done | Answer::Accepted { .. } | Answer::AllAccepted { .. } => {}
        Answer::Refused(refusal) => return Err(problem::refused(refusal, None)),
    }
    let mut view = desk.view().await?;
    if view.ledger.member(id).is_none() {
        // The leader is ahead of this node: a confirmed state holds the newcomer.
        view = desk.confirmed(super::limits::APPLY_PATIENCE).await.unwrap_or(view);
    }
    Ok(told(&view, &desk.served.settings.name))
}
