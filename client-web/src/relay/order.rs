//! One call as it is handed on: read whole once, so that it can be repeated word for word at the next node.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answer::Flow;
use super::limits::{ANSWER_SILENCE, WRITE_PATIENCE};
use super::limits::{BODY_BYTES, BODY_PATIENCE, BODY_UNIT, BODY_UNITS, EVENT_SILENCE, READ_PATIENCE};
use super::problem::{Kind, Problem};
use crate::form;

/// What of a request's head is a node's business. Marks of a browser are not: they were judged at this door, by its own name.
const HANDED_ON: [HeaderName; 8] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::RANGE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
];

/// One call.
pub(super) struct Order {
    pub(super) method: Method,
    /// Path and query, beginning with `/api/`.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The key it is repeated with: the caller's, else ours. None for reads.
    pub(super) key: Option<String>,
    /// What the caller wants to wait for the end of a job.
    pub(super) wait: Duration,
    /// Its seat among all calls, held until the answer is through.
    pub(super) seat: Option<OwnedSemaphorePermit>,
    /// Its room among all bodies.
    _room: Option<OwnedSemaphorePermit>,
}

impl Order {
    /// Reads the request; a body is bounded, and waits for room among all bodies held.
    pub(super) async fn read(request: Request, room: &Arc<Semaphore>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let path = path_of(&parts.uri)?;
        let mut headers = HeaderMap::new();
        for name in &HANDED_ON {
            for value in parts.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let is_write = !matches!(parts.method, Method::GET | Method::HEAD);
        let key = if is_write { keyed(&mut headers) } else { None };
        let wait = wait_of(parts.uri.query().unwrap_or(""), &headers);
        let (room, body) =
            if is_write { held(room, &parts.headers, body).await? } else { (None, Bytes::new()) };
        Ok(Self { method: parts.method, path, headers, body, key, wait, seat: None, _room: room })
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Whether it may be said a second time when the first may have been heard.
    pub(super) fn is_repeatable(&self) -> bool {
        // To hand the lead over twice moves it twice; a message said through two nodes is said by both.
        let goes_by_node = ["/api/v1/leader/", "/api/v1/messages"].iter().any(|at| self.path.starts_with(at));
        !self.is_write() || (self.key.is_some() && !goes_by_node)
    }

    /// Whether it submits one job.
    pub(super) fn is_submission(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or("");
        self.method == Method::POST && path == "/api/v1/jobs"
    }

    /// How long a node may take to begin its answer.
    pub(super) fn patience(&self) -> Duration {
        self.wait + if self.is_write() { WRITE_PATIENCE } else { READ_PATIENCE }
    }

    /// How its answer may come.
    pub(super) fn flow(&self) -> Flow {
        let is_endless = self.path.starts_with("/api/v1/events");
        Flow { silence: if is_endless { EVENT_SILENCE } else { ANSWER_SILENCE }, is_endless }
    }
}

/// Path and query of a call to the API. A path that means another one once it is tidied up could leave the API.
fn path_of(uri: &Uri) -> Result<String, Problem> {
    let plain = uri.path().to_ascii_lowercase().replace("%2e", ".").replace('\\', "/");
    if plain.split('/').any(|part| matches!(part, "." | "..")) || !plain.starts_with("/api/") {
        return Err(Problem::new(Kind::Malformed, "the path must not have . or .. as a part").not_accepted());
    }
    Ok(uri.path_and_query().map_or("/", |path| path.as_str()).to_string())
}

/// The key of a write; where the caller brought none, one is made now, before the first try.
fn keyed(headers: &mut HeaderMap) -> Option<String> {
    if let Some(key) = headers.get("idempotency-key") {
        return key.to_str().ok().map(str::to_string);
    }
    let key = Some(form::random()).filter(|key| !key.is_empty())?;
    headers.insert("idempotency-key", HeaderValue::try_from(&key).ok()?);
    Some(key)
}

async fn held(
    room: &Arc<Semaphore>,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<(Option<OwnedSemaphorePermit>, Bytes), Problem> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let bytes: usize = told.unwrap_or(BODY_BYTES);
    if bytes > BODY_BYTES {
        return Err(too_large().not_accepted());
    }
    let units = u32::try_from((bytes / BODY_UNIT + 1).min(BODY_UNITS)).unwrap_or(u32::MAX);
    let read = async {
        let seat = Arc::clone(room).acquire_many_owned(units).await.ok();
        // No more than was told can come; without a word of it, no more than the limit.
        (seat, to_bytes(body, bytes).await)
    };
    match timeout(BODY_PATIENCE, read).await {
        Ok((seat, Ok(body))) => Ok((seat, body)),
        Ok((_, Err(error))) if told.is_none() && is_over_limit(&error) => Err(too_large().not_accepted()),
        Ok((_, Err(error))) => {
            Err(Problem::new(Kind::Malformed, format!("reading the body: {error}")).not_accepted())
        }
        Err(_) => {
            let patience_s = BODY_PATIENCE.as_secs();
            Err(Problem::new(Kind::Malformed, format!("the body did not arrive within {patience_s} s"))
                .not_accepted())
        }
    }
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, format!("body has more than {BODY_BYTES} bytes"))
}

fn is_over_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("limit"))
}

/// What `?wait=` or `Prefer: wait=` asks for; a value that makes no sense is the node's to refuse.
fn wait_of(query: &str, headers: &HeaderMap) -> Duration {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("wait="));
    let prefer = || {
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut parts = values.flat_map(|value| value.split([',', ';']));
        parts.find_map(|part| part.trim().strip_prefix("wait=")).map(str::to_string)
    };
    let asked = asked.map(str::to_string).or_else(prefer).unwrap_or_default();
    let wait_ms = protocol::duration::parse_seconds_or_duration_ms(&asked).unwrap_or(0);
    Duration::from_millis(wait_ms.min(protocol::limits::WAIT_MS))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn order(request: axum::http::request::Builder, body: Body) -> Result<Order, Problem> {
        Order::read(request.body(body).unwrap(), &Arc::new(Semaphore::new(BODY_UNITS))).await
    }

    #[tokio::test]
    async fn a_write_has_a_key_before_it_is_handed_on_and_a_read_has_none() {
        let own = order(Request::post("/api/v1/jobs").header("idempotency-key", "mine"), Body::empty()).await;
        assert_eq!(own.unwrap().key.as_deref(), Some("mine"));
        let made = order(Request::post("/api/v1/jobs"), Body::from("x")).await.unwrap();
        assert_eq!(made.headers["idempotency-key"].to_str().unwrap(), made.key.as_deref().unwrap());
        assert_eq!((made.key.as_ref().unwrap().len(), &made.body[..]), (32, &b"x"[..]));
        assert!(order(Request::get("/api/v1/jobs"), Body::empty()).await.unwrap().key.is_none());
    }

    #[tokio::test]
    async fn marks_of_the_browser_stay_here() {
        let request = Request::post("/api/v1/jobs")
            .header("origin", "http://localhost:3001")
            .header("cookie", "a=b")
            .header("host", "localhost:3001")
            .header("prefer", "wait=7");
        let order = order(request, Body::empty()).await.unwrap();
        assert_eq!(order.headers.len(), 2, "{:?}", order.headers);
        assert_eq!(order.wait, Duration::from_secs(7));
        assert!(order.patience() > order.wait);
    }

    #[tokio::test]
    async fn a_path_cannot_climb_out_of_the_api() {
        for path in ["/api/v1/../../stop", "/api/v1/%2e%2E/%2e./stop", "/api/./stop", "/stop"] {
            assert!(order(Request::get(path), Body::empty()).await.is_err(), "{path}");
        }
        let fine = order(Request::get("/api/v1/jobs?q=../x"), Body::empty()).await.unwrap();
        assert_eq!(fine.path, "/api/v1/jobs?q=../x");
    }

    #[tokio::test]
    async fn a_body_is_bounded_with_and_without_its_length() {
        let large = vec![b'x'; BODY_BYTES + 1];
        let told = Request::post("/api/v1/jobs").header("content-length", large.len());
        assert!(order(told, Body::empty()).await.is_err(), "by its word alone");
        assert!(order(Request::post("/api/v1/jobs"), Body::from(large)).await.is_err());
    }

    #[tokio::test]
    async fn the_lead_is_not_handed_over_twice_and_nothing_is_said_by_two() {
        for path in ["/api/v1/leader/transfer", "/api/v1/messages"] {
            let once = order(Request::post(path), Body::empty()).await.unwrap();
            assert!(!once.is_repeatable(), "{path}");
        }
        assert!(order(Request::post("/api/v1/jobs"), Body::empty()).await.unwrap().is_repeatable());
    }
}
