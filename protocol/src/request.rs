//! What a gateway asks of the leader, and what it may hear.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, NodeId};
use crate::job::JobSpec;
use crate::member::Member;
use crate::recodex::Order;

/// Something only the leader can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Take a job.
    Submit {
        /// The id the gateway chose for it.
        job: JobId,
        /// Checked, with its defaults.
        spec: Arc<JobSpec>,
        /// The user's idempotency key.
        key: Option<String>,
        /// SHA-256 of the request as parsed, before defaults.
        fingerprint: [u8; 32],
    },
    /// End an open job.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Become a member, or say that start or address changed.
    Join(Member),
    /// Hand the lead over.
    Transfer {
        /// To whom; none: whoever is fit.
        to: Option<NodeId>,
    },
    /// Take several jobs, all or none.
    SubmitAll(Batch),
    /// Give a node no new attempts, or give it some again.
    Drain {
        /// Which node.
        node: NodeId,
        /// Whether it gets none.
        draining: bool,
    },
    /// Something of ReCodEx that is no job.
    Recodex(Order),
}

/// Jobs that are taken together. Their ids follow each other, so that the first one names them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The id of the first.
    pub first: JobId,
    /// Checked, with their defaults; at least one.
    pub specs: Vec<Arc<JobSpec>>,
    /// The user's idempotency key, for all of them.
    pub key: Option<String>,
    /// SHA-256 of the request as parsed, before defaults.
    pub fingerprint: [u8; 32],
}

impl Batch {
    /// Bytes these jobs take in memory and in the log, about.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let key = self.key.as_ref().map_or(0, String::len) as u64;
        key + self.specs.iter().map(|spec| spec.weight_bytes()).sum::<u64>()
    }

    /// Every job with its id, in order.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Arc<JobSpec>)> {
        self.first.following(self.specs.len()).zip(&self.specs)
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The job is acknowledged: it is on a majority's disks.
    Accepted {
        /// Under this id (an earlier one when the key was known).
        job: JobId,
        /// Whether an earlier request with this key had made it.
        replayed: bool,
    },
    /// It is so now.
    Done,
    /// It is not, and will not be by this request.
    Refused(Refusal),
    /// All jobs of a batch are acknowledged.
    AllAccepted {
        /// The id of the first; the others follow it.
        first: JobId,
        /// How many.
        jobs: u32,
        /// Whether an earlier request with this key had made them.
        replayed: bool,
    },
}

/// Why a request was not done. Nothing of it remains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Somebody else leads, or nobody.
    NotLeader,
    /// Fewer voters than `--expect` have ever been in sync.
    Starting,
    /// The queue is at its bound.
    Full,
    /// The key was used for another request.
    KeyReused {
        /// The job it had made.
        job: JobId,
    },
    /// The forward is of an earlier start of its gateway.
    Stale,
    /// A live node bears this name.
    NameTaken {
        /// The name.
        name: String,
    },
    /// No such job.
    NotFound,
    /// The job ended before.
    Ended {
        /// Which.
        job: JobId,
    },
    /// It cannot be done, in words.
    Impossible(String),
    /// Voters are short of something, in words: no new job is taken until that is over.
    Short(String),
    /// It cannot be done now, in words; later perhaps.
    NotNow(String),
    /// No present worker could ever have this evaluation.
    NoWorker,
    /// No evaluations are taken.
    Frozen,
    /// Its gateway took the request back.
    Withdrawn,
}
