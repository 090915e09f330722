//! A pretend Marathon: the part of its REST API that starts applications and says where they run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes that it reads of a connection.
const BYTES: u64 = 64 << 10;
/// Headers that it reads.
const HEADERS: usize = 64;

/// What it was asked that changes something.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `POST` or `PUT`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The body.
    pub body: Value,
}

/// It listens on loopback until it is dropped.
#[derive(Debug)]
pub struct Marathon {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serves: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    tasks: BTreeMap<String, Value>,
    apps: BTreeSet<String>,
    told: Vec<Told>,
    broken: bool,
}

impl Marathon {
    /// Starts one that runs nothing.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let serves = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever hangs up is none of its business.
                let _ = serve(stream, &shared).await;
            }
        });
        Self { address, state, serves }
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on these are the tasks of an application: host, port and health of each.
    pub fn runs(&self, app: &str, tasks: &[(&str, u16, bool)]) {
        let task = |(n, (host, port, alive)): (usize, &(&str, u16, bool))| json!({"id": format!("{app}.{n}"), "host": host, "ports": [port], "healthCheckResults": [{"alive": alive}]});
        let tasks: Vec<Value> = tasks.iter().enumerate().map(task).collect();
        lock(&self.state).tasks.insert(app.to_string(), json!({ "tasks": tasks }));
    }

    /// From now on it answers 503.
    pub fn breaks(&self) {
        lock(&self.state).broken = true;
    }

    /// What it was told so far.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        lock(&self.state).told.clone()
    }
}

impl Drop for Marathon {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream.take(BYTES));
    let (mut first, mut length, mut wants_json) = (String::new(), 0, false);
    stream.read_line(&mut first).await?;
    for _ in 0..HEADERS {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim().to_ascii_lowercase();
        match line.split_once(':') {
            None => break,
            Some(("content-length", bytes)) => length = bytes.trim().parse().unwrap_or(0),
            Some(("accept", kinds)) => wants_json = kinds.contains("application/json"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    (&mut stream).take(length).read_to_end(&mut body).await?;
    let words: Vec<&str> = first.split_whitespace().collect();
    let (method, path) = (words.first().copied().unwrap_or(""), words.get(1).copied().unwrap_or(""));
    let (status, answer) = lock(state).answer(method, path, wants_json, &body);
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    let mut stream = stream.into_inner().into_inner();
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

impl State {
    fn answer(&mut self, method: &str, path: &str, wants_json: bool, body: &[u8]) -> (u16, String) {
        if self.broken {
            return (503, "no leader".to_string());
        }
        let app = path.strip_prefix("/v2/apps/");
        match (method, app.and_then(|app| app.strip_suffix("/tasks"))) {
            ("GET", Some(app)) => match self.tasks.get(app) {
                // Without that header the real one answers with a table of text.
                Some(tasks) if wants_json => (200, tasks.to_string()),
                Some(_) => (200, "amqp\t0\thost:1\n".to_string()),
                None => (404, json!({"message": "App does not exist"}).to_string()),
            },
            ("POST", _) if path == "/v2/apps" => self.change(method, path, body, false),
            ("PUT", None) if app.is_some_and(|app| self.apps.contains(app)) => {
                self.change(method, path, body, true)
            }
            _ => (404, String::new()),
        }
    }

    fn change(&mut self, method: &str, path: &str, body: &[u8], again: bool) -> (u16, String) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return (400, "no JSON".to_string()) };
        let Some(id) = body["id"].as_str().map(ToString::to_string) else {
            return (422, "no id".to_string());
        };
        if !self.apps.insert(id) && !again {
            return (409, json!({"message": "An app with id already exists."}).to_string());
        }
        self.told.push(Told { method: method.to_string(), path: path.to_string(), body: body.clone() });
        (if again { 200 } else { 201 }, body.to_string())
    }
}
