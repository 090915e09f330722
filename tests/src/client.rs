//! A client as the documents ask for it: makes its key before the first try, repeats with it, tries another node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long a client repeats before it gives up.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer that was no success, kept so that a test can say which ones a user may see.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who said it.
    pub url: String,
    /// With which status.
    pub status: u16,
    /// The problem's name: the last part of its `type`.
    pub problem: String,
}

/// Talks to some nodes of a cluster.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    urls: Vec<String>,
    next: AtomicU64,
    told: Mutex<Vec<Told>>,
}

impl Client {
    /// A client of these nodes, asked in this order.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self { http: http(), urls, next: AtomicU64::new(0), told: Mutex::new(Vec::new()) }
    }

    /// Errors that live nodes answered, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no test thread panicked inside").clone()
    }

    /// Submits a job and repeats until it is acknowledged; the job as acknowledged.
    pub async fn submit(&self, job: &Value) -> Value {
        let key = fresh_key();
        self.repeat(Method::POST, "/api/v1/jobs", Some(job), Some(&key)).await
    }

    /// The job as it is now.
    pub async fn look(&self, id: &str) -> Value {
        self.repeat(Method::GET, &format!("/api/v1/jobs/{id}"), None, None).await
    }

    /// The job once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.repeat(Method::GET, &format!("/api/v1/jobs/{id}?wait=5s"), None, None).await;
            if has_ended(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "job {id} did not end: {job}");
        }
    }

    /// Submits a job and waits until it has ended.
    pub async fn run(&self, job: &Value) -> Value {
        let acknowledged = self.submit(job).await;
        self.ended(id(&acknowledged)).await
    }

    /// Asks node after node until one answers 2xx.
    async fn repeat(&self, method: Method, path: &str, body: Option<&Value>, key: Option<&str>) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let at = self.next.load(Ordering::Relaxed) as usize % self.urls.len();
            let url = format!("{}{path}", self.urls[at]);
            let mut request = self.http.request(method.clone(), &url);
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            match answer(request).await {
                Ok((status, body)) if status.is_success() => return body,
                Ok((status, body)) => self.note(&self.urls[at], status, &body),
                Err(_) => {}
            }
            assert!(
                Instant::now() < deadline,
                "{method} {path}: no success for {PATIENCE:?}: {:?}",
                self.told()
            );
            self.next.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn note(&self, url: &str, status: StatusCode, body: &Value) {
        let told = Told { url: url.to_string(), status: status.as_u16(), problem: problem(body).to_string() };
        // A stopped node is no live one: relays and clients take its answer for none.
        if told.problem != "stopped" {
            self.told.lock().expect("no test thread panicked inside").push(told);
        }
    }
}

/// An HTTP client whose requests end in any case.
#[must_use]
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
        .expect("an HTTP client")
}

/// Sends a request; its status and its body as JSON (text that is no JSON becomes a JSON text).
///
/// # Errors
/// When there was no answer.
pub async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), reqwest::Error> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// A key nobody used before.
#[must_use]
pub fn fresh_key() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |d| d.as_nanos());
    format!("test-{}-{nanos}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A job of a class with a payload.
#[must_use]
pub fn job(class: &str, payload: &str) -> Value {
    json!({"class": class, "payload": payload})
}

/// The id of a job.
///
/// # Panics
/// When the value is no job.
#[must_use]
pub fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap_or_else(|| panic!("no id in {job}"))
}

/// The name of a problem document: the last part of its type.
#[must_use]
pub fn problem(body: &Value) -> &str {
    body["type"].as_str().and_then(|t| t.rsplit('/').next()).unwrap_or("")
}

/// Whether a job has reached one of its final states.
#[must_use]
pub fn has_ended(job: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].iter().any(|state| job["state"] == *state)
}

/// The attempts of a job that are in this state.
#[must_use]
pub fn attempts(job: &Value, state: &str) -> usize {
    job["attempts"].as_array().map_or(0, |all| all.iter().filter(|a| a["state"] == state).count())
}
