//! A node as the others see it: who it is, what it offers, how busy it is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::ids::{Boot, NodeId};

/// A member of the cluster, replicated in the ledger. Addresses are hints: names are resolved at each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub id: NodeId,
    /// Its place in the order of joining: the founder is 1. Given by the ledger; 0 in a request.
    pub number: u32,
    /// Its latest known start.
    pub boot: Boot,
    /// The name people use; unique among members.
    pub name: String,
    /// `HOST:PORT` of its HTTP.
    pub http: String,
    /// `HOST:PORT` of its consensus link.
    pub link: String,
    /// `HOST:PORT` of its broker link.
    pub broker: String,
}

impl Member {
    /// The port of its HTTP, for log lines.
    #[must_use]
    pub fn http_port(&self) -> &str {
        self.http.rsplit(':').next().unwrap_or("")
    }
}

/// What a worker can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Jobs it runs at once.
    pub slots: u32,
    /// Classes it serves.
    pub classes: BTreeSet<String>,
    /// Capability headers; one name may have several values.
    pub headers: BTreeMap<String, BTreeSet<String>>,
    /// It takes no new attempts.
    pub draining: bool,
}

/// How busy a node is, by its own cgroup where it has one. Integers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Processor time in use, thousandths of a core.
    pub cpu_used_milli: u32,
    /// Processor time it may use (quota, else cores), thousandths of a core.
    pub cpu_total_milli: u32,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory it may use.
    pub memory_total_bytes: u64,
}

/// One line of the leader's roster, told to every node so that any of them can show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Which node.
    pub id: NodeId,
    /// Heard within the liveness.
    pub alive: bool,
    /// What it offers.
    pub offer: Offer,
    /// How busy it says it is.
    pub load: Load,
    /// Attempts it holds or is about to hold.
    pub running: u32,
}
