//! A listener of its own: hears the news of any nodes or of other listeners, shows its view over HTTP, and tells what it hears
//! again.
//!
//! ```text
//!   nodes, listeners ══▶ SUB ─▶ Board ─▶ GET /api/v1/views
//!                                 └─ what is new ─▶ XPUB ─ gate ══▶ whoever subscribes
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use logdb::door::{Door, Guarded, Kind, Problem, Valve, serve, told_to_end};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::board::Board;
use super::limits::PASSED_ON;
use super::listener::Listener;
use super::publisher::Publisher;
use super::queue::Queue;
use super::scratch::Scratch;
use super::views::Took;
use super::{NewsError, topics};

/// How a listener shall be. Made by the program from its words; checked there.
#[derive(Clone, Debug)]
pub struct StationSettings {
    /// Whom to listen to: `tcp://HOST:PORT` each.
    pub urls: Vec<String>,
    /// `HOST:PORT` where its HTTP listens.
    pub listen: String,
    /// Where it tells again what it hears: `tcp://HOST:PORT`; nowhere when none.
    pub publish: Option<String>,
    /// `Host` names allowed beside IP literals and `localhost`.
    pub allowed_hosts: Vec<String>,
}

/// Why a listener ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The HTTP port could not be had.
    #[error("listening for HTTP on {address}: {cause}")]
    Listen {
        /// Which address.
        address: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The process could not be set up.
    #[error("starting the listener: {0}")]
    Start(std::io::Error),
    /// News cannot be told or heard.
    #[error(transparent)]
    News(#[from] NewsError),
}

/// Listens until SIGTERM or SIGINT.
///
/// # Errors
/// [`StationError`], naming the address.
pub fn run(settings: StationSettings) -> Result<(), StationError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(StationError::Start)?;
    runtime.block_on(async {
        let address = settings.listen.clone();
        let listener = TcpListener::bind(&address).await;
        let listener = listener.map_err(|cause| StationError::Listen { address, cause })?;
        let station = Station::open(&Handle::current(), &settings)?;
        tracing::info!(publish = station.address(), "news: listening");
        serve(listener, station.router(settings.allowed_hosts), told_to_end()).await;
        Ok(())
    })
}

/// A running listener without its HTTP port.
pub(crate) struct Station {
    board: Board,
    // Closed in this order.
    #[cfg_attr(not(test), expect(dead_code, reason = "held until the end"))]
    listener: Listener,
    out: Option<Out>,
}

/// Where it tells again what it hears.
struct Out {
    // Closed in this order.
    publisher: Publisher,
    #[cfg_attr(not(test), expect(dead_code, reason = "held until the end"))]
    folder: Scratch,
}

impl Station {
    /// Its sockets are served on `handle`, which should have threads of its own: the last news leave while this is dropped.
    pub(crate) fn open(handle: &Handle, settings: &StationSettings) -> Result<Self, NewsError> {
        let board = Board::default();
        let out =
            settings.publish.as_deref().map(|endpoint| open_out(handle, endpoint, &board)).transpose()?;
        let (queue, out) = out.unzip();
        let mut ear = Ear { board: board.clone(), queue, passed_on: PassedOn::default() };
        let everything = [""];
        let for_views = [topics::INFO, topics::MESSAGE, topics::AGAIN];
        // Asked for by itself in both cases: whoever tells old messages waits for this very word.
        let prefixes: Vec<&str> = match out {
            Some(_) => everything.into_iter().chain([topics::AGAIN]).collect(),
            None => for_views.to_vec(),
        };
        let listener = Listener::start(&prefixes, move |topic, body| ear.hear(topic, body))?;
        listener.orders().listen_to(settings.urls.iter().cloned().collect::<BTreeSet<_>>());
        Ok(Self { board, listener, out })
    }

    /// Where it tells what it hears, with the number when the system chose it.
    pub(crate) fn address(&self) -> Option<String> {
        self.out.as_ref().map(|out| out.publisher.address())
    }

    pub(crate) fn router(&self, hosts: Vec<String>) -> Guarded {
        let routes = Router::new()
            .route("/api/v1/views", get(all))
            .route("/api/v1/views/{node}/{*kind}", get(one))
            .with_state(self.board.clone());
        Door::new("listener", hosts, false, Arc::new(Valve::default())).guard(routes)
    }
}

fn open_out(handle: &Handle, endpoint: &str, board: &Board) -> Result<(Arc<Queue>, Out), NewsError> {
    let failed = |error: nix::Error| NewsError { what: "queueing news".to_string(), why: error.to_string() };
    let queue = Arc::new(Queue::new().map_err(failed)?);
    let folder = Scratch::new().map_err(|error| NewsError {
        what: "making a folder for a private socket".to_string(),
        why: error.to_string(),
    })?;
    let again = board.clone();
    let again = move |messages| again.again(messages);
    let publisher = Publisher::start(handle, folder.path(), endpoint, Arc::clone(&queue), again)?;
    Ok((queue, Out { publisher, folder }))
}

/// What a listener does with each thing heard: what is new goes on, once, whichever ways it came.
struct Ear {
    board: Board,
    queue: Option<Arc<Queue>>,
    passed_on: PassedOn,
}

impl Ear {
    fn hear(&mut self, topic: &str, body: &str) {
        let is_new = match self.board.hear(topic, body) {
            Took::New => true,
            Took::Event => self.passed_on.is_new(topic, body),
            Took::Old | Took::Refused => false,
        };
        if let Some(queue) = self.queue.as_ref().filter(|_| is_new) {
            // No room: it is dropped and counted there.
            let _ = queue.put(topic.to_string(), body.into());
        }
    }
}

/// Jobs and leads passed on lately. Every node tells each; they look the same.
#[derive(Default)]
struct PassedOn {
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl PassedOn {
    fn is_new(&mut self, topic: &str, body: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (topic, body).hash(&mut hasher);
        let print = hasher.finish();
        if !self.known.insert(print) {
            return false;
        }
        self.order.push_back(print);
        if self.order.len() > PASSED_ON
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

async fn all(State(board): State<Board>) -> Response {
    json(board.page())
}

async fn one(State(board): State<Board>, Path((node, kind)): Path<(String, String)>) -> Response {
    let Some(shown) = board.one(&node, &kind) else {
        let (node, kind): (String, String) =
            (node.chars().take(200).collect(), kind.chars().take(200).collect());
        return Problem::new(Kind::NotFound, format!("nothing is known here of {kind:?} of a node {node:?}"))
            .into_response();
    };
    let mut response = json(shown.value().to_string());
    response.headers_mut().insert("x-understudy-age", shown.age.as_secs().into());
    response
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
#[path = "station_tests.rs"]
mod tests;
