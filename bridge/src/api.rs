//! The HTTP API as bridges and the command line use it: any of several nodes will do, and a repeat never makes a second job.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode, Url, header};
use serde_json::Value;

use crate::text::safe;

/// A node that does not take a connection in this time is passed over.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long one answer may take beyond what was asked of it; a write may wait 10 s for a leader.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// Pause before all servers are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// How long a write is repeated (with its key) and a waiting read goes on while nobody can answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request. One with a key may be repeated: the same key is the same job.
#[derive(Debug)]
pub struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
    key: Option<&'a str>,
    wait: Duration,
    patience: Duration,
    endless: bool,
}

impl<'a> Ask<'a> {
    /// Reads `path` (`/api/v1/…`).
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            key: None,
            wait: Duration::ZERO,
            patience: Duration::ZERO,
            endless: false,
        }
    }

    /// Changes something, under a key made once.
    #[must_use]
    pub fn post(path: &'a str, key: &'a str) -> Self {
        Self { method: Method::POST, key: Some(key), ..Self::get(path) }
    }

    /// With this JSON body.
    #[must_use]
    pub fn body(self, body: &'a Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The server was asked to take this long before it answers.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Asks again, all servers, for this long while none can answer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The answer may go on for ever.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { endless: true, ..self }
    }
}

/// Asks the cluster, by way of whichever server answers.
#[derive(Debug)]
pub struct Api {
    servers: Vec<Url>,
    http: reqwest::Client,
    /// Names the token, where one is wanted.
    token: Option<header::HeaderValue>,
    /// The server that answered last is asked first.
    preferred: AtomicUsize,
}

/// The servers named are none that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// There is none.
    #[error("--server names no server")]
    None,
    /// One is no address of HTTP.
    #[error("--server {text:?}: must be http://HOST:PORT")]
    NotHttp {
        /// What was given.
        text: String,
    },
    /// The HTTP client cannot be made.
    #[error("preparing HTTP: {why}")]
    Client {
        /// Why not.
        why: String,
    },
}

/// The system gave no random bytes for an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("making an idempotency key: {why}")]
pub struct KeyError {
    why: String,
}

/// What a refusal says (`application/problem+json`).
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    errors: Vec<FieldFault>,
    id: Option<String>,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
struct FieldFault {
    field: String,
    detail: String,
}

impl ApiError {
    /// Whether the same request, made again under the same key, may bring another answer.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::BadAnswer { .. } => true,
            // 429: the queue is full; 5xx: nobody can decide, or nobody knows.
            Self::Refused(problem) => problem.status >= 500 || problem.status == 429,
        }
    }
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answered.
    #[error("no node answered{}", tried.iter().map(|(at, why)| format!("\n  {at}: {why}")).collect::<String>())]
    NoAnswer {
        /// Each server and what went wrong there.
        tried: Vec<(Url, String)>,
    },
    /// A node answered that it cannot or will not.
    #[error("{}", .0.words())]
    Refused(Problem),
    /// The answer makes no sense.
    #[error("reading the answer of {server}: {detail}")]
    BadAnswer {
        /// Whose.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Problem {
    /// Its name: the last part of its type, `invalid` or `no-quorum`; empty when the answer was no problem document.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or("")
    }

    fn words(&self) -> String {
        let mut text = format!("{} ({} {})", safe(&self.detail), self.status, safe(self.name()));
        if self.detail.is_empty() {
            text = format!("{} {}", self.status, safe(&self.title));
        }
        for fault in &self.errors {
            text.push_str(&format!("\n  {}: {}", safe(&fault.field), safe(&fault.detail)));
        }
        if let Some(id) = &self.id {
            text.push_str(&format!("\n  job {}", safe(id)));
        }
        text
    }

    /// The HTTP status it came with.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The cluster cannot decide now; it may soon.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        matches!(self.name(), "no-quorum" | "outcome-unknown" | "starting")
    }
}

/// A new idempotency key.
///
/// # Errors
/// [`KeyError`] when the system gives no random bytes.
pub fn new_key() -> Result<String, KeyError> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|cause| KeyError { why: cause.to_string() })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Api {
    /// Will ask these servers (`http://HOST:PORT`), in this order.
    ///
    /// # Errors
    /// [`ServerError`], naming the server that is none.
    pub fn new(servers: Vec<String>) -> Result<Self, ServerError> {
        let parsed = servers.iter().map(|server| parse_server(server)).collect::<Result<Vec<_>, _>>()?;
        if parsed.is_empty() {
            return Err(ServerError::None);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            // Nodes are near: a proxy of the environment is meant for other places.
            .no_proxy()
            .user_agent(concat!("understudy/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = http.map_err(|cause| ServerError::Client { why: plain(&cause) })?;
        Ok(Self { servers: parsed, http, token: None, preferred: AtomicUsize::new(0) })
    }

    /// It, with this value of `Authorization` in every request.
    #[must_use]
    pub fn named(self, token: Option<header::HeaderValue>) -> Self {
        Self { token, ..self }
    }

    /// The server that is asked first now.
    #[must_use]
    pub fn server(&self) -> &Url {
        &self.servers[self.preferred.load(Ordering::Relaxed) % self.servers.len()]
    }

    /// Asks and reads a JSON answer.
    ///
    /// # Errors
    /// [`ApiError`], as [`Api::ask`], and when the answer is no JSON.
    pub async fn json(&self, ask: Ask<'_>) -> Result<Value, ApiError> {
        let answer = self.ask(ask).await?;
        let server = answer.url().to_string();
        let bad = |cause: reqwest::Error| ApiError::BadAnswer { server, detail: plain(&cause) };
        answer.json().await.map_err(bad)
    }

    /// Asks until some server gives a real answer, good (returned) or bad (an error).
    ///
    /// # Errors
    /// [`ApiError`] when nobody answered within the request's patience, or somebody refused.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Response, ApiError> {
        let until = Instant::now() + ask.patience;
        loop {
            let failure = match self.round(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let hopeless = match &failure {
                ApiError::NoAnswer { .. } => false,
                ApiError::Refused(problem) => !problem.is_for_now(),
                ApiError::BadAnswer { .. } => true,
            };
            if hopeless || Instant::now() + ROUND_PAUSE >= until {
                return Err(failure);
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// Each server once. A node that is stopped counts as one that does not answer.
    async fn round(&self, ask: &Ask<'_>) -> Result<Response, ApiError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        for at in (first..first + self.servers.len()).map(|at| at % self.servers.len()) {
            let server = &self.servers[at];
            match self.send(ask, server).await {
                Ok(answer) if answer.status().is_success() => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => {
                    let problem = problem_of(answer).await;
                    if problem.name() != "stopped" {
                        return Err(ApiError::Refused(problem));
                    }
                    tried.push((server.clone(), "it is stopped".to_string()));
                }
                Err(cause) => tried.push((server.clone(), plain(&cause))),
            }
        }
        Err(ApiError::NoAnswer { tried })
    }

    async fn send(&self, ask: &Ask<'_>, server: &Url) -> reqwest::Result<Response> {
        let url = format!("{}{}", server.as_str().trim_end_matches('/'), ask.path);
        let mut request = self.http.request(ask.method.clone(), url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        if let Some(key) = ask.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        if !ask.endless {
            request = request.timeout(ask.wait + ANSWER_PATIENCE);
        }
        request.header(header::ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1").send().await
    }
}

fn parse_server(text: &str) -> Result<Url, ServerError> {
    let with_scheme = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    match Url::parse(&with_scheme) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err(ServerError::NotHttp { text: text.to_string() }),
    }
}

async fn problem_of(answer: Response) -> Problem {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let read = serde_json::from_str::<Problem>(&text).ok().filter(|problem| !problem.kind.is_empty());
    read.unwrap_or_else(|| Problem {
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("unknown status").to_string(),
        kind: if status == StatusCode::SERVICE_UNAVAILABLE { "unavailable".into() } else { String::new() },
        detail: text.lines().next().unwrap_or("").chars().take(300).collect(),
        ..Problem::default()
    })
}

/// The innermost cause, which is the one that helps.
fn plain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "no answer in time".to_string() } else { cause.to_string() }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
