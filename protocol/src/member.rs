//! A node as the others see it: who it is, what it offers, how busy it is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{AttemptRef, Boot, NodeId};
use crate::job::JobSpec;
use crate::recodex::{self, Evaluation, Pool};

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
    /// Classes it runs itself.
    pub classes: BTreeSet<String>,
    /// Capability headers; one name may have several values.
    pub headers: BTreeMap<String, BTreeSet<String>>,
    /// Countable things it has, in thousandths of one.
    pub resources: BTreeMap<String, u64>,
    /// It takes no new attempts.
    pub draining: bool,
    /// Foreign workers attached to this node, by the one class each serves; each holds one attempt at a time.
    pub attached: BTreeMap<String, u32>,
    /// Foreign workers of ReCodEx attached to this node, by what they can do; each holds one attempt at a time.
    pub pools: BTreeMap<u32, Pool>,
}

impl Offer {
    /// Slots of the node's own that are in use when so many attempts of each class are held there: an attached worker
    /// of the class is taken first.
    #[must_use]
    pub fn own_slots_in_use<'a>(&self, held: impl Iterator<Item = &'a str>) -> u32 {
        let mut by_class: BTreeMap<&str, u32> = BTreeMap::new();
        for class in held.filter(|class| self.takes_own_slot(class)) {
            *by_class.entry(class).or_default() += 1;
        }
        by_class.iter().map(|(class, count)| count.saturating_sub(self.attached_to(class))).sum()
    }

    /// Whether an attempt of this class that no attached worker has takes a slot of the node's own. One whose class is not
    /// known any more (empty) may.
    #[must_use]
    pub fn takes_own_slot(&self, class: &str) -> bool {
        class.is_empty() || self.runs_itself(class)
    }

    /// Attached workers that serve this class (or are of the pool that stands in its place), busy or not.
    #[must_use]
    pub fn attached_to(&self, class: &str) -> u32 {
        match recodex::pool_number(class) {
            Some(number) => self.pools.get(&number).map_or(0, |pool| pool.workers),
            None => self.attached.get(class).copied().unwrap_or(0),
        }
    }

    /// Attached workers of any kind, busy or not.
    #[must_use]
    pub fn all_attached(&self) -> u32 {
        self.attached.values().sum::<u32>() + self.pools.values().map(|pool| pool.workers).sum::<u32>()
    }

    /// The pools whose workers may have this evaluation, in the order of their numbers: of free ones the first that registered is
    /// given work, as the original does.
    #[must_use]
    pub fn pools_for(&self, asked: &Evaluation) -> Vec<u32> {
        let fits = |pool: &Pool| pool.workers > 0 && recodex::fits(&asked.headers, &pool.headers);
        self.pools.iter().filter(|(_, pool)| fits(pool)).map(|(number, _)| *number).collect()
    }

    /// Whether the node, or a worker attached to it, could ever have this job as far as its class goes; of an evaluation, as far
    /// as its headers go, too.
    #[must_use]
    pub fn suits(&self, spec: &JobSpec) -> bool {
        match &spec.more.recodex {
            Some(asked) => self.pools.values().any(|pool| recodex::fits(&asked.headers, &pool.headers)),
            None => self.serves(&spec.class),
        }
    }

    /// Whether the node runs this class itself.
    #[must_use]
    pub fn runs_itself(&self, class: &str) -> bool {
        self.classes.contains(class)
    }

    /// Whether the node, or a worker attached to it, serves this class.
    #[must_use]
    pub fn serves(&self, class: &str) -> bool {
        self.runs_itself(class) || self.attached_to(class) > 0
    }

    /// Every class served here.
    pub fn served(&self) -> impl Iterator<Item = &str> {
        let attached = self.attached.keys().filter(|class| !self.classes.contains(*class));
        let evaluations = (!self.pools.is_empty()).then_some(recodex::CLASS);
        self.classes.iter().chain(attached).map(String::as_str).chain(evaluations)
    }

    /// How much it has of a resource, in thousandths of one.
    #[must_use]
    pub fn resource_milli(&self, name: &str) -> u64 {
        self.resources.get(name).copied().unwrap_or(0)
    }

    /// Whether somebody without a token may have this node itself run this class.
    #[must_use]
    pub fn is_open(&self, class: &str) -> bool {
        self.headers.get(LAB_HEADER).is_some_and(|open| open.contains(class))
    }
}

/// The capability header that names the classes a node serves for jobs that came without a token. Every such job requires it
/// with its own class, so no node runs for a stranger what its operator did not open.
pub const LAB_HEADER: &str = "lab";

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
    /// Room left on the disk of its data folder.
    pub disk_free_bytes: u64,
    /// Size of that disk; 0: not known.
    pub disk_total_bytes: u64,
    /// Share of the last ten seconds in which something waited for a processor, per mille; 0 also where nobody can tell.
    pub cpu_pressure_permille: u32,
    /// Share of the last ten seconds in which something waited for memory, per mille; 0 also where nobody can tell.
    pub memory_pressure_permille: u32,
}

/// How far a running attempt says it is. Told from node to node, never written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub attempt: AttemptRef,
    /// Thousandths of the whole.
    pub permille: u16,
    /// What it says, at most [`crate::limits::PROGRESS_TEXT_BYTES`].
    pub text: String,
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
    /// How far those say they are that say so, at most [`crate::limits::PROGRESS_SHOWN`].
    pub progress: Vec<Progress>,
}

impl NodeLoad {
    /// Whether it has said what it has: of a member that is only known from the ledger nothing can be said.
    #[must_use]
    pub fn has_spoken(&self) -> bool {
        self.load.cpu_total_milli > 0 || self.offer != Offer::default()
    }
}
