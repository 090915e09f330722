//! The first page: a form for a job, the newest jobs, the nodes.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use crate::api::Api;
use crate::form::{self, Token};
use crate::model::{Job, Jobs, Node, Problem, Status};
use crate::{seed, words};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    status: Status,
    alert: Option<String>,
    error: Option<String>,
    token: String,
    key: String,
    class: String,
    payload: String,
    classes: BTreeSet<String>,
    nodes: Vec<Card>,
    /// For the script to make further cards of.
    blank: Card,
    rows: Vec<Row>,
    rev: String,
}

struct Card {
    node: Node,
    memory: String,
    ram_percent: u64,
}

struct Row {
    job: Job,
    result: String,
    node: String,
}

/// What the form sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Sent {
    token: String,
    key: String,
    class: String,
    payload: String,
    /// Which button was pressed.
    act: String,
}

pub(crate) async fn page(State(api): State<Api>, headers: HeaderMap) -> Response {
    let sent = Sent { class: "echo".to_string(), ..Sent::default() };
    show(&api, &headers, StatusCode::OK, sent, None).await
}

/// `POST /submit`: 303 to the job, or the page again with what went wrong and everything as it was typed.
pub(crate) async fn submit(State(api): State<Api>, request: Request) -> Response {
    let headers = request.headers().clone();
    let sent = match form::read::<Sent>(request).await {
        Ok(sent) => sent,
        Err((code, told)) => return show(&api, &headers, code, Sent::default(), Some(told)).await,
    };
    if !form::is_ours(&headers, &sent.token) {
        let told = "This form did not come from a page of this cluster, or its cookie is gone. Please submit it again.";
        return show(&api, &headers, StatusCode::FORBIDDEN, sent, Some(told.to_string())).await;
    }
    if sent.act == "generate" {
        let filled = Sent { class: "python".to_string(), payload: seed::payload(), ..Sent::default() };
        return show(&api, &headers, StatusCode::OK, filled, None).await;
    }
    // A form has text with lines ended by CR LF, whatever was typed; scripts want what was typed.
    let payload = sent.payload.replace("\r\n", "\n");
    let key = is_key(&sent.key).then_some(sent.key.as_str());
    let answer = api.post("/api/v1/jobs", key, &json!({"class": sent.class, "payload": payload})).await;
    match answer.read::<Job>() {
        Ok(job) => Redirect::to(&format!("/jobs/{}", job.id)).into_response(),
        Err(problem) => refused(&api, &headers, sent, &problem).await,
    }
}

async fn refused(api: &Api, headers: &HeaderMap, mut sent: Sent, problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let told = match problem.kind.as_str() {
        "/problems/key-reused" => {
            sent.key = String::new();
            let id = problem.id.as_deref().unwrap_or("another one");
            format!("This form was submitted before, as job {id}. Submit it again to make a new job of it.")
        }
        "/problems/outcome-unknown" => {
            "No answer came in time. The job may have been accepted; submitting this form again makes no second one.".to_string()
        }
        _ if problem.detail.is_empty() => format!("The job was not accepted ({}).", problem.status),
        _ => format!("The job was not accepted: {}.", problem.detail),
    };
    show(api, headers, status, sent, Some(told)).await
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 64 && key.bytes().all(|b| b.is_ascii_hexdigit())
}

async fn show(
    api: &Api,
    headers: &HeaderMap,
    code: StatusCode,
    sent: Sent,
    error: Option<String>,
) -> Response {
    let token = Token::of(headers);
    let answer = api.get("/api/v1/status").await;
    let node = answer.node.clone();
    let (mut status, alert) = match answer.read::<Status>() {
        Ok(status) => {
            let alert = alert(&status);
            (status, alert)
        }
        Err(problem) => {
            (Status::default(), Some(format!("The cluster cannot be shown: {}.", problem.detail)))
        }
    };
    if status.node.is_empty() {
        status.node = node;
    }
    let jobs: Jobs = api.get("/api/v1/jobs?limit=50").await.read().unwrap_or_default();
    let home = Home {
        alert,
        error,
        token: token.text.clone(),
        key: if is_key(&sent.key) { sent.key } else { form::random() },
        class: sent.class,
        payload: sent.payload,
        classes: status.nodes.iter().flat_map(|node| node.classes.iter().cloned()).collect(),
        nodes: status.nodes.iter().cloned().map(card).collect(),
        blank: card(Node::default()),
        rows: jobs.items.into_iter().map(row).collect(),
        rev: jobs.rev,
        status,
    };
    rendered(code, &home, token.cookie())
}

/// What everybody must know before anything else.
fn alert(status: &Status) -> Option<String> {
    if !status.quorum {
        return Some("No majority can be reached: new jobs wait, and what is shown may be old.".to_string());
    }
    let starting = "The cluster is starting: it takes jobs as soon as enough voters are in sync.";
    (!status.open).then(|| starting.to_string())
}

fn card(node: Node) -> Card {
    let (used, total) = (words::bytes(node.memory_used_bytes), words::bytes(node.memory_total_bytes));
    let ram_percent = node.memory_used_bytes.saturating_mul(100) / node.memory_total_bytes.max(1);
    Card { memory: format!("{used} of {total}"), ram_percent, node }
}

fn row(job: Job) -> Row {
    Row { result: words::result(&job), node: words::node(&job), job }
}

/// A page with its cookie.
pub(crate) fn rendered(code: StatusCode, page: &impl Template, cookie: Option<HeaderValue>) -> Response {
    let mut response = match page.render() {
        Ok(text) => (code, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "rendering a page");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n").into_response()
        }
    };
    let headers = response.headers_mut();
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}
