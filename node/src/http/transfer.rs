//! The lead, handed over: asked of the leader through any node, answered when it has moved.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use protocol::{Answer, NodeId, Request};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;

use super::desk::Desk;
use super::limits::{CONFIRM_PATIENCE, SMALL_BODY_BYTES, TRANSFER_PATIENCE};
use super::params::Params;
use super::problem::{self, Kind, Problem};
use super::{body, nodes, shown};
use crate::ask::{Event, View};

/// `POST /leader/transfer` with `{to?}`. Without `to` it goes to whichever voter is the fittest.
pub(super) async fn transfer(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
    given: Body,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let bytes = body::read(&headers, given, "body", SMALL_BODY_BYTES).await?;
    let wish = wish(&bytes)?;
    // Confirmed, so that the leader to be replaced is not one of the past.
    let before = match desk.confirmed(CONFIRM_PATIENCE).await {
        Some(view) => view,
        None => desk.view().await?,
    };
    let to = match wish {
        Some(name) if nodes::is_self(&desk, &name) => Some(before.node),
        Some(name) => Some(nodes::named(&before, &name)?.id),
        None => None,
    };
    let mut events = desk.events();
    match desk.request(Request::Transfer { to }).await? {
        Answer::Done | Answer::Accepted { .. } | Answer::AllAccepted { .. } => {}
        Answer::Refused(refusal) => return Err(problem::refused(refusal, None)),
    }
    let moved = |view: &View| match to {
        Some(to) => view.leader == Some(to),
        None => view.leader.is_some() && view.leader != before.leader,
    };
    // Whether it was too long, the look afterwards says.
    let _ = timeout(TRANSFER_PATIENCE, until(&desk, &mut events, &moved)).await;
    let after = desk.view().await?;
    let name = |id: NodeId| shown::node_name(&after.ledger, id);
    let leader = after.leader.map(name);
    if moved(&after) {
        return Ok(shown::json(&json!({"leader": leader, "term": after.term})));
    }
    let leads = leader.map_or_else(|| "nobody leads now".to_string(), |name| format!("{name} leads"));
    let detail =
        format!("the lead has not moved as wished within {} s: {leads}", TRANSFER_PATIENCE.as_secs());
    Err(Problem::new(Kind::OutcomeUnknown, detail))
}

/// Waits until this node sees the lead where it is wanted.
async fn until(desk: &Desk, events: &mut Receiver<Event>, moved: &impl Fn(&View) -> bool) {
    while !desk.view().await.is_ok_and(|view| moved(&view)) {
        loop {
            match events.recv().await {
                Ok(Event::Leader { .. }) | Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn wish(bytes: &[u8]) -> Result<Option<String>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let wrong = || Problem::field(Kind::Invalid, "body", "must be {} or {\"to\": \"NODE\"}", None);
    let value = body::json(bytes)?;
    let fields = value.as_object().ok_or_else(wrong)?;
    if let Some(name) = fields.keys().find(|name| *name != "to") {
        let name: String = name.chars().take(100).collect();
        return Err(Problem::field(
            Kind::Invalid,
            &name,
            "is no field of a transfer; did you mean to?",
            None,
        ));
    }
    match fields.get("to") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(_) => Err(Problem::field(Kind::Invalid, "to", "must be the name of a node", None)),
    }
}
