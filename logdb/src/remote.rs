//! The log store as other containers ask it: its `GET /api/v1/logs`, passed on, and the lines of one job.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use protocol::JobId;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::door::{Kind, Problem, Token};
use crate::limits;
use crate::record::Record;

/// A log store cannot be asked there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RemoteError {
    /// It is no address.
    #[error("log store {given:?} is no address such as http://127.0.0.1:3003")]
    Address {
        /// What was given.
        given: String,
    },
    /// The HTTP client could not be made.
    #[error("making the HTTP client for the log store: {0}")]
    Client(String),
}

/// Asks a log store over HTTP; clones share it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// `http://HOST:PORT` without a path.
    base: String,
    client: reqwest::Client,
    stopped: watch::Receiver<bool>,
}

/// A page of lines, as far as it is of interest here.
#[derive(Deserialize)]
struct Page {
    items: Vec<Record>,
}

impl Remote {
    /// The store at `base` (`http://HOST:PORT`), which may want a token. Answers under way end when `stopped` becomes true.
    ///
    /// # Errors
    /// [`RemoteError`] when `base` is no such address.
    pub fn new(
        base: &str,
        token: Option<&Token>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, RemoteError> {
        let bad = || RemoteError::Address { given: base.chars().take(200).collect() };
        let url = reqwest::Url::parse(base.trim()).map_err(|_| bad())?;
        let is_plain = url.scheme() == "http"
            && url.username().is_empty()
            && matches!(url.path(), "" | "/")
            && url.query().is_none();
        let (Some(host), Some(port), true) = (url.host_str(), url.port_or_known_default(), is_plain) else {
            return Err(bad());
        };
        let headers = token.map(|token| (header::AUTHORIZATION, token.bearer())).into_iter().collect();
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(limits::REMOTE_CONNECT_MS))
            .read_timeout(Duration::from_millis(limits::REMOTE_SILENCE_MS))
            .build()
            .map_err(|error| RemoteError::Client(error.to_string()))?;
        Ok(Self { base: format!("http://{host}:{port}"), client, stopped })
    }

    /// `GET /api/v1/logs` by proxy.
    pub fn router(&self) -> Router {
        let remote = self.clone();
        let logs = move |RawQuery(query): RawQuery| async move { remote.logs(query.as_deref()).await };
        Router::new().route("/api/v1/logs", get(logs))
    }

    /// What the store answers to `GET /api/v1/logs` with this query; 503 `log-store-away` when it gives no answer.
    pub async fn logs(&self, query: Option<&str>) -> Response {
        let answer = match self.ask(query.unwrap_or_default()).await {
            Ok(answer) => answer,
            Err(problem) => return problem.into_response(),
        };
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        let mut stopped = self.stopped.clone();
        let parts = answer.bytes_stream().take_until(async move {
            // An error means that the valve is gone, and with it the whole program.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        });
        let mut response = Response::new(Body::from_stream(parts));
        *response.status_mut() = status;
        let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// The newest `limit` lines of a job that the store has, newest first; nothing when it does not answer in time.
    pub async fn of_job(&self, job: JobId, limit: usize) -> Option<Vec<Record>> {
        let patience = Duration::from_millis(limits::REMOTE_JOB_MS);
        timeout(patience, self.page(job, limit)).await.ok().flatten()
    }

    async fn page(&self, job: JobId, limit: usize) -> Option<Vec<Record>> {
        let mut answer = self.ask(&format!("job={job}&limit={limit}")).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.ok()? {
            if bytes.len() + part.len() > limits::REMOTE_BYTES {
                return None;
            }
            bytes.extend_from_slice(&part);
        }
        serde_json::from_slice::<Page>(&bytes).ok().map(|page| page.items)
    }

    /// A good answer, or one that blames the query; whatever else is said is no answer.
    async fn ask(&self, query: &str) -> Result<reqwest::Response, Problem> {
        let url = format!("{}/api/v1/logs?{query}", self.base);
        let away =
            |why: String| Problem::new(Kind::LogStoreAway, format!("the log store at {}: {why}", self.base));
        let answer = self.client.get(url).send().await.map_err(|error| away(cause(&error)))?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::BAD_REQUEST => Ok(answer),
            status => Err(away(format!("it answers {status}"))),
        }
    }
}

/// The innermost reason: `connection refused` says more than that sending failed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it gives no answer in time".to_string();
    }
    let first = std::error::Error::source(error);
    let all = std::iter::successors(first, |error| error.source());
    all.last().map_or_else(|| "it cannot be asked".to_string(), ToString::to_string)
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
