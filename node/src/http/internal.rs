//! What nodes ask each other before they share a link: which cluster is this, who leads, and: take me in.
//!
//! The asking side and the shapes are in [`admit`](crate::admit).

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
use crate::admit::{ClusterInfo, MemberInfo};
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

pub(super) async fn join(
    State(desk): State<Desk>,
    headers: HeaderMap,
    given: Body,
) -> Result<Response, Problem> {
    let bytes = body::read(&headers, given, "body", SMALL_BODY_BYTES).await?;
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
