//! client-web as a whole, without a port: the door around pages, relay and this container's own log.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use logdb::Log;
use logdb::door::{Door, Problem, Valve};
use serde_json::json;

use crate::relay::{Relay, ServersError};

/// What client-web is made of.
#[derive(Clone, Debug)]
pub struct Program {
    /// Nodes to relay to (`http://HOST:PORT`), the first one first.
    pub servers: Vec<String>,
    /// Names it answers to beside `localhost` and IP literals.
    pub hosts: Vec<String>,
    /// Whether `/stop` is allowed.
    pub chaos: bool,
    /// Its own log, for `/logging`.
    pub log: Log,
    /// The soft crash.
    pub valve: Arc<Valve>,
}

#[derive(Clone)]
struct Own {
    chaos: bool,
    valve: Arc<Valve>,
    log: Log,
}

/// Everything client-web answers. Must be called within a tokio runtime.
///
/// # Errors
/// [`ServersError`] when the servers make no list.
pub fn app(program: Program) -> Result<Router, ServersError> {
    let Program { servers, hosts, chaos, log, valve } = program;
    let relay = Relay::new(&servers, log.clone(), Arc::clone(&valve))?;
    tokio::spawn(obey(Arc::clone(&valve), log.clone()));
    let own = Own { chaos, valve: Arc::clone(&valve), log: log.clone() };
    let api = relay.api();
    let routes = crate::router(api.clone())
        .merge(api)
        // `self` is this container, never the node that happens to answer.
        .merge(Router::new().route("/api/v1/nodes/self/{turn}", post(turn)).with_state(own))
        .merge(Router::new().route("/readyz", get(readyz)).with_state(relay))
        .merge(logdb::logging_router(log, None));
    Ok(Door::new(hosts, chaos, valve).guard(routes))
}

/// There are no sockets to close here: answers are cut by the relay, so the valve is followed at once.
async fn obey(valve: Arc<Valve>, log: Log) {
    let mut wanted = valve.watch();
    while wanted.changed().await.is_ok() {
        let stopped = *wanted.borrow_and_update();
        let (event, words) = if stopped { ("stopped", "CRASH :(") } else { ("resumed", "RECOVERED :)") };
        log.record(logdb::Level::Warn, event, None, words);
        valve.reach(stopped);
    }
}

async fn turn(State(own): State<Own>, Path(turn): Path<String>) -> Result<Response, Problem> {
    let stopped = match turn.as_str() {
        "stop" => true,
        "resume" => false,
        _ => return Err(Problem::not_found("a container can be told to stop and to resume")),
    };
    if !own.chaos {
        let title = "Stopping is not enabled here";
        let detail = "start this container with --chaos to allow this";
        return Err(Problem::new(StatusCode::FORBIDDEN, "chaos-off", title, detail));
    }
    if own.valve.is_stopped() != stopped {
        own.valve.turn(stopped);
        own.valve.reached(stopped).await;
    }
    Ok(axum::Json(json!({"node": own.log.name(), "stopped": stopped})).into_response())
}

async fn readyz(State(relay): State<Relay>) -> Response {
    if relay.is_ready().await {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready: no node is\n").into_response()
}
