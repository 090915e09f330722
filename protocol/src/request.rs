//! What a gateway asks of the leader, and what it may hear.

use alloc::string::String;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, NodeId};
use crate::job::JobSpec;
use crate::member::Member;

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
}
