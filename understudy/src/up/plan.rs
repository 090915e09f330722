//! Which nodes, at which ports, with which words.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::UpFlags;
use crate::exit::Failure;

/// The first port where nobody says otherwise: that of the pages.
pub(super) const PORT: u16 = 3001;
/// Name, and word of the command line, of the container that serves the pages.
const CLIENT_WEB: &str = "client-web";
/// Place of the first worker's HTTP behind the first port (the log store's lies between).
const FIRST_WORKER: u16 = 3;
/// Ports of the links between nodes: broker, consensus, events, clients, workers.
const LINKS: [(&str, u16); 5] =
    [("broker", 9990), ("link", 9991), ("pub", 9997), ("clients", 9998), ("workers", 9999)];
/// The log store: its name, its place behind the first port, its usual port for lines.
const LOGDB: &str = "logdb";
const LOGDB_PLACE: u16 = 2;
const PULL: u16 = 9995;
/// Room for the links of one node under another first port.
const LINK_ROOM: u16 = 10;

/// The whole cluster.
#[derive(Debug)]
pub(super) struct Plan {
    /// The master first.
    pub(super) nodes: Vec<NodePlan>,
    /// Who stands beside the nodes: client-web first.
    pub(super) beside: Vec<NodePlan>,
    /// Voters there will be.
    pub(super) voters: usize,
}

/// One process: a node, or one that stands beside them.
#[derive(Debug)]
pub(super) struct NodePlan {
    pub(super) name: String,
    /// Its folder: `data` and `console.log`.
    pub(super) folder: PathBuf,
    pub(super) http_port: u16,
    /// Ports by their flag.
    links: Vec<(String, u16)>,
    /// Words it is started with first.
    pub(super) words: Vec<String>,
    /// Words that start it again: with everybody to join, in case its disk is gone.
    pub(super) again: Vec<String>,
}

impl Plan {
    /// What these flags mean in this folder.
    pub(super) fn of(flags: &UpFlags, dir: &Path) -> Result<Self, Failure> {
        let count = flags.workers + 1;
        // An even number of voters survives no more than the odd one below it.
        let voters = if count >= 3 { 3 } else { 1 };
        let too_high = || {
            let detail = format!("leaves no room for the ports of {count} nodes above it");
            Failure::usage(format!("--port {}: {detail}", flags.port))
        };
        let ports: Vec<Ports> = (0..count)
            .map(|k| Ports::of(flags.port, k, count))
            .collect::<Option<_>>()
            .ok_or_else(too_high)?;
        let names: Vec<String> =
            (0..count).map(|k| if k == 0 { "master".to_string() } else { format!("worker{k}") }).collect();
        let store = log_store(flags, dir, &ports[0]).ok_or_else(too_high)?;
        let logger = logger(&store);
        // The first start of all has nobody to ask: the master founds at once instead of asking around.
        let is_new = names.iter().all(|name| !dir.join(name).join("data").exists());
        let nodes = ports.iter().zip(&names).enumerate().map(|(k, (own, name))| {
            let others = ports.iter().enumerate().filter(|(other, _)| *other != k);
            let join: Vec<String> = others.map(|(_, ports)| format!("127.0.0.1:{}", ports.http)).collect();
            let folder = dir.join(name);
            let mut words = words(flags, name, own, dir, voters);
            words.extend(logger.clone());
            let mut again = words.clone();
            if !join.is_empty() {
                again.extend(["--join".to_string(), join.join(",")]);
            }
            NodePlan {
                name: name.clone(),
                folder,
                http_port: own.http,
                links: own.links.clone(),
                words: if k == 0 && is_new { words } else { again.clone() },
                again,
            }
        });
        let nodes: Vec<NodePlan> = nodes.collect();
        let beside = vec![client_web(flags, dir, &nodes, &logger), store];
        Ok(Self { nodes, beside, voters })
    }

    /// Every port must be free before anything is started: the error then names port and flag.
    pub(super) fn check_ports(&self) -> Result<(), Failure> {
        for node in self.all() {
            let http = ("HTTP".to_string(), node.http_port);
            for (what, port) in std::iter::once(&http).chain(&node.links) {
                TcpListener::bind(("127.0.0.1", *port)).map_err(|cause| {
                    let name = &node.name;
                    Failure::error(format!(
                        "port {port} ({what} of {name}) cannot be had: {cause}; choose others with --port"
                    ))
                })?;
            }
        }
        Ok(())
    }

    /// Everything that is started, in this order.
    pub(super) fn all(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().chain(&self.beside)
    }

    /// Where people go: client-web.
    pub(super) fn door(&self) -> String {
        let door = self.beside.iter().find(|one| one.name == CLIENT_WEB);
        door.map_or_else(|| self.nodes[0].url(), NodePlan::url)
    }

    /// Where each node's HTTP is, the master first.
    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NodePlan::url).collect()
    }
}

impl NodePlan {
    /// Where its HTTP is.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// What it writes to its console.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }
}

struct Ports {
    http: u16,
    links: Vec<(String, u16)>,
}

impl Ports {
    /// Of node `k` of `count` (0: the master); none when they do not fit. The usual first port has the usual links, 100
    /// apart; another one has them close behind the last HTTP port, so that two clusters keep out of each other's way.
    fn of(first: u16, k: u16, count: u16) -> Option<Self> {
        let http = if k == 0 { first.checked_add(1)? } else { first.checked_add(FIRST_WORKER + k - 1)? };
        let link = |usual: u16| match first {
            PORT => usual.checked_add(100 * k),
            _ => {
                let behind_http = (FIRST_WORKER + count).next_multiple_of(LINK_ROOM).max(2 * LINK_ROOM);
                first.checked_add(behind_http)?.checked_add(k * LINK_ROOM)?.checked_add(usual - LINKS[0].1)
            }
        };
        let links = LINKS.iter().map(|(name, usual)| Some(((*name).to_string(), link(*usual)?)));
        Some(Self { http, links: links.collect::<Option<_>>()? })
    }
}

/// The key of the cluster in this folder.
pub(super) fn key_file(dir: &Path) -> PathBuf {
    dir.join("cluster.key")
}

fn words(flags: &UpFlags, name: &str, ports: &Ports, dir: &Path, voters: usize) -> Vec<String> {
    let folder = dir.join(name);
    let role = if name == "master" { "master" } else { "worker" };
    let mut words: Vec<String> = [role, "--name", name, "--data"].map(String::from).to_vec();
    words.push(folder.join("data").to_string_lossy().into_owned());
    words.extend(["--listen".to_string(), format!("127.0.0.1:{}", ports.http)]);
    for (link, port) in &ports.links {
        words.extend([format!("--{link}-port"), port.to_string()]);
    }
    words.extend(["--cluster-key-file".to_string(), key_file(dir).to_string_lossy().into_owned()]);
    words.extend(["--allow", "sh,python", "--expect", &voters.to_string()].map(String::from));
    if let Some(slots) = flags.slots {
        words.extend(["--slots".to_string(), slots.to_string()]);
    }
    if let Some(file) = &flags.config {
        words.extend(["--config".to_string(), file.to_string_lossy().into_owned()]);
    }
    // A ReCodEx broker's ports are there once on a machine: they are the master's, where the settings file says so.
    if role == "worker" || flags.config.is_none() {
        words.extend(["--recodex-config", "none"].map(String::from));
    }
    if !flags.no_chaos {
        words.push("--chaos".to_string());
    }
    words.extend(token(flags));
    words
}

/// The pages on the first port, relayed to every node.
fn client_web(flags: &UpFlags, dir: &Path, nodes: &[NodePlan], logger: &[String]) -> NodePlan {
    let mut words: Vec<String> = [CLIENT_WEB, "--name", CLIENT_WEB, "--listen"].map(String::from).to_vec();
    words.push(format!("127.0.0.1:{}", flags.port));
    words.extend(logger.to_vec());
    words.extend(["--servers".to_string(), nodes.iter().map(NodePlan::url).collect::<Vec<_>>().join(",")]);
    if !flags.no_chaos {
        words.push("--chaos".to_string());
    }
    words.extend(token(flags));
    NodePlan {
        name: CLIENT_WEB.to_string(),
        folder: dir.join(CLIENT_WEB),
        http_port: flags.port,
        links: Vec::new(),
        again: words.clone(),
        words,
    }
}

/// The log store: its HTTP beside the master's, its port for lines in the master's room.
fn log_store(flags: &UpFlags, dir: &Path, master: &Ports) -> Option<NodePlan> {
    let (name, folder) = (LOGDB, dir.join(LOGDB));
    let http_port = flags.port.checked_add(LOGDB_PLACE)?;
    let (_, broker) = master.links.first()?;
    let pull = broker.checked_add(PULL - LINKS[0].1)?;
    let mut words: Vec<String> = [name, "--name", name, "--listen"].map(String::from).to_vec();
    words.push(format!("127.0.0.1:{http_port}"));
    words.extend(["--pull".to_string(), format!("tcp://127.0.0.1:{pull}"), "--database".to_string()]);
    words.push(format!("sqlite:{}", folder.join("logs.sqlite").display()));
    if !flags.no_chaos {
        words.push("--chaos".to_string());
    }
    words.extend(token(flags));
    let links = vec![("pull".to_string(), pull)];
    Some(NodePlan { name: name.to_string(), folder, http_port, links, again: words.clone(), words })
}

/// Words that make a container ask for the token of `up`, and name it, where it has one.
fn token(flags: &UpFlags) -> Vec<String> {
    let file = flags.token_file.iter();
    file.flat_map(|file| ["--token-file".to_string(), file.to_string_lossy().into_owned()]).collect()
}

/// Words that make a container ship its lines there, and ask there for those of all.
fn logger(store: &NodePlan) -> Vec<String> {
    let to = |(_, port): &(String, u16)| ["--logger".to_string(), format!("tcp://127.0.0.1:{port}")];
    let asked = ["--logdb".to_string(), store.url()];
    store.links.iter().flat_map(to).chain(asked).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::settings::{self, Role};

    #[derive(clap::Parser)]
    struct Up {
        #[command(flatten)]
        flags: UpFlags,
    }

    #[derive(clap::Parser)]
    struct Node {
        #[command(flatten)]
        flags: settings::NodeFlags,
    }

    fn plan(words: &[&str], dir: &Path) -> Result<Plan, Failure> {
        Plan::of(&Up::parse_from(["up"].iter().chain(words)).flags, dir)
    }

    fn ports(plan: &Plan) -> Vec<u16> {
        plan.all()
            .flat_map(|node| std::iter::once(node.http_port).chain(node.links.iter().map(|l| l.1)))
            .collect()
    }

    #[test]
    fn the_usual_ports_are_those_of_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&[], folder.path()).unwrap();
        assert_eq!(plan.urls(), [3002, 3004, 3005, 3006].map(|port| format!("http://127.0.0.1:{port}")));
        let links: Vec<u16> = plan.nodes[1].links.iter().map(|link| link.1).collect();
        assert_eq!(links, [10090, 10091, 10097, 10098, 10099]);
        let store = plan.all().find(|one| one.name == "logdb").unwrap();
        assert_eq!((store.http_port, store.links[0].1), (3003, 9995));
        for one in plan.all().filter(|one| one.name != "logdb") {
            let at = one.words.iter().position(|word| word == "--logger").unwrap();
            assert_eq!(one.words[at + 1], "tcp://127.0.0.1:9995", "{}", one.name);
            assert!(one.words.contains(&"http://127.0.0.1:3003".to_string()));
        }
        assert_eq!(plan.voters, 3);
    }

    #[test]
    fn under_another_first_port_all_ports_differ_and_lie_close_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        for workers in ["0", "1", "3", "17", "50"] {
            let mut all = ports(&plan(&["--port", "12000", "--workers", workers], folder.path()).unwrap());
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{workers} workers share a port");
            assert!(all.iter().all(|port| (12_000..12_600).contains(port)));
        }
        let four = ports(&plan(&["--port", "12000"], folder.path()).unwrap());
        assert!(four.iter().all(|port| *port < 12_080));
        let failure = plan(&["--port", "65530"], folder.path()).unwrap_err();
        assert!(failure.message.contains("--port 65530"), "{}", failure.message);
    }

    #[test]
    fn every_node_understands_its_words_and_only_a_new_master_asks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        node::cluster_key::ClusterKey::keep(&key_file(folder.path())).unwrap();
        let new = plan(&["--slots", "5"], folder.path()).unwrap();
        for (k, node) in new.nodes.iter().enumerate() {
            let role = if k == 0 { Role::Master } else { Role::Worker };
            let settings = settings::read(&Node::parse_from(&node.words).flags, role).unwrap();
            assert_eq!(
                (settings.name.as_str(), settings.slots, settings.expect, settings.chaos),
                (node.name.as_str(), 5, 3, true)
            );
            assert!(settings.cluster_key.is_some());
            assert_eq!(settings.join.len(), if k == 0 { 0 } else { 3 });
            assert!(!settings.join.contains(&format!("127.0.0.1:{}", node.http_port)));
        }
        std::fs::create_dir_all(folder.path().join("worker2/data")).unwrap();
        let old = plan(&["--no-chaos"], folder.path()).unwrap();
        let master = settings::read(&Node::parse_from(&old.nodes[0].words).flags, Role::Master).unwrap();
        assert_eq!((master.join.len(), master.chaos), (3, false));
    }

    #[test]
    fn a_port_in_use_is_named_before_anything_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&["--workers", "0"], folder.path()).unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        plan.nodes[0].http_port = port;
        let failure = plan.check_ports().unwrap_err();
        assert!(failure.message.contains(&format!("port {port} (HTTP of master)")), "{}", failure.message);
    }
}
