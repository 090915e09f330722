//! What a node adds to every container's door: the names of its peers, and who answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use logdb::door::Door;

use super::desk::{Desk, Seen};
use crate::ask::Front;
use crate::settings::Settings;

/// The door of this node, by what it was told.
pub(super) fn door(settings: &Settings, front: &Front) -> Door {
    let mut hosts = settings.allowed_hosts.clone();
    hosts.extend([settings.advertise.clone(), settings.listen_host.clone()]);
    Door::of_node(&settings.name, hosts, settings.chaos, front.valve.clone()).asking(settings.token.clone())
}

/// Whether a member of the cluster has this host.
pub(super) async fn is_known(desk: Desk, host: String) -> bool {
    let known = |seen: Option<Arc<Seen>>| {
        seen.is_some_and(|seen| seen.hosts.iter().any(|name| name.eq_ignore_ascii_case(&host)))
    };
    known(desk.remembered()) || known(desk.seen().await)
}

/// The same on what pages hear of the API within the process, where no door stands before it.
pub(super) async fn headers(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    *response.headers_mut() = stamp(desk, std::mem::take(response.headers_mut())).await;
    response
}

/// Who answers, who leads, and up to where this node has applied: on every answer of the API.
pub(super) async fn stamp(desk: Desk, mut headers: HeaderMap) -> HeaderMap {
    if let Some(seen) = desk.seen().await {
        for (name, value) in &seen.stamps {
            headers.insert(name, value.clone());
        }
    } else if let Ok(name) = HeaderValue::from_str(&desk.served.settings.name) {
        // It knows at least its own name.
        headers.insert("x-understudy-node", name);
    }
    headers
}
