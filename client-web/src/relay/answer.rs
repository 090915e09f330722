//! What a node's answer means: ours to pass on, or a reason to ask another.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::limits::PROBLEM_BYTES;
use super::order::Order;

/// What became of one try.
pub(super) enum Tried {
    /// This is the answer.
    Answered(Response),
    /// Nothing of it was heard there.
    Unreachable,
    /// The node cannot say, and nothing will come of it; what it said, unless that is only that it is stopped.
    Declined(Option<Response>),
    /// It may have been heard; the id the node told for it, if any.
    Unknown(Option<String>),
}

/// Headers that belong to one connection, and the length that is told anew.
const OF_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Judges an answer. Only a 503 is read here; every other body streams through.
pub(super) async fn judge(
    answer: reqwest::Response,
    order: &mut Order,
    stopped: watch::Receiver<bool>,
) -> Tried {
    let status = answer.status();
    let mut headers = answer.headers().clone();
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
    if status != StatusCode::SERVICE_UNAVAILABLE {
        let body = passed_through(answer, order.flow(), stopped, order.seat.take());
        return Tried::Answered(response(status, headers, body));
    }
    let Ok(bytes) = timeout(order.patience(), bounded(answer)).await else { return Tried::Unknown(None) };
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let word = problem["type"].as_str().unwrap_or("").trim_start_matches("/problems/").to_string();
    let is_refused = !order.is_write() || problem["accepted"] == false;
    match word.as_str() {
        "stopped" if is_refused => Tried::Declined(None),
        "starting" | "no-quorum" if is_refused => {
            Tried::Declined(Some(response(status, headers, Body::from(bytes))))
        }
        "log-store-away" => Tried::Answered(response(status, headers, Body::from(bytes))),
        // Whatever else it means, it does not say that nothing will come of it.
        _ if order.is_write() => Tried::Unknown(problem["id"].as_str().map(str::to_string)),
        _ => Tried::Declined(Some(response(status, headers, Body::from(bytes)))),
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn bounded(mut answer: reqwest::Response) -> Bytes {
    let mut bytes = Vec::new();
    while let Ok(Some(part)) = answer.chunk().await {
        if bytes.len() + part.len() > PROBLEM_BYTES {
            break;
        }
        bytes.extend_from_slice(&part);
    }
    Bytes::from(bytes)
}

/// How a body may come.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// Silence that ends it.
    pub(super) silence: Duration,
    /// Whether its reader goes on elsewhere after any end, as one of events does.
    pub(super) is_endless: bool,
}

/// The body as it comes, until it ends, falls silent for too long, or this container is stopped. The seat of the call is held
/// until then.
fn passed_through(
    answer: reqwest::Response,
    flow: Flow,
    stopped: watch::Receiver<bool>,
    seat: Option<OwnedSemaphorePermit>,
) -> Body {
    let parts =
        stream::try_unfold((answer, stopped, seat), move |(mut answer, mut stopped, seat)| async move {
            let part = tokio::select! {
                // An error means that the valve is gone, and with it the whole program.
                _ = stopped.wait_for(|stopped| *stopped) => Err(std::io::Error::other("stopped")),
                part = timeout(flow.silence, answer.chunk()) => match part {
                    Ok(part) => part.map_err(|error| std::io::Error::other(error.without_url())),
                    Err(_) => Err(std::io::Error::other("the node fell silent")),
                },
            };
            match part {
                Ok(Some(part)) => Ok(Some((part, (answer, stopped, seat)))),
                Ok(None) => Ok(None),
                Err(_) if flow.is_endless => Ok(None),
                // A reader must not take a part for the whole: the connection is cut.
                Err(error) => Err(error),
            }
        });
    Body::from_stream(parts)
}
