//! What happened. Log lines, events and metrics are made from facts and from nothing else.

use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::command::LossCause;
use crate::ids::{AttemptRef, JobId, NodeId, Rev};
use crate::job::{JobState, Reason};

/// Something the ledger recorded: the same fact with the same number on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Counted by the ledger from 1, without holes.
    pub number: u64,
    /// The moment it became so.
    pub rev: Rev,
    /// The leader's wall time, milliseconds since 1970.
    pub wall_ms: u64,
    /// What became so.
    pub what: What,
}

/// The kinds of facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A job is acknowledged.
    Accepted {
        /// The job.
        job: JobId,
        /// The node that took the request.
        gateway: NodeId,
    },
    /// An attempt is committed to a worker; only now it may leave.
    Assigned {
        /// Which.
        attempt: AttemptRef,
        /// To whom.
        node: NodeId,
    },
    /// An attempt ended and so did its job.
    Finished {
        /// Which.
        attempt: AttemptRef,
        /// Who ran it.
        node: NodeId,
        /// `succeeded` or `failed`.
        state: JobState,
        /// Why it failed.
        reason: Option<Reason>,
    },
    /// An attempt failed and the job has tries left.
    Failed {
        /// Which.
        attempt: AttemptRef,
        /// Who ran it.
        node: NodeId,
        /// Why.
        reason: Reason,
        /// Cluster time at which it is offered again.
        not_before_ms: u64,
    },
    /// A worker is lost, so the job waits for another one, or has failed as poison (`state`).
    Requeued {
        /// The attempt that is given up.
        attempt: AttemptRef,
        /// Who held it.
        node: NodeId,
        /// Why it counts as lost.
        cause: LossCause,
        /// `queued`, or `failed` when it was lost too often.
        state: JobState,
    },
    /// A late result of an attempt that no longer counts was noted on it.
    Superseded {
        /// Which.
        attempt: AttemptRef,
        /// Who brought it.
        node: NodeId,
    },
    /// Somebody ended the job.
    Cancelled {
        /// The job.
        job: JobId,
    },
    /// The job will never run.
    Expired {
        /// The job.
        job: JobId,
        /// Why.
        reason: Reason,
    },
    /// The back-off is over.
    Released {
        /// The job.
        job: JobId,
    },
    /// A node joined, or came back under a new start or address.
    Joined {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// Enough voters were in sync: writes are open.
    Opened,
    /// A node is no member any more.
    Left {
        /// The node.
        node: NodeId,
    },
    /// History up to here is past its retention.
    Forgotten {
        /// Number of the last end that is forgotten.
        upto: u64,
    },
    /// The cluster went on by hand from one node's disk.
    Recovered {
        /// The epoch from here on.
        epoch: u32,
        /// Whose disk it was.
        node: NodeId,
        /// The name of that node; its id where it was no member any more.
        name: String,
    },
    /// A node gets no new attempts, or gets them again.
    Drained {
        /// The node.
        node: NodeId,
        /// Whether it gets none.
        draining: bool,
    },
    /// The worker that has an attempt came to another node, or to a new start of the same one.
    Adopted {
        /// What it works at.
        attempt: AttemptRef,
        /// Where it is now.
        node: NodeId,
        /// How the job stands with it: `running`, or as before where another attempt runs.
        state: JobState,
    },
    /// Evaluations of ReCodEx are not taken, or taken again.
    Frozen {
        /// Whether none are.
        frozen: bool,
    },
    /// More calls were owed to a front end of ReCodEx than are kept: the oldest is given up.
    Unheard {
        /// Which ([`crate::recodex::Call::number`]).
        call: u64,
    },
}

impl What {
    /// The job this is about.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Accepted { job, .. }
            | Self::Cancelled { job }
            | Self::Expired { job, .. }
            | Self::Released { job } => Some(*job),
            Self::Assigned { attempt, .. }
            | Self::Finished { attempt, .. }
            | Self::Failed { attempt, .. }
            | Self::Requeued { attempt, .. }
            | Self::Superseded { attempt, .. }
            | Self::Adopted { attempt, .. } => Some(attempt.job),
            Self::Joined { .. }
            | Self::Opened
            | Self::Left { .. }
            | Self::Forgotten { .. }
            | Self::Recovered { .. }
            | Self::Drained { .. }
            | Self::Frozen { .. }
            | Self::Unheard { .. } => None,
        }
    }
}
