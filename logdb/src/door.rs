//! The door of a container that is no node (client-web, the log store): what stands before every call, and `/stop`.
//!
//! ```text
//!   accept ─▶ stopped? ─▶ host ─▶ site ─▶ routes of the container
//!   (bounds)     ▲
//!              Valve ◀── GET /stop          ──▶ whoever owns the sockets
//! ```
//! The rules are those of a node, in the same words.

mod metrics;
mod problem;
mod serve;
mod valve;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

pub use metrics::Metrics;
pub use problem::Problem;
pub use serve::serve;
pub use valve::Valve;

/// How long `/stop` waits for the sockets to follow.
const VALVE_PATIENCE: Duration = Duration::from_secs(10);

/// Who stands behind a door.
#[derive(Clone, Debug)]
pub struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hosts: Vec<String>,
    chaos: bool,
    valve: Arc<Valve>,
}

impl Door {
    /// A door that answers to `hosts` (names beside IP literals and `localhost`); `chaos` allows `/stop`, which turns `valve`; whoever
    /// watches the valve must answer with [`Valve::reach`], or each `/stop` waits ten seconds for it.
    #[must_use]
    pub fn new(hosts: Vec<String>, chaos: bool, valve: Arc<Valve>) -> Self {
        Self { inner: Arc::new(Inner { hosts, chaos, valve }) }
    }

    /// Puts `/stop`, `/livez`, the answers to unknown paths and every rule around the routes of a container.
    pub fn guard(&self, routes: Router) -> Router {
        routes
            .merge(stop_route(self))
            .route("/livez", get(async || "ok\n"))
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn(cross_site))
            .layer(from_fn_with_state(self.clone(), host))
            .layer(from_fn_with_state(self.clone(), stopped_gate))
            .layer(from_fn(safe))
            .layer(CatchPanicLayer::custom(broken))
    }

    fn answers_to(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let same = |name: &str| name.trim_matches(['[', ']']).eq_ignore_ascii_case(host);
        host.parse::<IpAddr>().is_ok() || same("localhost") || self.inner.hosts.iter().any(|name| same(name))
    }
}

/// `GET /stop`: toggles the soft crash. Part of [`Door::guard`].
fn stop_route(door: &Door) -> Router {
    Router::new().route("/stop", get(stop)).with_state(door.clone())
}

/// Body `True` (now stopped) or `False`, nothing else; a page for a browser.
async fn stop(State(door): State<Door>, method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    if method == Method::HEAD {
        return Err(Problem::wrong_method("looking at /stop must not stop anything: use GET"));
    }
    if !door.inner.chaos {
        let detail = "start this container with --chaos to allow /stop";
        let (status, title) = (axum::http::StatusCode::FORBIDDEN, "Stopping is not enabled here");
        return Err(Problem::new(status, "chaos-off", title, detail));
    }
    if is_prefetch(&headers) {
        return Err(Problem::cross_site("a prefetch must not stop anything"));
    }
    let valve = &door.inner.valve;
    let stopped = valve.toggle();
    // Late is not wrong: from the turn on HTTP answers as asked.
    let _ = timeout(VALVE_PATIENCE, valve.reached(stopped)).await;
    let word = if stopped { "True" } else { "False" };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !accept.contains("text/html") {
        return Ok(word.into_response());
    }
    let told = if stopped { "This container is stopped." } else { "This container is running." };
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{word}</title></head>\
         <body><h1>{word}</h1><p>{told} Loading this page again turns it.</p>\
         <p><a href=\"/logging\">Its log</a></p></body></html>"
    );
    Ok(Html(page).into_response())
}

/// While stopped only `/stop` and its forms without a toggle, `/livez` and the log are answered.
async fn stopped_gate(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let answers = matches!(path, "/stop" | "/livez" | "/logging")
        || path.starts_with("/logging/")
        || matches!(path, "/api/v1/nodes/self/stop" | "/api/v1/nodes/self/resume");
    if answers || !door.inner.valve.is_stopped() {
        return next.run(request).await;
    }
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD);
    let problem = Problem::stopped();
    if is_write { problem.not_accepted().into_response() } else { problem.into_response() }
}

/// Answers only to its own names, so that a foreign name made to point here (DNS rebinding) reads and writes nothing.
async fn host(State(door): State<Door>, request: Request, next: Next) -> Response {
    let asked = asked_host(&request).filter(|host| !door.answers_to(host));
    let Some(host) = asked else { return next.run(request).await };
    let host: String = host.chars().take(200).collect();
    let (status, title) = (axum::http::StatusCode::MISDIRECTED_REQUEST, "This is not that host");
    let detail = format!("{host:?} is no name of this container");
    Problem::new(status, "wrong-host", title, detail).into_response()
}

/// The host a request names, without its port: in its target, else in its `Host` header.
fn asked_host(request: &Request) -> Option<String> {
    if let Some(host) = request.uri().host() {
        return Some(host.to_string());
    }
    let authority = request.headers().get(header::HOST)?.to_str().unwrap_or("?");
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    Some(host.to_string())
}

/// Refuses what a page of another site makes a browser send: every changing call, and `/stop`.
async fn cross_site(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let stops = request.uri().path() == "/stop";
    if (!reads || stops) && is_foreign(request.headers()) {
        let detail = "a page of another site may not do this; use the pages of this container, or a program";
        return Problem::cross_site(detail).not_accepted().into_response();
    }
    next.run(request).await
}

/// Whether the marks of a browser (`Origin`, `Referer`, `Sec-Fetch-Site`) say that another site is behind a request.
#[must_use]
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetch_site = text(HeaderName::from_static("sec-fetch-site"));
    if fetch_site.is_some_and(|site| !matches!(site, "none" | "same-origin")) {
        return true;
    }
    let own = text(header::HOST).unwrap_or("");
    let of_other = |origin: &str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(own))
    };
    text(header::ORIGIN).is_some_and(of_other) || text(header::REFERER).is_some_and(of_other)
}

/// Whether a browser only guesses that somebody may want this.
#[must_use]
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"]
        .into_iter()
        .filter_map(|name| headers.get(name))
        .any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("prefetch")))
}

/// What keeps a browser from running anything of an answer, and from storing it.
async fn safe(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn unknown(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::not_found(format!("there is no {} {path:?} here", request.method()))
}

async fn wrong_method(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::wrong_method(format!("{path:?} takes no {}", request.method()))
}

fn broken(_: Box<dyn std::any::Any + Send>) -> Response {
    let detail = "answering this failed inside the container; its console says more";
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "broken", "This container made a mistake", detail).into_response()
}

#[cfg(test)]
#[path = "door/tests.rs"]
mod tests;
