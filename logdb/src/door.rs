//! The door of every container: what stands before each call, `/stop` and `/livez`.
//!
//! ```text
//!   accept ─▶ stopped? ─▶ host ─▶ site ─▶ token ─▶ routes of the container
//!   (bounds)     ▲
//!              Valve ◀── GET /stop          ──▶ whoever owns the sockets
//! ```
//! Nodes, client-web and the log store have the same rules, in the same words.

mod caller;
mod guarded;
mod login;
mod metrics;
mod problem;
mod seated;
mod serve;
mod site;
mod stop;
mod token;
mod valve;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub use guarded::Guarded;
pub use metrics::Metrics;
pub use problem::{Kind, Problem};
pub use serve::{serve, told_to_end};
pub use token::{TOKEN_LEAST_BYTES, TOKEN_MOST_BYTES, Token, TokenError};
pub use valve::Valve;

use site::{asked_host, is_foreign};

/// Whether a host is one of ours, asked when it is none of the names known from the start.
type Known = dyn Fn(String) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// Adds to the answers of an API what is to be on all of them.
type Stamp = dyn Fn(HeaderMap) -> Pin<Box<dyn Future<Output = HeaderMap> + Send>> + Send + Sync;

/// Who stands behind a door.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
    known: Option<Arc<Known>>,
    stamp: Option<Arc<Stamp>>,
    /// The token asked for, if one is.
    asked: Option<Arc<login::Asked>>,
}

#[derive(Debug)]
struct Inner {
    /// What it is called in answers.
    word: &'static str,
    name: String,
    hosts: Vec<String>,
    chaos: bool,
    valve: Arc<Valve>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Door {
    /// A door that answers to `name` and `hosts` (beside IP literals and `localhost`); `chaos` allows `/stop`, which turns `valve`; whoever
    /// watches the valve must answer with [`Valve::reach`], or each `/stop` waits ten seconds for it.
    #[must_use]
    pub fn new(name: &str, hosts: Vec<String>, chaos: bool, valve: Arc<Valve>) -> Self {
        let inner = Inner { word: "container", name: name.to_string(), hosts, chaos, valve };
        Self { inner: Arc::new(inner), known: None, stamp: None, asked: None }
    }

    /// The door of a node, whose API answers `/api/v1/nodes/{name}/stop` and `/resume` itself, by its name too.
    #[must_use]
    pub fn of_node(name: &str, hosts: Vec<String>, chaos: bool, valve: Arc<Valve>) -> Self {
        let inner = Inner { word: "node", name: name.to_string(), hosts, chaos, valve };
        Self { inner: Arc::new(inner), known: None, stamp: None, asked: None }
    }

    /// It, with a question for hosts that come and go.
    #[must_use]
    pub fn knowing<K, F>(self, known: K) -> Self
    where
        K: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        Self { known: Some(Arc::new(move |host| Box::pin(known(host)))), ..self }
    }

    /// It, adding with `stamp` to the headers of whatever the paths below `/api/` answer.
    #[must_use]
    pub fn stamping<S, F>(self, stamp: S) -> Self
    where
        S: Fn(HeaderMap) -> F + Send + Sync + 'static,
        F: Future<Output = HeaderMap> + Send + 'static,
    {
        Self { stamp: Some(Arc::new(move |headers| Box::pin(stamp(headers)))), ..self }
    }

    /// Puts `/stop`, `/livez`, the answers to unknown paths and every rule around the routes of a container.
    pub fn guard(&self, routes: Router) -> Guarded {
        let routes = routes
            .merge(stop::route(self))
            .merge(login::routes(self))
            .route("/livez", get(async || "ok\n"))
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method);
        Guarded::new(self.clone(), routes)
    }

    /// What a request is told that may not pass; the first rule that it breaks decides.
    async fn refuses(&self, request: &Parts) -> Option<Response> {
        if let Some(problem) = self.refuses_stopped(request) {
            return Some(problem.into_response());
        }
        if let Some(problem) = self.refuses_host(request).await {
            return Some(problem.into_response());
        }
        self.refuses_cross_site(request)
            .map(Problem::into_response)
            .or_else(|| self.refuses_stranger(request))
    }

    /// While stopped only `/stop` and its forms without a toggle, `/livez` and the log are answered.
    fn refuses_stopped(&self, request: &Parts) -> Option<Problem> {
        if !self.inner.valve.is_stopped() || self.answers_while_stopped(request.uri.path()) {
            return None;
        }
        let is_write = !matches!(request.method, Method::GET | Method::HEAD);
        let problem = Problem::stopped(self.inner.word);
        Some(if is_write { problem.not_accepted() } else { problem })
    }

    /// Answers only to its own names, so that a foreign name made to point here (DNS rebinding) reads and writes nothing.
    async fn refuses_host(&self, request: &Parts) -> Option<Problem> {
        let host = asked_host(request)?;
        if self.answers_to(&host).await {
            return None;
        }
        let host: String = host.chars().take(200).collect();
        let word = self.inner.word;
        let detail = format!("{host:?} is no name of this {word}; names are added by http.allowed_hosts");
        Some(Problem::new(Kind::WrongHost, detail))
    }

    /// Refuses what a page of another site makes a browser send: every changing call, and `/stop`.
    fn refuses_cross_site(&self, request: &Parts) -> Option<Problem> {
        let reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let stops = request.uri.path() == "/stop";
        if (reads && !stops) || !is_foreign(request) {
            return None;
        }
        let word = self.inner.word;
        let detail =
            format!("a page of another site may not do this; use the pages of this {word}, or a program");
        Some(Problem::new(Kind::CrossSite, detail).not_accepted())
    }

    async fn answers_to(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let same = |name: &String| name.trim_matches(['[', ']']).eq_ignore_ascii_case(host);
        let Inner { name, hosts, .. } = &*self.inner;
        if host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        if same(name) || hosts.iter().any(same) {
            return true;
        }
        match &self.known {
            Some(known) => known(host.to_string()).await,
            None => false,
        }
    }

    /// What the public surface names as answered while stopped.
    fn answers_while_stopped(&self, path: &str) -> bool {
        let Inner { word, name, .. } = &*self.inner;
        let turns = |name: &str| {
            path.strip_prefix("/api/v1/nodes/")
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest == "/stop" || rest == "/resume")
        };
        matches!(path, "/stop" | "/livez" | "/logging")
            || path.starts_with("/logging/")
            || turns("self")
            || (*word == "node" && turns(name))
    }
}

/// The answer to a path nobody serves.
pub async fn unknown(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Kind::NotFound, format!("there is no {} {path:?} here", request.method()))
}

/// The answer to a path that is served, but not by this method.
pub async fn wrong_method(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Kind::MethodNotAllowed, format!("{path:?} takes no {}", request.method()))
}

#[cfg(test)]
#[path = "door/tests.rs"]
mod tests;
