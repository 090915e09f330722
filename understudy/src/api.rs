//! The HTTP API as the command line uses it: any of several nodes will do, and a repeat never makes a second job.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode, Url, header};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::show;

/// A node that does not take a connection in this time is passed over.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long one answer may take beyond what was asked of it; a write may wait 10 s for a leader.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// Pause before all servers are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// How long a write is repeated (with its key) and a waiting read goes on while nobody can answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A request. One with a key may be repeated: the same key is the same job.
pub(crate) struct Ask<'a> {
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
    pub(crate) fn get(path: &'a str) -> Self {
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
    pub(crate) fn post(path: &'a str, key: &'a str) -> Self {
        Self { method: Method::POST, key: Some(key), ..Self::get(path) }
    }

    /// With this JSON body.
    pub(crate) fn body(self, body: &'a Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The server was asked to take this long before it answers.
    pub(crate) fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Asks again, all servers, for this long while none can answer.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The answer may go on for ever.
    pub(crate) fn endless(self) -> Self {
        Self { endless: true, ..self }
    }
}

/// Asks the cluster, by way of whichever server answers.
pub(crate) struct Api {
    servers: Vec<Url>,
    http: reqwest::Client,
    /// The server that answered last is asked first.
    preferred: AtomicUsize,
}

/// What a refusal says (`application/problem+json`).
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
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

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
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
    fn name(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or("")
    }

    fn words(&self) -> String {
        let mut text = format!("{} ({} {})", show::safe(&self.detail), self.status, show::safe(self.name()));
        if self.detail.is_empty() {
            text = format!("{} {}", self.status, show::safe(&self.title));
        }
        for fault in &self.errors {
            text.push_str(&format!("\n  {}: {}", show::safe(&fault.field), show::safe(&fault.detail)));
        }
        if let Some(id) = &self.id {
            text.push_str(&format!("\n  job {}", show::safe(id)));
        }
        text
    }

    /// The cluster cannot decide now; it may soon.
    fn is_for_now(&self) -> bool {
        matches!(self.name(), "no-quorum" | "outcome-unknown" | "starting")
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match &error {
            ApiError::Refused(problem) if problem.is_for_now() => Exit::NoQuorum,
            _ => Exit::Error,
        };
        Self { exit, message: error.to_string() }
    }
}

/// A new idempotency key.
pub(crate) fn new_key() -> Result<String, Failure> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|cause| Failure::error(format!("making an idempotency key: {cause}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Api {
    /// Will ask these servers (`http://HOST:PORT`), in this order.
    pub(crate) fn new(servers: Vec<String>) -> Result<Self, Failure> {
        let parsed = servers.iter().map(|server| parse_server(server)).collect::<Result<Vec<_>, _>>()?;
        if parsed.is_empty() {
            return Err(Failure::usage("--server names no server"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            // Nodes are near: a proxy of the environment is meant for other places.
            .no_proxy()
            .user_agent(concat!("understudy/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = http.map_err(|cause| Failure::error(format!("preparing HTTP: {cause}")))?;
        Ok(Self { servers: parsed, http, preferred: AtomicUsize::new(0) })
    }

    /// The server that is asked first now.
    pub(crate) fn server(&self) -> &Url {
        &self.servers[self.preferred.load(Ordering::Relaxed) % self.servers.len()]
    }

    /// Asks and reads a JSON answer.
    pub(crate) async fn json(&self, ask: Ask<'_>) -> Result<Value, ApiError> {
        let answer = self.ask(ask).await?;
        let server = answer.url().to_string();
        let bad = |cause: reqwest::Error| ApiError::BadAnswer { server, detail: plain(&cause) };
        answer.json().await.map_err(bad)
    }

    /// Asks until some server gives a real answer, good (returned) or bad (an error).
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Response, ApiError> {
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

fn parse_server(text: &str) -> Result<Url, Failure> {
    let with_scheme = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    match Url::parse(&with_scheme) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err(Failure::usage(format!("--server {text:?}: must be http://HOST:PORT"))),
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
