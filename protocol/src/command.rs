//! What a leader writes into the log. Each command names what it expects; where that no longer holds, applying it is a
//! recorded no-op. *Apply decides, not propose.*
//!
//! Rule for changing these: the log keeps them for ever, in postcard form. Add variants and add fields in new variants;
//! never reorder, rename or remove one.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::attempt::Chosen;
use crate::ids::{Boot, ClusterId, JobId, NodeId};
use crate::job::{JobSpec, Outcome, Reason};
use crate::member::Member;
use crate::recodex::Order;
use crate::request::Batch;

/// One entry of the log: everything that waited when the leader wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Cluster time: milliseconds that only leaders' ticks add. Never runs backwards.
    pub clock_ms: u64,
    /// The leader's wall time, milliseconds since 1970; display only.
    pub wall_ms: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// In order.
    pub commands: Vec<Command>,
}

/// A change of the ledger that a leader proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a job. No-op when its key or its gateway's number is known: then the recorded answer is given again.
    Submit {
        /// The id its gateway chose.
        job: JobId,
        /// What the user gave.
        spec: Arc<JobSpec>,
        /// The user's idempotency key.
        key: Option<String>,
        /// SHA-256 of the request, to tell a repeat from another request under the same key.
        fingerprint: [u8; 32],
        /// Who forwarded it, so that a repeat is recognised.
        origin: Origin,
    },
    /// As earlier versions wrote [`Command::AssignWhy`]: without a word on why it goes there.
    Assign {
        /// The job.
        job: JobId,
        /// The number the new attempt gets.
        attempt: u32,
        /// Where it shall run.
        node: NodeId,
        /// The start of that node it is meant for.
        boot: Boot,
    },
    /// As earlier versions wrote [`Command::FinishByRule`]: by their rules, a job is tried again after any failure, and its pause is
    /// the whole of what doubles.
    Finish {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// Who ran it.
        node: NodeId,
        /// What it brought back.
        outcome: Arc<Outcome>,
    },
    /// Take an attempt back from a worker that is lost. Expects it to be the running one.
    Requeue {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// Why it counts as lost.
        cause: LossCause,
    },
    /// End an open job because somebody asked.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// End a job that will never run. Expects it open and not running.
    Expire {
        /// The job.
        job: JobId,
        /// `expired` or `unsatisfiable`.
        reason: Reason,
    },
    /// Its back-off is over: back into the queue. Expects it `scheduled`.
    Release {
        /// The job.
        job: JobId,
    },
    /// A change of the cluster itself.
    Configure(Change),
    /// Retention: forget the history of the jobs that ended first, and their keys. Expects that what was forgotten before
    /// ends at `after`, that `upto` is above it by at most [`crate::limits::FORGET_JOBS`], and that so many have ended.
    Forget {
        /// Number of the last end forgotten before.
        after: u64,
        /// Number of the last end to forget.
        upto: u64,
    },
    /// Take the jobs of a batch, all or none; known and answered as one `Submit` is.
    SubmitAll {
        /// The jobs and their one key.
        batch: Arc<Batch>,
        /// Which forward it came by.
        origin: Origin,
    },
    /// The cluster goes on by hand from one node's disk, because a majority of its voters is lost. Expects `epoch - 1`
    /// recoveries before. Written by `understudy recover` alone, never proposed by a leader.
    Recover {
        /// The epoch from here on.
        epoch: u32,
        /// Whose disk it is.
        node: NodeId,
        /// The cluster that it was until now: whoever still belongs to that is refused.
        former: ClusterId,
    },
    /// Commit attempt `attempt` to a node. Expects the job `queued` with `attempt - 1` attempts, and none before where it may
    /// have one at most.
    AssignWhy {
        /// The job.
        job: JobId,
        /// The number the new attempt gets.
        attempt: u32,
        /// Where it shall run.
        node: NodeId,
        /// The start of that node it is meant for.
        boot: Boot,
        /// Why there.
        why: Chosen,
    },
    /// Record how an attempt ended. Expects the attempt to exist there; the first success of an open job wins, a failure
    /// counts only for the current attempt. After a failure the job is tried again as its own rule says
    /// ([`crate::RetryRule`]).
    FinishByRule {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// Who ran it.
        node: NodeId,
        /// What it brought back.
        outcome: Arc<Outcome>,
    },
    /// Something of ReCodEx that is no job; known and answered as a `Submit` is.
    Recodex {
        /// What.
        order: Order,
        /// Which forward it came by.
        origin: Origin,
    },
}

/// Which forward a `Submit` came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The node that took the request.
    pub gateway: NodeId,
    /// The start of that node.
    pub boot: Boot,
    /// Its number there.
    pub number: u64,
    /// The lowest number still open there: answers below it are forgotten.
    pub floor: u64,
}

/// Why an attempt counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// Its worker was silent for the whole liveness.
    Silent,
    /// Its worker started anew: what it ran before is gone.
    Restarted,
    /// The attached worker that has it did not answer within its window. It may still answer, and then counts.
    Late,
    /// The attached worker that had it is gone.
    Left,
    /// Its worker gave it back before it had begun, because another could begin it at once.
    Unbegun,
    /// Its worker was told to end, and ended it unfinished when its time was over.
    Abandoned,
}

/// A change of the cluster itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A node joins, or comes back under a new start or address.
    Member(Member),
    /// The voters that `--expect` asks for were in sync once: writes are open from here on, for good.
    Open,
    /// A node is no member any more.
    Leave(NodeId),
    /// A member gets no new attempts, or gets them again. Expects that this is news.
    Drain {
        /// The member.
        node: NodeId,
        /// Whether it gets none.
        draining: bool,
    },
}
