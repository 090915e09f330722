//! The settings file, table by table. What is missing in one layer comes from the layer below.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Role;
use super::recodex::RecodexTable;

/// All tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Table {
    pub(crate) node: NodeTable,
    pub(crate) cluster: ClusterTable,
    pub(crate) raft: RaftTable,
    pub(crate) disk: DiskTable,
    pub(crate) http: HttpTable,
    pub(crate) worker: WorkerTable,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) class: BTreeMap<String, ClassTable>,
    pub(crate) master: MasterTable,
    pub(crate) queue: QueueTable,
    pub(crate) lab: LabTable,
    /// A table that is there is a word of its own, also when it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recodex: Option<RecodexTable>,
    pub(crate) share: ShareTable,
    pub(crate) logs: LogsTable,
    pub(crate) retention: RetentionTable,
    pub(crate) chaos: ChaosTable,
    pub(crate) test: TestTable,
}

/// Who and where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advertise: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pub_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clients_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers_port: Option<u16>,
}

/// Which cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) join: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) voters: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replace_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

/// The engine's times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RaftTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) election_ms: Option<u64>,
}

/// When its disk counts as one that hangs or is nearly full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DiskTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hangs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low_percent: Option<u8>,
}

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_hosts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
}

/// What it can do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkerTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slots: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drain_deadline: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) resources: BTreeMap<String, Amount>,
}

/// `gpu = 2`, `gpu = 0.5` or `gpu = "0.5"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    /// A whole number.
    Whole(i64),
    /// One with a fraction.
    Part(f64),
    /// As text.
    Text(String),
}

impl Amount {
    /// As it was written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Part(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// `gpu = "a100"` or `gpu = ["a100", "h100"]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One value.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// As a list.
    pub(crate) fn list(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// A class served by a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassTable {
    pub(crate) command: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
}

/// How it leads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MasterTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs_jobs: Option<String>,
}

/// How jobs wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueueTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

/// How strangers at the lab's ports are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LabTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_timeout: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_offers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow: Option<Vec<String>>,
}

/// `answer_timeout = "2s"`, or one for each class: `{ default = "2s", B = "5s" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// For all.
    One(String),
    /// By class.
    ByClass(BTreeMap<String, String>),
}

/// What it tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShareTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kinds: Option<Vec<String>>,
}

/// Where its log lines go, and where those of all are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logger: Option<String>,
}

/// How long history is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<String>,
}

/// The soft crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChaosTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
}

/// Hooks for tests; no part of the public surface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TestTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold_dispatch: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_jobs: Option<u64>,
}

/// Settings of the public surface that this version does not do yet (a table stands for all its keys).
const NOT_YET: [&str; 8] = [
    "http.tls_cert",
    "http.tls_key",
    "queue.max_jobs",
    "queue.max_bytes",
    "logs.keep_bytes",
    "logs.keep_days",
    "webhooks",
    "limits",
];

/// Whether a key that is unknown here is one of a later version.
pub(super) fn is_not_yet(key: &str) -> bool {
    NOT_YET.contains(&key)
}

impl Table {
    /// For people: passwords are not shown.
    pub(crate) fn shown(mut self) -> Self {
        self.recodex.iter_mut().for_each(RecodexTable::hide);
        self
    }

    /// What holds where nobody says anything, apart from what depends on other settings.
    pub(super) fn defaults(role: Role) -> Self {
        let listen = match role {
            Role::Master => "127.0.0.1:3002",
            Role::Worker => "127.0.0.1:3004",
        };
        Self {
            node: NodeTable {
                data: Some("/var/lib/understudy".into()),
                listen: Some(listen.into()),
                broker_port: Some(9990),
                link_port: Some(9991),
                pub_port: Some(9997),
                clients_port: Some(9998),
                workers_port: Some(9999),
                ..NodeTable::default()
            },
            cluster: ClusterTable {
                join: Some(Vec::new()),
                expect: Some(1),
                voters: Some(3),
                ..ClusterTable::default()
            },
            raft: RaftTable { heartbeat_ms: Some(100), election_ms: Some(500) },
            master: MasterTable { runs_jobs: Some("auto".into()) },
            queue: QueueTable { policy: Some("single".into()) },
            ..Self::default()
        }
    }
}
