//! One job's page: where it stands, every attempt, what it was given and what it printed.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

use crate::api::Api;
use crate::form::{self, Token};
use crate::home::rendered;
use crate::limits::SHOWN_CHARS;
use crate::model::{Job, Outcome, Problem, Why};
use crate::words;

#[derive(Template)]
#[template(path = "job.html")]
struct Page {
    job: Job,
    outcome: Option<Outcome>,
    output: String,
    payload: String,
    size: String,
    why: Option<Why>,
    token: String,
    is_open: bool,
    may_retry: bool,
    answered_by: String,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Sorry {
    title: String,
    detail: String,
}

pub(crate) async fn page(State(api): State<Api>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(path) = path_of(&id) else { return sorry(&bad_id()) };
    let answer = api.get(&path).await;
    let job: Job = match answer.read() {
        Ok(job) => job,
        Err(problem) => return sorry(&problem),
    };
    let is_open = !matches!(job.state.as_str(), "succeeded" | "failed" | "cancelled");
    let why = if is_open { api.get(&format!("{path}/why?stale=1")).await.read::<Why>().ok() } else { None };
    let payload = api.get(&format!("{path}/payload?stale=1")).await;
    let payload = payload.bytes().map(|bytes| words::cut(&String::from_utf8_lossy(bytes), SHOWN_CHARS));
    let token = Token::of(&headers);
    let page = Page {
        output: job.result.as_ref().map(words::output).unwrap_or_default(),
        outcome: job.result.clone(),
        payload: payload.unwrap_or_else(|| job.payload_excerpt.clone()),
        size: words::bytes(job.payload_bytes),
        why,
        token: token.text.clone(),
        is_open,
        may_retry: matches!(job.state.as_str(), "failed" | "cancelled"),
        answered_by: answer.node,
        job,
    };
    rendered(StatusCode::OK, &page, token.cookie())
}

pub(crate) async fn cancel(api: State<Api>, id: Path<String>, request: Request) -> Response {
    told(api, id, "cancel", request).await
}

pub(crate) async fn retry(api: State<Api>, id: Path<String>, request: Request) -> Response {
    told(api, id, "retry", request).await
}

/// A button of the page: the API is told, and the job that it answers with is shown.
async fn told(State(api): State<Api>, Path(id): Path<String>, what: &str, request: Request) -> Response {
    let Some(path) = path_of(&id) else { return sorry(&bad_id()) };
    if let Err(problem) = form::pressed(request).await {
        return sorry(&problem);
    }
    let answer = api.post(&format!("{path}/{what}"), None, &json!({})).await;
    match answer.read::<Job>() {
        Ok(job) => Redirect::to(&format!("/jobs/{}", job.id)).into_response(),
        Err(problem) => sorry(&problem),
    }
}

/// The API's path of a job; none when the id is no id.
fn path_of(id: &str) -> Option<String> {
    let id: protocol::JobId = id.parse().ok()?;
    Some(format!("/api/v1/jobs/{id}"))
}

fn bad_id() -> Problem {
    let detail = "A job id is 26 characters of base 32.".to_string();
    Problem { status: 404, title: "There is no such job".to_string(), detail, ..Problem::default() }
}

pub(crate) fn sorry(problem: &Problem) -> Response {
    let code = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let title =
        if problem.title.is_empty() { "That did not work".to_string() } else { problem.title.clone() };
    rendered(code, &Sorry { title, detail: problem.detail.clone() }, None)
}
