//! The soft crash over HTTP: `GET /stop`, which toggles, and its two forms that do not.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::time::timeout;

use super::site::is_prefetch;
use super::{Door, Kind, Problem};

/// How long `/stop` and its kin wait for the sockets to follow.
const VALVE_PATIENCE: Duration = Duration::from_secs(10);

impl Door {
    /// `POST /api/v1/nodes/self/stop` and `/resume`, for containers that are no nodes.
    pub fn turns(&self) -> Router {
        Router::new().route("/api/v1/nodes/self/{turn}", post(turn)).with_state(self.clone())
    }

    /// Turns the valve and waits until whoever owns the sockets has followed, or ten seconds are over.
    ///
    /// # Errors
    /// [`Problem`] `chaos-off` when stopping is not enabled here.
    pub async fn turn(&self, stopped: bool) -> Result<(), Problem> {
        self.refuse_calm()?;
        self.inner.valve.turn(stopped);
        self.reached(stopped).await;
        Ok(())
    }

    /// Late is not wrong: from the turn on HTTP answers as asked.
    async fn reached(&self, stopped: bool) {
        let _ = timeout(VALVE_PATIENCE, self.inner.valve.reached(stopped)).await;
    }

    fn refuse_calm(&self) -> Result<(), Problem> {
        if self.inner.chaos {
            return Ok(());
        }
        let detail = format!("start this {} with --chaos to allow this", self.inner.word);
        Err(Problem::new(Kind::ChaosOff, detail))
    }
}

/// `GET /stop`. Part of [`Door::guard`].
pub(super) fn route(door: &Door) -> Router {
    Router::new().route("/stop", get(toggle)).with_state(door.clone())
}

/// Body `True` (now stopped) or `False`, nothing else; a page for a browser.
async fn toggle(State(door): State<Door>, method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    if method == Method::HEAD {
        let detail = "looking at /stop must not stop anything: use GET";
        return Err(Problem::new(Kind::MethodNotAllowed, detail));
    }
    door.refuse_calm()?;
    if is_prefetch(&headers) {
        return Err(Problem::new(Kind::CrossSite, "a prefetch must not stop anything"));
    }
    let stopped = door.inner.valve.toggle();
    door.reached(stopped).await;
    let word = if stopped { "True" } else { "False" };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !accept.contains("text/html") {
        return Ok(word.into_response());
    }
    let told = format!("This {} is {}.", door.inner.word, if stopped { "stopped" } else { "running" });
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{word}</title></head>\
         <body><h1>{word}</h1><p>{told} Loading this page again turns it.</p>\
         <p><a href=\"/logging\">Its log</a></p></body></html>"
    );
    Ok(Html(page).into_response())
}

async fn turn(State(door): State<Door>, Path(turn): Path<String>) -> Result<Response, Problem> {
    let stopped = match turn.as_str() {
        "stop" => true,
        "resume" => false,
        _ => return Err(Problem::new(Kind::NotFound, "a container can be told to stop and to resume")),
    };
    door.turn(stopped).await?;
    Ok(Json(json!({"node": door.inner.name, "stopped": stopped})).into_response())
}
