//! The pages: plain HTML rendered here, livened up by one small script, working without it; and client-web, the container that
//! serves them beside a relay to whichever node answers.
//!
//! ```text
//!   browser ──GET /──────▶ page ──GET /api/v1/status, /jobs──▶ the HTTP API, called within the process
//!           ──POST /submit▶ form ──POST /api/v1/jobs─────────▶ (a node's own, or the relay's)
//!           ──EventSource /api/v1/events ────────────────────▶ straight to the API
//!
//!   client-web = door ( pages (relay) + relay + /logging + /readyz + /metrics )      relay ──▶ node, else the next one
//! ```
//!
//! **Decides:** how jobs and nodes look to people, that a form was really sent from a page of ours, and which node is asked.
//! **May not touch:** anything but the public HTTP API; what a page can do, `curl` can do.
//! **Driven by:** [`router`], mounted beside the API it is given; [`app`], the whole of client-web without a port.
//! **Leaves out:** search, graphs, the log page (later versions).

mod api;
mod assets;
mod form;
mod home;
mod job;
mod limits;
mod model;
mod nodes;
mod program;
mod relay;
mod seed;
mod words;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use tower::Service;

use api::Api;

pub use program::{Program, ProgramError, app};
pub use relay::{Relay, ServersError};

/// The pages as routes: `/`, `/submit`, `/jobs/{id}`, `/jobs/{id}/cancel`, `/retry`, `/nodes/{name}/stop`, `/resume` and `/assets/…`. `api` answers `/api/v1/…`; a router of
/// axum is such a service.
pub fn router<A>(api: A) -> Router
where
    A: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    A::Future: Send + 'static,
{
    Router::new()
        .route("/", get(home::page))
        .route("/submit", post(home::submit))
        .route("/jobs/{id}", get(job::page))
        .route("/jobs/{id}/cancel", post(job::cancel))
        .route("/jobs/{id}/retry", post(job::retry))
        .route("/nodes/{name}/{turn}", get(nodes::ask).post(nodes::turn))
        .route("/assets/icon.svg", get(assets::icon))
        .route("/assets/understudy.css", get(assets::css))
        .route("/assets/understudy.js", get(assets::js))
        .with_state(Api::new(api))
}

#[cfg(test)]
mod tests;
