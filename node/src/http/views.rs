//! What this node heard of all others and of itself, and what its agents say.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::submit::FieldError;
use serde_json::value::RawValue;

use super::desk::{Desk, aged};
use super::limits::SMALL_BODY_BYTES;
use super::params::{Params, idempotency_key};
use super::problem::{Kind, Problem};
use super::{body, shown};
use crate::news::{self, MESSAGE_VALUE_BYTES, Unsaid, WORD_BYTES, is_word};

/// `GET /views`: `{node: {kind: value}}`.
pub(super) async fn all(State(desk): State<Desk>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    Ok(json(desk.served.front.news.page()))
}

/// `GET /views/{node}/{kind}`: one value, and its age.
pub(super) async fn one(
    State(desk): State<Desk>,
    Path((node, kind)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let name = if node == "self" { &desk.served.settings.name } else { &node };
    let Some(shown) = desk.served.front.news.one(name, &kind) else {
        let (node, kind): (String, String) =
            (name.chars().take(200).collect(), kind.chars().take(200).collect());
        let detail = format!("nothing is known here of {kind:?} of a node {node:?}");
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let age_ms = u64::try_from(shown.age.as_millis()).unwrap_or(u64::MAX);
    Ok(aged(json(shown.value().to_string()), age_ms))
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// What an agent wants to say.
struct Given {
    kind: String,
    name: String,
    value: Box<RawValue>,
}

/// `POST /messages`: says it to whoever listens to this node.
pub(super) async fn say(
    State(desk): State<Desk>,
    uri: Uri,
    headers: HeaderMap,
    given: Body,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let key = idempotency_key(&headers)?;
    let bytes = body::read(&headers, given, "body", SMALL_BODY_BYTES).await?;
    // Looked at for its nesting; the value itself stays the text it is.
    body::json(&bytes)?;
    let Given { kind, name, value } = read(&bytes)?;
    match desk.served.front.news.say(&kind, &name, &value, key) {
        Ok(receipt) => Ok(shown::json(&receipt)),
        Err(Unsaid::Full) => {
            Err(Problem::new(Kind::Full, "too much waits to be told at this node").not_accepted())
        }
        Err(Unsaid::NoVoice) => Err(desk.no_view().not_accepted()),
        Err(Unsaid::KeyReused) => {
            Err(Problem::new(Kind::KeyReused, "this Idempotency-Key came with another message"))
        }
    }
}

fn read(bytes: &[u8]) -> Result<Given, Problem> {
    let fault = |field: &str, detail: String, limit: Option<usize>| FieldError {
        field: field.to_string(),
        detail,
        limit: limit.map(|limit| limit as u64),
    };
    let whole = "must be {\"kind\": …, \"name\": …, \"value\": …}";
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(bytes).map_err(|_| Problem::field(Kind::Invalid, "body", whole, None))?;
    let mut errors = Vec::new();
    for name in fields.keys().filter(|name| !matches!(name.as_str(), "kind" | "name" | "value")) {
        let detail = "is no field of a message; it has kind, name and value".to_string();
        errors.push(fault(&name.chars().take(100).collect::<String>(), detail, None));
    }
    let mut word = |field: &str| {
        let text = fields.get(field).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        if let Some(text) = text.filter(|text| is_word(text)) {
            return text;
        }
        let rule = format!("must be 1 to {WORD_BYTES} letters, digits, '.', '_' or '-', and not . or ..");
        errors.push(fault(field, rule, Some(WORD_BYTES)));
        String::new()
    };
    let (kind, name) = (word("kind"), word("name"));
    if news::Kind::named(&kind).is_some() {
        let detail = "common, static, dynamic and state are what the node tells of itself";
        errors.push(fault("kind", detail.to_string(), None));
    }
    let value = fields.get("value").cloned();
    match &value {
        None => errors.push(fault("value", "must be given; null is a value too".to_string(), None)),
        Some(value) if value.get().len() > MESSAGE_VALUE_BYTES => {
            let detail =
                format!("has {} bytes as JSON, the limit is {MESSAGE_VALUE_BYTES}", value.get().len());
            errors.push(fault("value", detail, Some(MESSAGE_VALUE_BYTES)));
        }
        Some(_) => {}
    }
    match value {
        Some(value) if errors.is_empty() => Ok(Given { kind, name, value }),
        _ => Err(Problem::fields(Kind::Invalid, errors)),
    }
}
