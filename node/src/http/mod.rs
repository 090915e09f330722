//! The HTTP side of a node: reads what people and programs ask, checks it, asks the stage, and writes what they hear.
//!
//! ```text
//!   accept ─▶ stopped? ─▶ host ─▶ site ─▶ token ─▶ route ─▶ handler ──ask──▶ Front ─▶ stage
//!   (bounds)                                                   ▲                        │
//!                                                              └──── Told, View, Event ─┘
//! ```
//!
//! **Decides:** what a request must look like, how long it may take, how an answer looks.
//! **May not touch:** a mind, a disk, a link; all it knows of the cluster is a [`View`](crate::ask::View).
//! **Driven by:** [`serve`] on a listener, or calls to the router that [`app`] makes.
//! **Leaves out:** names for batches, schedules, `/openapi.json` (later versions answer them; now they are 404).

mod batch;
mod body;
mod bulk;
mod cluster_log;
mod desk;
mod digest;
mod events;
mod follow;
mod guard;
mod internal;
mod job;
mod jobs;
mod limits;
mod logs;
mod nodes;
mod params;
mod peers;
mod problem;
mod retry;
mod root;
pub(crate) mod shown;
mod submit;
mod transfer;
mod views;
mod warning;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use logdb::door::{Guarded, unknown, wrong_method};

use crate::ask::Front;
use crate::settings::Settings;
use desk::Desk;

pub use logdb::door::serve;

/// Jobs are submitted and listed here.
const JOBS_PATH: &str = "/api/v1/jobs";

/// What the HTTP side serves from.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its end of the stage.
    pub front: Front,
    /// How the node shall be.
    pub settings: Arc<Settings>,
    /// This container's own log, for `/logging`.
    pub log: logdb::Log,
}

impl Served {
    /// Serves from these.
    #[must_use]
    pub fn new(front: Front, settings: Arc<Settings>, log: logdb::Log) -> Self {
        Self { front, settings, log }
    }
}

/// The whole HTTP side without pages; usable without a port.
pub fn app(served: Served) -> Guarded {
    app_with_pages(served, |_| Router::new())
}

/// The whole HTTP side. `pages` gets the API as a router of its own, to be called within the process, and gives the routes that
/// stand beside it (`/`, …); these are guarded as the API is.
pub fn app_with_pages(served: Served, pages: impl FnOnce(Router) -> Router) -> Guarded {
    let desk = Desk::new(served);
    let api = api(desk.clone());
    let inside = api.clone().layer(from_fn_with_state(desk.clone(), guard::headers));
    let routes = pages(inside).merge(api).merge(roots(desk.clone()));
    let (stamps, hosts) = (desk.clone(), desk.clone());
    let door = desk.door.clone().stamping(move |headers| guard::stamp(stamps.clone(), headers));
    let door = door.knowing(move |host| guard::is_known(hosts.clone(), host)).guard(routes);
    door.shortcut(Method::POST, JOBS_PATH, move |request| {
        let submitted = submit::submit(State(desk.clone()), request);
        async { submitted.await.into_response() }
    })
}

/// Whole paths, for a nested router costs every call a copy of its path.
fn api(desk: Desk) -> Router {
    Router::new()
        .route(JOBS_PATH, post(submit::submit).get(jobs::list))
        .route("/api/v1/jobs/batch", post(batch::submit))
        .route("/api/v1/jobs/retry", post(bulk::retry))
        .route("/api/v1/jobs/cancel", post(bulk::cancel))
        .route("/api/v1/jobs/{id}", get(job::get))
        .route("/api/v1/jobs/{id}/output", get(job::output))
        .route("/api/v1/jobs/{id}/payload", get(job::payload))
        .route("/api/v1/jobs/{id}/files/{*name}", get(job::file))
        .route("/api/v1/jobs/{id}/why", get(job::why))
        .route("/api/v1/jobs/{id}/logs", get(logs::of_job))
        .route("/api/v1/jobs/{id}/cancel", post(submit::cancel))
        .route("/api/v1/jobs/{id}/retry", post(retry::one))
        .route("/api/v1/status", get(nodes::status))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{name}", get(nodes::one))
        .route("/api/v1/nodes/{name}/drain", post(nodes::drain))
        .route("/api/v1/nodes/{name}/undrain", post(nodes::undrain))
        .route("/api/v1/nodes/{name}/stop", post(nodes::stop))
        .route("/api/v1/nodes/{name}/resume", post(nodes::resume))
        .route("/api/v1/nodes/{name}/digest", get(digest::digest))
        .route("/api/v1/leader/transfer", post(transfer::transfer))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/views", get(views::all))
        .route("/api/v1/views/{node}/{*kind}", get(views::one))
        .route("/api/v1/messages", post(views::say))
        .route("/api/v1/logs", get(logs::of_all))
        .route(internal::JOIN_PATH, post(internal::join))
        .route(internal::CLUSTER_PATH, get(internal::cluster))
        .route("/api/{*rest}", axum::routing::any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .with_state(desk)
}

fn roots(desk: Desk) -> Router {
    let cluster = cluster_log::ClusterLog::new(desk.clone());
    let logging = logdb::logging_router(desk.served.log.clone(), Some(cluster.source()));
    Router::new()
        .route("/readyz", get(root::readyz))
        .route("/metrics", get(root::metrics))
        .with_state(desk)
        .merge(logging)
}

#[cfg(test)]
mod tests;
