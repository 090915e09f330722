//! What a node is told at its start. Made by the program from flags, environment and file; checked there.

mod recodex;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use cast::Windows;
pub use master::Retention;
use protocol::limits;
pub use recodex::{
    CLIENTS_PORT, FileLevel, LogFile, MONITOR_PORT, Notifier, Password, RecodexSettings, WORKERS_PORT,
};

/// Folder of the private sockets behind the gates, inside the data folder.
pub(crate) const SOCKETS: &str = "gate";

/// How one node shall be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name people use.
    pub name: String,
    /// The folder that is this node's memory.
    pub data: PathBuf,
    /// Host its HTTP, ZeroMQ and link ports bind.
    pub listen_host: String,
    /// Port of its HTTP.
    pub http_port: u16,
    /// Host the others use to reach it.
    pub advertise: String,
    /// Whether it may found a cluster (`master`) or only join one (`worker`).
    pub founds: bool,
    /// HTTP addresses (`HOST:PORT`) of nodes to ask for the cluster.
    pub join: Vec<String>,
    /// Voters that must have been in sync once before the first write.
    pub expect: usize,
    /// Voters the cluster aims at: 1, 3 or 5.
    pub voters: usize,
    /// A voter silent for so long is replaced by a learner that has caught up.
    pub replace_after_ms: u64,
    /// Port of the broker link.
    pub broker_port: u16,
    /// Port of the consensus link.
    pub link_port: u16,
    /// Port for clients of the lab wire.
    pub clients_port: u16,
    /// Port for workers of the lab wire.
    pub workers_port: u16,
    /// How strangers at these two are served.
    pub lab: LabSettings,
    /// How programs of ReCodEx are served; none: nothing of theirs is opened.
    pub recodex: Option<RecodexSettings>,
    /// Port where it tells its news.
    pub pub_port: u16,
    /// Kinds of information it shares.
    pub share: crate::news::Share,
    /// Period of the leader's heartbeat.
    pub heartbeat_ms: u64,
    /// Shortest election timeout; the longest is twice that.
    pub election_ms: u64,
    /// When its disk counts as one that hangs or is nearly full.
    pub disk: DiskSettings,
    /// Jobs it runs at once.
    pub slots: u32,
    /// When it is told to end, running attempts may end for so long.
    pub drain_deadline_ms: u64,
    /// Capability headers it carries.
    pub headers: BTreeMap<String, BTreeSet<String>>,
    /// Countable things it has, in thousandths of one.
    pub resources: BTreeMap<String, u64>,
    /// Script classes it may serve: `sh`, `python`.
    pub allow: BTreeSet<String>,
    /// Classes from its configuration.
    pub classes: BTreeMap<String, ClassCommand>,
    /// Whether a leader runs jobs itself.
    pub runs_jobs: RunsJobs,
    /// How a leader hands jobs to workers.
    pub policy: Policy,
    /// The key that seals the links between nodes; none: they are not sealed.
    pub cluster_key: Option<crate::cluster_key::ClusterKey>,
    /// The token its HTTP asks for, and names to others; none: nobody is asked who he is.
    pub token: Option<logdb::door::Token>,
    /// Whether addresses beyond loopback are allowed although a cluster key or a token is missing.
    pub insecure: bool,
    /// Whether `/stop` works.
    pub chaos: bool,
    /// `Host` names allowed beside IP literals, `localhost`, its own and its peers' names.
    pub allowed_hosts: Vec<String>,
    /// Log store that gets this node's own lines: `tcp://HOST:PORT`.
    pub logger: Option<String>,
    /// Log store that is asked for lines: `http://HOST:PORT`.
    pub logdb: Option<String>,
    /// A snapshot is due after so many bytes of commands.
    pub snapshot_bytes: u64,
    /// How much of history it keeps as a leader.
    pub retention: Retention,
    /// Ended jobs that the ledger holds. A test hook: the same on every node of a cluster.
    pub ended_jobs: u64,
    /// Test hook: a leader records assignments and does not send them.
    pub hold_dispatch: bool,
}

impl Settings {
    /// What addresses beyond loopback need and is not there, for people; nothing where all are on loopback.
    #[must_use]
    pub fn missing_beyond_loopback(&self) -> Vec<&'static str> {
        match self.beyond_loopback() {
            None => Vec::new(),
            Some(("node.listen", _)) => {
                let key = "links between nodes are not sealed, whoever reaches their ports is a node \
                           (--cluster-key-file)";
                let token =
                    "its HTTP asks nobody who he is, whoever reaches it rules the cluster (--token-file)";
                let missing =
                    [self.cluster_key.is_none().then_some(key), self.token.is_none().then_some(token)];
                missing.into_iter().flatten().collect()
            }
            // Where the node itself is open, its ports for foreign programs are so too.
            Some(_) => {
                vec!["ReCodEx's programs are not asked who they are, whoever reaches its ports is one"]
            }
        }
    }

    /// The first setting that names a host beyond loopback, and that host.
    #[must_use]
    pub fn beyond_loopback(&self) -> Option<(&'static str, &str)> {
        let foreign = self.recodex.iter().flat_map(|recodex| {
            [("recodex.clients.address", &recodex.clients.0), ("recodex.workers.address", &recodex.workers.0)]
        });
        let mut hosts = std::iter::once(("node.listen", &self.listen_host)).chain(foreign);
        hosts.find(|(_, host)| !is_loopback(host)).map(|(setting, host)| (setting, host.as_str()))
    }
}

/// Whether only this host can reach it.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']);
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// When a disk counts as one that hangs or is nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// A write that takes longer than this hangs.
    pub hangs_ms: u64,
    /// Nearly full is a disk with less free than this,
    pub low_bytes: u64,
    /// and less than this share of it.
    pub low_percent: u8,
}

impl Default for DiskSettings {
    fn default() -> Self {
        let (hangs_ms, low_bytes) = (limits::DISK_HANGS_MS, limits::DISK_LOW_BYTES);
        Self { hangs_ms, low_bytes, low_percent: limits::DISK_LOW_PERCENT }
    }
}

impl DiskSettings {
    /// When it is nearly full.
    #[must_use]
    pub fn bounds(&self) -> master::DiskBounds {
        master::DiskBounds { low_bytes: self.low_bytes, low_percent: self.low_percent }
    }
}

/// How programs that speak the lab wire are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabSettings {
    /// How long an attached worker has for a job until it is offered to another one too.
    pub windows: Windows,
    /// Attached workers that may hold one job at a time.
    pub max_offers: u32,
    /// Classes of this node's own, beside the built-in ones, that strangers may have run here.
    pub allow: BTreeSet<String>,
}

/// A class served by running a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassCommand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment added for it.
    pub env: BTreeMap<String, String>,
    /// Longest run, when the job names none.
    pub timeout_ms: Option<u64>,
    /// Memory it may take.
    pub memory_bytes: Option<u64>,
}

/// How a leader hands jobs to workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One queue; a job goes to the least busy worker as soon as one has room.
    #[default]
    Single,
    /// A queue for each worker; a job goes to the next one in turn at once, and stays there while that lives.
    Multi,
}

/// Whether a leader runs jobs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsJobs {
    /// Only those no other node could ever take.
    Auto,
    /// Like any node.
    Always,
    /// Not at all.
    Never,
}
