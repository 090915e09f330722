//! client-web as a whole, without a port: the door around pages, relay and this container's own log.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use logdb::door::{Door, Guarded, Metrics, Token, Valve};
use logdb::{Log, Remote, RemoteError};
use tokio::sync::watch;

use crate::relay::{Relay, ServersError};

/// What client-web cannot be made of.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProgramError {
    /// The servers make no list.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// The log store is no address.
    #[error(transparent)]
    LogStore(#[from] RemoteError),
}

/// What client-web is made of.
#[derive(Clone, Debug)]
pub struct Program {
    /// Nodes to relay to (`http://HOST:PORT`), the first one first.
    pub servers: Vec<String>,
    /// Log store that answers `GET /api/v1/logs` (`http://HOST:PORT`); a node does where there is none.
    pub logdb: Option<String>,
    /// Names it answers to beside `localhost` and IP literals.
    pub hosts: Vec<String>,
    /// Whether `/stop` is allowed.
    pub chaos: bool,
    /// The token it asks for, and names to nodes and log store.
    pub token: Option<Token>,
    /// Its own log, for `/logging`.
    pub log: Log,
    /// The soft crash.
    pub valve: Arc<Valve>,
}

/// Everything client-web answers. Must be called within a tokio runtime.
///
/// # Errors
/// [`ProgramError`] when the servers make no list or the log store is no address.
pub fn app(program: Program) -> Result<Guarded, ProgramError> {
    let Program { servers, logdb, hosts, chaos, token, log, valve } = program;
    let log_store = logdb.map(|url| Remote::new(&url, token.as_ref(), valve.watch())).transpose()?;
    let relay = Relay::new(&servers, token.as_ref(), log.clone(), Arc::clone(&valve))?;
    // Heard from here on: a task may begin late.
    tokio::spawn(obey(valve.watch(), Arc::clone(&valve), log.clone()));
    let door = Door::new(log.name(), hosts, chaos, valve).asking(token);
    let api = relay.api();
    let routes = crate::router(api.clone())
        .merge(api)
        // `self` is this container, never the node that happens to answer.
        .merge(door.turns())
        .merge(log_store.map_or_else(Router::new, |store| store.router()))
        .merge(Router::new().route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(relay))
        .merge(logdb::logging_router(log, None));
    Ok(door.guard(routes))
}

/// There are no sockets to close here: answers are cut by the relay, so the valve is followed at once.
async fn obey(mut wanted: watch::Receiver<bool>, valve: Arc<Valve>, log: Log) {
    while wanted.changed().await.is_ok() {
        let stopped = *wanted.borrow_and_update();
        let (event, words) = if stopped { ("stopped", "CRASH :(") } else { ("resumed", "RECOVERED :)") };
        log.record(logdb::Level::Warn, event, None, words);
        valve.reach(stopped);
    }
}

async fn readyz(State(relay): State<Relay>) -> Response {
    if relay.is_ready().await {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready: no node is\n").into_response()
}

/// Prometheus text.
async fn metrics(State(relay): State<Relay>) -> Metrics {
    relay.metrics()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use tower::ServiceExt as _;

    use super::*;

    /// client-web with no node that answers.
    fn alone(chaos: bool) -> Guarded {
        alone_with(chaos, None)
    }

    fn alone_with(chaos: bool, logdb: Option<&str>) -> Guarded {
        let program = Program {
            servers: vec!["http://127.0.0.1:1".to_string()],
            logdb: logdb.map(String::from),
            hosts: vec!["client".to_string()],
            chaos,
            token: None,
            log: Log::in_memory("client"),
            valve: Arc::new(Valve::default()),
        };
        app(program).unwrap()
    }

    async fn ask(app: &Guarded, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header("host", "client:3001");
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn without_any_node_it_lives_shows_its_page_and_its_log_and_is_not_ready() {
        let app = alone(true);
        assert_eq!(ask(&app, "GET", "/livez").await, (200, "ok\n".to_string()));
        assert_eq!(ask(&app, "GET", "/readyz").await.0, 503);
        assert_eq!(ask(&app, "GET", "/logging").await.0, 200);
        let (status, page) = ask(&app, "GET", "/").await;
        assert!(status == 200 && page.contains("<p role=\"alert\">The cluster cannot be shown"), "{page}");
        let (status, problem) = ask(&app, "POST", "/api/v1/jobs?class=echo").await;
        assert!(status == 503 && problem.contains("\"accepted\":false"), "{problem}");
    }

    #[tokio::test]
    async fn the_log_store_is_asked_without_any_node_and_its_absence_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let store =
            Router::new().route("/api/v1/logs", get(async |request: Request| request.uri().to_string()));
        let serving = tokio::spawn(async move { axum::serve(listener, store).await });
        let app = alone_with(true, Some(&url));
        let asked = ask(&app, "GET", "/api/v1/logs?job=x&limit=3").await;
        assert_eq!(asked, (200, "/api/v1/logs?job=x&limit=3".to_string()));
        serving.abort();
        let _ = serving.await;
        let (status, problem) = ask(&app, "GET", "/api/v1/logs").await;
        assert!(status == 503 && problem.contains("/problems/log-store-away"), "{problem}");
        let (status, problem) = ask(&alone(true), "GET", "/api/v1/logs").await;
        assert!(status == 503 && problem.contains("/problems/no-quorum"), "a node is asked: {problem}");
    }

    #[tokio::test]
    async fn its_figures_tell_what_became_of_calls() {
        let app = alone(true);
        ask(&app, "GET", "/api/v1/jobs").await;
        let (status, text) = ask(&app, "GET", "/metrics").await;
        assert_eq!(status, 200);
        for line in ["calls_total 1\n", "failed_tries_total 1\n", "unanswered_total 1\n", "open_calls 0\n"] {
            assert!(text.contains(&format!("\nunderstudy_relay_{line}")), "{line} in {text}");
        }
    }

    #[tokio::test]
    async fn self_is_client_web_and_it_comes_back_from_its_soft_crash() {
        let app = alone(true);
        let (status, told) = ask(&app, "POST", "/api/v1/nodes/self/stop").await;
        assert_eq!((status, told.as_str()), (200, r#"{"node":"client","stopped":true}"#));
        assert_eq!(ask(&app, "GET", "/").await.0, 503);
        assert!(ask(&app, "GET", "/logging").await.1.contains("CRASH :("));
        assert_eq!(ask(&app, "POST", "/api/v1/nodes/self/resume").await.0, 200);
        assert_eq!(ask(&app, "GET", "/").await.0, 200);
        assert_eq!(ask(&app, "GET", "/stop").await.1, "True");
        assert_eq!(ask(&app, "GET", "/stop").await.1, "False");
        let calm = alone(false);
        for (method, path) in [("POST", "/api/v1/nodes/self/stop"), ("GET", "/stop")] {
            let (status, problem) = ask(&calm, method, path).await;
            assert!(status == 403 && problem.contains("/problems/chaos-off"), "{problem}");
        }
    }
}
