//! Stopping and resuming a node without a script: a page that asks, and a form that does it.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use crate::api::Api;
use crate::form::{self, Token};
use crate::home::rendered;
use crate::job::sorry;
use crate::limits::NODE_NAME_BYTES;
use crate::model::Problem;

#[derive(Template)]
#[template(path = "turn.html")]
struct Page {
    name: String,
    is_stop: bool,
    token: String,
}

/// What of a node is to be turned.
struct Turn {
    name: String,
    is_stop: bool,
}

impl Turn {
    fn read(name: String, turn: &str) -> Option<Self> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = (1..=NODE_NAME_BYTES).contains(&name.len())
            && name.chars().all(good)
            && !matches!(name.as_str(), "." | "..");
        let is_stop = match turn {
            "stop" => true,
            "resume" => false,
            _ => return None,
        };
        is_name.then_some(Self { name, is_stop })
    }

    fn path(&self) -> String {
        format!("/api/v1/nodes/{}/{}", self.name, if self.is_stop { "stop" } else { "resume" })
    }
}

/// Asks whether it is meant.
pub(crate) async fn ask(Path((name, turn)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(turn) = Turn::read(name, &turn) else { return sorry(&unknown()) };
    let token = Token::of(&headers);
    let page = Page { name: turn.name, is_stop: turn.is_stop, token: token.text.clone() };
    rendered(StatusCode::OK, &page, token.cookie())
}

/// Does it, and leads back to the nodes.
pub(crate) async fn turn(
    State(api): State<Api>,
    Path((name, turn)): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some(turn) = Turn::read(name, &turn) else { return sorry(&unknown()) };
    if let Err(problem) = form::pressed(request).await {
        return sorry(&problem);
    }
    match api.post(&turn.path(), None, &json!({})).await.read::<Value>() {
        Ok(_) => Redirect::to("/").into_response(),
        Err(problem) => sorry(&problem),
    }
}

fn unknown() -> Problem {
    let detail = "A node has a name and can be told to stop and to resume.".to_string();
    Problem { status: 404, title: "There is no such page".to_string(), detail, ..Problem::default() }
}
