//! How a node stands, as its owner loop last showed it, and what the four kinds of information make of that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use protocol::{Boot, ClusterId, Load, Member, NodeId, Offer};
use serde::Serialize;

use super::host::{self, Pressure};
use crate::http::shown::{Amount, amounts};

/// `HOST:PORT` of the ports where other nodes tell their news, each with the start that told it.
pub(crate) type Addresses = BTreeMap<NodeId, (Boot, String)>;

/// One moment of a node, cheap to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) voter: bool,
    /// Attempts that run here.
    pub(crate) running: usize,
    /// Jobs of the whole cluster that wait for a worker, as far as this node has applied.
    pub(crate) queued: u64,
    pub(crate) offer: Arc<Offer>,
    pub(crate) members: Arc<Vec<Member>>,
    pub(crate) addresses: Arc<Addresses>,
}

impl Standing {
    /// The name of a node, or its id when it is no member.
    pub(crate) fn name(&self, id: NodeId) -> String {
        let member = self.members.iter().find(|member| member.id == id);
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }
}

/// What does not change while a start lasts.
#[derive(Clone, Debug)]
pub(crate) struct Myself {
    pub(crate) cluster: ClusterId,
    pub(crate) member: Member,
    /// `HOST:PORT` of its own port for news.
    pub(crate) news: String,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Common {
    cluster: String,
    name: String,
    version: &'static str,
    addresses: BTreeMap<&'static str, String>,
}

impl Common {
    pub(crate) fn of(me: &Myself) -> Self {
        let Member { name, http, link, broker, .. } = me.member.clone();
        let addresses = [("http", http), ("link", link), ("broker", broker), ("pub", me.news.clone())].into();
        Self { cluster: me.cluster.to_string(), name, version: env!("CARGO_PKG_VERSION"), addresses }
    }
}

/// What it has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Static {
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    slots: u32,
    headers: BTreeMap<String, BTreeSet<String>>,
    resources: BTreeMap<String, Amount>,
    classes: BTreeSet<String>,
}

impl Static {
    pub(crate) fn of(standing: &Standing, load: &Load) -> Self {
        let offer = &standing.offer;
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: load.memory_total_bytes,
            kernel: host::kernel(Path::new("/")),
            slots: offer.slots,
            headers: offer.headers.clone(),
            resources: amounts(&offer.resources),
            classes: offer.classes.clone(),
        }
    }
}

/// How busy it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Dynamic {
    cpu_percent: u64,
    cpu_used_milli: u32,
    cpu_total_milli: u32,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    pressure: Pressure,
    running: usize,
    queued: u64,
}

impl Dynamic {
    pub(crate) fn of(standing: &Standing, load: &Load) -> Self {
        Self {
            cpu_percent: u64::from(load.cpu_used_milli) * 100 / u64::from(load.cpu_total_milli.max(1)),
            cpu_used_milli: load.cpu_used_milli,
            cpu_total_milli: load.cpu_total_milli,
            memory_used_bytes: load.memory_used_bytes,
            memory_total_bytes: load.memory_total_bytes,
            pressure: host::pressure(Path::new("/")),
            running: standing.running,
            queued: standing.queued,
        }
    }
}

/// What it does in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    role: &'static str,
    leader: Option<String>,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    voter: bool,
    stopped: bool,
    draining: bool,
}

impl State {
    pub(crate) fn of(standing: &Standing, me: &Myself, stopped: bool) -> Self {
        Self {
            role: if standing.leader == Some(me.member.id) { "leader" } else { "worker" },
            leader: standing.leader.map(|id| standing.name(id)),
            term: standing.term,
            commit_index: standing.commit,
            applied_index: standing.applied,
            voter: standing.voter,
            stopped,
            draining: standing.offer.draining,
        }
    }
}
