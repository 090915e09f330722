//! The pages: plain HTML rendered here, livened up by one small script, working without it.
//!
//! ```text
//!   browser ──GET /──────▶ page ──GET /api/v1/status, /jobs──▶ the HTTP API, called within the process
//!           ──POST /submit▶ form ──POST /api/v1/jobs─────────▶ (a node's own, or a relay's)
//!           ──EventSource /api/v1/events ────────────────────▶ straight to the API
//! ```
//!
//! **Decides:** how jobs and nodes look to people, and that a form was really sent from a page of ours.
//! **May not touch:** anything but the public HTTP API; what a page can do, `curl` can do.
//! **Driven by:** [`router`], mounted beside the API it is given.
//! **Leaves out:** the relay program on 3001, search, graphs, the log page (later versions).

mod api;
mod assets;
mod form;
mod home;
mod job;
mod limits;
mod model;
mod words;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use tower::Service;

use api::Api;

/// The pages as routes: `/`, `/submit`, `/jobs/{id}`, `/jobs/{id}/cancel` and `/assets/…`. `api` answers `/api/v1/…`; a router of
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
        .route("/assets/understudy.css", get(assets::css))
        .route("/assets/understudy.js", get(assets::js))
        .with_state(Api::new(api))
}

#[cfg(test)]
mod tests;
