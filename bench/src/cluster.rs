//! A cluster of our own: three nodes as child processes on loopback, in a scratch folder that goes with them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

use crate::lab::BenchError;
use crate::limits::{LOOK, NODES, PATIENCE, SLOTS};
use crate::line::Line;

/// The nodes. Dropped, they are killed and their folder is removed.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    folder: PathBuf,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    words: Vec<String>,
    http: String,
    process: Child,
}

/// What a node says of the cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    leader: Option<String>,
    nodes: Vec<Seen>,
    pub(crate) jobs: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Seen {
    name: String,
    url: String,
    alive: bool,
    voter: bool,
}

impl Cluster {
    /// Starts it with this program and waits until three voters serve. Each node runs so many jobs at once.
    ///
    /// # Errors
    /// [`BenchError`]: a node does not start, or the cluster does not form in time.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self, BenchError> {
        let failed = |error: std::io::Error| BenchError::new("starting nodes", error);
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(failed)?;
        let ports = free_ports(NODES * PORTS_A_NODE)?;
        let mut cluster = Self { program: program.to_owned(), folder: folder.to_owned(), nodes: Vec::new() };
        let https: Vec<String> =
            ports.chunks(PORTS_A_NODE).map(|own| format!("127.0.0.1:{}", own[0])).collect();
        for (place, own) in ports.chunks(PORTS_A_NODE).enumerate() {
            let role = if place == 0 { "master" } else { "worker" };
            let join: Vec<&str> = https
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != place)
                .map(|(_, http)| http.as_str())
                .collect();
            let mut words = words(role, place, own, folder);
            words.extend(["--expect=3".to_owned(), format!("--slots={SLOTS}")]);
            // The first founds at once: there is nobody to ask yet.
            let again = [words.clone(), vec![format!("--join={}", join.join(","))]].concat();
            cluster.launch(place, if place == 0 { words } else { again.clone() }, &https[place])?;
            cluster.nodes[place].words = again;
        }
        cluster.whole().await?;
        Ok(cluster)
    }

    fn launch(&mut self, place: usize, words: Vec<String>, http: &str) -> Result<(), BenchError> {
        let name = format!("n{place}");
        let process = spawn(&self.program, &self.folder.join(&name), &words)?;
        self.nodes.push(Node { name, words, http: http.to_owned(), process });
        Ok(())
    }

    /// Waits until all its nodes are voters that live.
    async fn whole(&mut self) -> Result<(), BenchError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            for node in &mut self.nodes {
                if let Ok(Some(status)) = node.process.try_wait() {
                    let text = fs::read_to_string(self.folder.join(&node.name).join("console.log"));
                    let why = format!("{} ended ({status}): {}", node.name, text.unwrap_or_default());
                    return Err(BenchError::new("starting nodes", why));
                }
            }
            let mut ready = 0;
            for node in &self.nodes {
                let status = status(&node.http).await;
                let voters = status
                    .ok()
                    .filter(|status| status.leader.is_some())
                    .map_or(0, |status| status.nodes.iter().filter(|seen| seen.alive && seen.voter).count());
                ready += usize::from(voters >= NODES);
            }
            if ready >= self.nodes.len().min(NODES) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(BenchError::new("starting nodes", format!("no {NODES} voters within {} s", PATIENCE.as_secs())))
    }

    /// HTTP addresses, the leader's first.
    ///
    /// # Errors
    /// [`BenchError`]: nobody leads.
    pub async fn doors(&self) -> Result<Vec<String>, BenchError> {
        doors(&self.nodes.iter().map(|node| node.http.clone()).collect::<Vec<_>>()).await
    }

    /// Its processes, by door.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u32)> {
        self.nodes.iter().map(|node| (node.http.clone(), node.process.id())).collect()
    }

    /// Kills the node behind this door as a power cut would.
    ///
    /// # Errors
    /// [`BenchError`]: there is none.
    pub fn kill(&mut self, door: &str) -> Result<(), BenchError> {
        let node = self.nodes.iter_mut().find(|node| node.http == door);
        let node =
            node.ok_or_else(|| BenchError::new("killing a node", format!("{door} is none of ours")))?;
        // `kill` is SIGKILL; the wait reaps it.
        node.process
            .kill()
            .and_then(|()| node.process.wait())
            .map_err(|e| BenchError::new("killing a node", e))?;
        Ok(())
    }

    /// Starts a killed node again and waits until all are there.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn revive(&mut self, door: &str) -> Result<(), BenchError> {
        let node = self.nodes.iter_mut().find(|node| node.http == door);
        let node =
            node.ok_or_else(|| BenchError::new("starting a node", format!("{door} is none of ours")))?;
        node.process = spawn(&self.program, &self.folder.join(&node.name), &node.words)?;
        self.whole().await
    }

    /// Adds a worker that alone has the header `bench=1`.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn add_worker(&mut self, slots: usize) -> Result<(), BenchError> {
        let place = self.nodes.len();
        let own = free_ports(PORTS_A_NODE)?;
        let join: Vec<&str> = self.nodes.iter().map(|node| node.http.as_str()).collect();
        let mut words = words("worker", place, &own, &self.folder);
        words.extend([
            format!("--slots={slots}"),
            "--header=bench=1".to_owned(),
            format!("--join={}", join.join(",")),
        ]);
        self.launch(place, words, &format!("127.0.0.1:{}", own[0]))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // It may have ended by itself; there is nothing else to do for it.
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// HTTP, broker, link, news, clients, workers.
const PORTS_A_NODE: usize = 6;

fn words(role: &str, place: usize, ports: &[u16], folder: &Path) -> Vec<String> {
    let mut words = vec![
        role.to_owned(),
        format!("--name=n{place}"),
        format!("--data={}", folder.join(format!("n{place}")).join("data").display()),
        format!("--listen=127.0.0.1:{}", ports[0]),
        "--leash".to_owned(),
    ];
    let flags = ["broker", "link", "pub", "clients", "workers"];
    words.extend(flags.iter().zip(&ports[1..]).map(|(flag, port)| format!("--{flag}-port={port}")));
    words
}

fn spawn(program: &Path, folder: &Path, words: &[String]) -> Result<Child, BenchError> {
    let failed = |error: std::io::Error| BenchError::new("starting a node", error);
    fs::create_dir_all(folder).map_err(failed)?;
    let console =
        File::options().create(true).append(true).open(folder.join("console.log")).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UNDERSTUDY_"))
    {
        command.env_remove(name);
    }
    // The pipe is the leash: when this process ends, so do its nodes.
    command.stdin(Stdio::piped()).stdout(console.try_clone().map_err(failed)?).stderr(console);
    command.spawn().map_err(failed)
}

/// Ports that nobody has just now.
fn free_ports(count: usize) -> Result<Vec<u16>, BenchError> {
    let failed = |error: std::io::Error| BenchError::new("looking for free ports", error);
    // All are held until the last is found, so that none comes twice.
    let held: Result<Vec<TcpListener>, _> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let ports = held.map_err(failed)?.iter().map(|held| held.local_addr().map(|at| at.port())).collect();
    std::io::Result::<Vec<u16>>::map_err(ports, failed)
}

/// These addresses, the leader's first.
///
/// # Errors
/// [`BenchError`]: none of them knows a leader.
pub async fn doors(addresses: &[String]) -> Result<Vec<String>, BenchError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        for address in addresses {
            let Ok(status) = status(address).await else { continue };
            let url = status
                .nodes
                .iter()
                .find(|seen| Some(&seen.name) == status.leader.as_ref())
                .map(|seen| seen.url.trim_start_matches("http://").to_owned());
            let Some(place) = url.and_then(|url| addresses.iter().position(|one| *one == url)) else {
                continue;
            };
            let mut doors = addresses.to_vec();
            doors.swap(0, place);
            return Ok(doors);
        }
        sleep(LOOK).await;
    }
    Err(BenchError::new("looking for the leader", "nobody leads"))
}

pub(crate) async fn status(address: &str) -> Result<Status, BenchError> {
    let asked = async {
        let mut line = Line::connect(address).await?;
        line.ask(Method::GET, "/api/v1/status", None).await
    };
    let late = |_| BenchError::new("asking for the status", format!("{address}: no answer"));
    let (_, body) = tokio::time::timeout(STATUS_PATIENCE, asked).await.map_err(late)??;
    serde_json::from_slice(&body).map_err(|error| BenchError::new("reading the status", error))
}

const STATUS_PATIENCE: Duration = Duration::from_secs(2);
