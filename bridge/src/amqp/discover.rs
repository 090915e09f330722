//! Where the server is, where something else knows it: a Marathon, or a command.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::limits;

/// How long either may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is asked for `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discover {
    /// Marathon's REST API: the first healthy task of an application, and the first of its ports.
    Marathon {
        /// `HOST:PORT` of Marathon.
        at: String,
        /// The application.
        app: String,
    },
    /// The first line this prints, run by `sh -c`.
    Command(String),
}

/// Nobody could say where the server is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// The flag cannot be read.
    #[error("must be marathon://HOST:PORT/APP, is {given:?}")]
    Form {
        /// What was given.
        given: String,
    },
    /// Nobody answered, or with an error.
    #[error("{who}: {why}")]
    Asking {
        /// Who was asked.
        who: String,
        /// What became of it.
        why: String,
    },
    /// The answer is no address.
    #[error("{who} answered {answer:?}, which is no HOST:PORT")]
    Answer {
        /// Who was asked.
        who: String,
        /// The beginning of what it said.
        answer: String,
    },
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    id: String,
    host: String,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    health_check_results: Vec<Health>,
}

#[derive(Deserialize)]
struct Health {
    alive: bool,
}

impl Discover {
    /// Reads `marathon://HOST:PORT/APP`.
    ///
    /// # Errors
    /// [`DiscoverError::Form`].
    pub fn marathon(text: &str) -> Result<Self, DiscoverError> {
        let form = || DiscoverError::Form { given: text.to_string() };
        let rest = text.strip_prefix("marathon://").ok_or_else(form)?;
        let (at, app) = rest.split_once('/').ok_or_else(form)?;
        host_and_port(at).ok_or_else(form)?;
        let app = app.trim_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
        if app.is_empty() || !app.chars().all(plain) {
            return Err(form());
        }
        Ok(Self::Marathon { at: at.to_string(), app: app.to_string() })
    }

    /// Host and port of the server, now.
    pub(super) async fn find(&self) -> Result<(String, u16), DiscoverError> {
        let asked = async {
            match self {
                Self::Marathon { at, app } => task_of(at, app).await,
                Self::Command(command) => line_of(command).await,
            }
        };
        let late = || DiscoverError::Asking { who: self.who(), why: "no answer in time".to_string() };
        let answer = timeout(PATIENCE, asked).await.map_err(|_| late())?;
        let answer = answer.map_err(|why| DiscoverError::Asking { who: self.who(), why })?;
        host_and_port(&answer).ok_or_else(|| DiscoverError::Answer {
            who: self.who(),
            answer: answer.chars().take(200).collect(),
        })
    }

    fn who(&self) -> String {
        match self {
            Self::Marathon { at, .. } => format!("the Marathon at {at}"),
            Self::Command(command) => format!("the command {command:?}"),
        }
    }
}

async fn task_of(at: &str, app: &str) -> Result<String, String> {
    let words = |error: reqwest::Error| error.without_url().to_string();
    let client = reqwest::Client::builder().no_proxy().build().map_err(words)?;
    let asked = client.get(format!("http://{at}/v2/apps/{app}/tasks")).header("accept", "application/json");
    let mut answer = asked.send().await.and_then(reqwest::Response::error_for_status).map_err(words)?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(words)? {
        if body.len() + part.len() > limits::DISCOVERED_BYTES {
            return Err(format!("its answer is longer than {} bytes", limits::DISCOVERED_BYTES));
        }
        body.extend_from_slice(&part);
    }
    let mut found: Tasks = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    // The same answer each time while nothing changes.
    found.tasks.sort_by(|one, other| one.id.cmp(&other.id));
    let healthy = |task: &&Task| task.health_check_results.iter().all(|health| health.alive);
    let task = found.tasks.iter().filter(healthy).find_map(|task| Some((&task.host, task.ports.first()?)));
    task.map(|(host, port)| format!("{host}:{port}"))
        .ok_or_else(|| format!("no healthy task of {app} has a port"))
}

async fn line_of(command: &str) -> Result<String, String> {
    let mut program = Command::new("sh");
    program.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let ended = program.output().await.map_err(|error| error.to_string())?;
    if !ended.status.success() {
        return Err(format!("it ended with {}", ended.status));
    }
    let printed = String::from_utf8_lossy(&ended.stdout);
    Ok(printed.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_string())
}

/// `HOST:PORT`, also in an address `amqp://HOST:PORT/…`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let rest = text.strip_prefix("amqp://").unwrap_or(text);
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = authority.rsplit_once(':')?;
    let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    Some((host.to_string(), port.parse().ok().filter(|port| *port > 0 && plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_marathon_names_host_port_and_application() {
        let (at, app) = ("m:8080".to_string(), "infra/amqp".to_string());
        assert_eq!(Discover::marathon("marathon://m:8080/infra/amqp/"), Ok(Discover::Marathon { at, app }));
        for bad in [
            "m:8080/amqp",
            "marathon://m/amqp",
            "marathon://m:8080",
            "marathon://m:8080/",
            "marathon://m:1/a?b",
        ] {
            assert!(
                Discover::marathon(bad).unwrap_err().to_string().contains("must be marathon://"),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn a_command_says_where_the_server_is() {
        let found = |command: &str| {
            let command = Discover::Command(command.to_string());
            async move { command.find().await.map_err(|error| error.to_string()) }
        };
        assert_eq!(found("echo; echo ' rabbit:5673 '; echo x").await, Ok(("rabbit".to_string(), 5_673)));
        assert_eq!(found("echo amqp://me:pw@[::1]:1/v").await, Ok(("[::1]".to_string(), 1)));
        assert!(found("exit 3").await.unwrap_err().contains("exit status: 3"));
        assert!(found("echo no").await.unwrap_err().contains("answered \"no\""));
        assert!(found("true").await.unwrap_err().contains("no HOST:PORT"));
    }

    #[tokio::test]
    async fn a_marathon_names_its_first_healthy_task() {
        let answer = r#"{"tasks":[{"id":"b","host":"h2","ports":[31002]},
            {"id":"a","host":"h1","ports":[31001],"healthCheckResults":[{"alive":false}]},
            {"id":"c","host":"h3","ports":[]}]}"#;
        let app = axum::Router::new().route("/v2/apps/amqp/tasks", axum::routing::get(async move || answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let marathon = |app: &str| Discover::marathon(&format!("marathon://{at}/{app}")).unwrap();
        assert_eq!(marathon("amqp").find().await, Ok(("h2".to_string(), 31_002)));
        let error = marathon("other").find().await.unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
    }
}
