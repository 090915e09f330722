//! The API by proxy: every call goes to the node that answered last, and to the next one when that gives no answer.
//!
//! ```text
//!   call ─▶ Order (read whole, with a key) ─▶ node k ── answer ──────────▶ streamed through, k remembered
//!                                              │ unreachable, or 503 stopped, starting, no-quorum
//!                                              ▼
//!                                             node k+1 … ─ nobody ─▶ no-quorum (handed to nobody) or outcome-unknown
//! ```
//! A write is only said again with the same `Idempotency-Key`, so that it happens once whoever heard it.

mod answer;
mod limits;
mod order;
mod problem;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use logdb::door::{Metrics, Token, Valve};
use logdb::record::now_ms;
use logdb::{Level, Log};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use answer::Tried;
use limits::{BODY_UNITS, CALL_PATIENCE, CALLS, CONNECT_PATIENCE, SERVERS};
use order::Order;
use problem::{Kind, Problem};

/// A node that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    /// `http://HOST:PORT` without a path.
    base: String,
    /// Its HTTP port, for log lines.
    port: u16,
}

/// Why a list of servers is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServersError {
    /// One is no address.
    #[error("server {given:?} is no address such as http://127.0.0.1:3002")]
    Address {
        /// What was given.
        given: String,
    },
    /// None, or too many.
    #[error("{count} servers are given, it must be 1 to {SERVERS}")]
    Count {
        /// How many were given.
        count: usize,
    },
    /// The HTTP client could not be made.
    #[error("making the HTTP client: {0}")]
    Client(String),
}

/// What became of calls, since the start.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    failed_tries: AtomicU64,
    unanswered: AtomicU64,
}

/// Relays calls; clones share it.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Vec<Server>,
    /// Place of the server that answered last.
    favourite: AtomicUsize,
    client: reqwest::Client,
    log: Log,
    valve: Arc<Valve>,
    counts: Counts,
    calls: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Relay {
    /// Relays to these servers (`http://HOST:PORT`), the first one first, naming `token` to them. Jobs submitted through it are told in `log`; while
    /// `valve` is stopped nothing goes out.
    ///
    /// # Errors
    /// [`ServersError`] when one is no address, or there are none or too many.
    pub fn new(
        servers: &[String],
        token: Option<&Token>,
        log: Log,
        valve: Arc<Valve>,
    ) -> Result<Self, ServersError> {
        let servers = servers.iter().map(|given| server(given)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() || servers.len() > SERVERS {
            return Err(ServersError::Count { count: servers.len() });
        }
        // A token that the caller named is handed on; the door has seen it, or asks for none.
        let headers = token.map(|token| (header::AUTHORIZATION, token.bearer())).into_iter().collect();
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_PATIENCE)
            .build()
            .map_err(|error| ServersError::Client(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            servers,
            favourite: AtomicUsize::new(0),
            client,
            log,
            valve,
            counts: Counts::default(),
            calls: Arc::new(Semaphore::new(CALLS)),
            bodies: Arc::new(Semaphore::new(BODY_UNITS)),
        })))
    }

    /// It as a router that takes every path under `/api/`.
    pub fn api(&self) -> Router {
        let relay = self.clone();
        let call = move |request: Request| {
            let relay = relay.clone();
            async move { relay.call(request).await }
        };
        Router::new().route("/api/{*rest}", axum::routing::any(call))
    }

    /// Figures for Prometheus.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counts, open) = (&self.0.counts, CALLS - self.0.calls.available_permits());
        Metrics::default()
            .counter("relay_calls_total", "Calls handed on.", count(&counts.calls))
            .counter(
                "relay_failed_tries_total",
                "Tries at a node that gave no answer.",
                count(&counts.failed_tries),
            )
            .counter("relay_unanswered_total", "Calls that no node answered.", count(&counts.unanswered))
            .gauge("relay_open_calls", "Calls under way, event streams among them.", open as u64)
    }

    /// Whether some node says that it is ready.
    pub async fn is_ready(&self) -> bool {
        for at in self.places() {
            let url = format!("{}/readyz", self.0.servers[at].base);
            let asked = timeout(limits::READ_PATIENCE, self.0.client.get(url).send()).await;
            if asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success())) {
                return true;
            }
        }
        false
    }

    /// Places of all servers, the one that answered last first.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.0.favourite.load(Ordering::Relaxed), self.0.servers.len());
        (0..count).map(move |k| (first + k) % count)
    }

    async fn call(&self, request: Request) -> Response {
        let Ok(seat) = Arc::clone(&self.0.calls).try_acquire_owned() else {
            return Problem::new(Kind::Full, format!("{CALLS} calls are under way already"))
                .not_accepted()
                .into_response();
        };
        let mut order = match Order::read(request, &self.0.bodies).await {
            Ok(order) => order,
            Err(problem) => return problem.into_response(),
        };
        order.seat = Some(seat);
        self.hand_on(order).await
    }

    async fn hand_on(&self, mut order: Order) -> Response {
        let began_ms = now_ms();
        self.0.counts.calls.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + CALL_PATIENCE + order.wait;
        // What is known of tries that may have been heard: the ids they told, if any.
        let (mut heard, mut ids) = (0_usize, BTreeSet::new());
        let mut declined = None;
        for at in self.places() {
            if Instant::now() >= until || self.0.valve.is_stopped() || (heard > 0 && !order.is_repeatable()) {
                break;
            }
            let sent_ms = now_ms();
            let tried = self.ask(&self.0.servers[at], &mut order).await;
            if !matches!(tried, Tried::Answered(_)) {
                self.0.counts.failed_tries.fetch_add(1, Ordering::Relaxed);
            }
            match tried {
                Tried::Answered(response) => {
                    self.0.favourite.store(at, Ordering::Relaxed);
                    if order.is_submission() && is_new(&response, heard > 0) {
                        self.tell(at, [began_ms, sent_ms], &response);
                    }
                    return response;
                }
                Tried::Unreachable => {}
                Tried::Declined(response) => declined = response.or(declined),
                Tried::Unknown(id) => {
                    heard += 1;
                    ids.extend(id);
                }
            }
        }
        self.0.counts.unanswered.fetch_add(1, Ordering::Relaxed);
        if order.is_write() && heard > 0 {
            // With two tries heard, the job may bear the id of either.
            let id = ids.pop_first().filter(|_| heard == 1);
            return problem::outcome_unknown(id, order.key.as_deref()).into_response();
        }
        match declined {
            Some(response) => response,
            None if order.is_write() => problem::no_node().not_accepted().into_response(),
            None => problem::no_node().into_response(),
        }
    }

    async fn ask(&self, server: &Server, order: &mut Order) -> Tried {
        let url = format!("{}{}", server.base, order.path);
        let request = self.0.client.request(order.method.clone(), url).headers(order.headers.clone());
        let request = if order.is_write() { request.body(order.body.clone()) } else { request };
        match timeout(order.patience(), request.send()).await {
            Ok(Ok(answer)) => answer::judge(answer, order, self.0.valve.watch()).await,
            Ok(Err(error)) if error.is_connect() || error.is_builder() => Tried::Unreachable,
            Ok(Err(_)) | Err(_) if order.is_write() => Tried::Unknown(None),
            Ok(Err(_)) | Err(_) => Tried::Unreachable,
        }
    }

    /// The seed's two lines for a job that was submitted through here. Only the answer has its id: they are told late, with the
    /// times they speak of.
    fn tell(&self, at: usize, [created_ms, sent_ms]: [u64; 2], response: &Response) {
        let place =
            response.headers().get(axum::http::header::LOCATION).and_then(|place| place.to_str().ok());
        let id = place.and_then(|place| place.rsplit('/').next()).and_then(|id| id.parse().ok());
        let Some(id) = id else { return };
        let port = self.0.servers[at].port;
        let created = format!("Created payload: {id}");
        self.0.log.record_at(created_ms, Level::Info, "accepted", Some(id), &created);
        let sent = format!("Sent payload: {id} for execution to port: {port}");
        self.0.log.record_at(sent_ms, Level::Info, "forwarded", Some(id), &sent);
    }
}

/// Whether an answer tells of a job that was not there before: a repetition may find what our own first try made.
fn is_new(response: &Response, was_repeated: bool) -> bool {
    response.status() == StatusCode::CREATED || (was_repeated && response.status() == StatusCode::OK)
}

fn server(given: &str) -> Result<Server, ServersError> {
    let bad = || ServersError::Address { given: given.chars().take(200).collect() };
    let url = reqwest::Url::parse(given.trim()).map_err(|_| bad())?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(bad()) };
    if url.scheme() != "http"
        || !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || !url.username().is_empty()
    {
        return Err(bad());
    }
    Ok(Server { base: format!("http://{host}:{port}"), port })
}

#[cfg(test)]
mod tests;
