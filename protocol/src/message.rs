//! What travels on the broker link: to the leader and back. Every message names its session and its term; a lower one
//! of either is dropped unread. Full lists, not single messages, keep leader and workers in step.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::command::LossCause;
use crate::ids::{AttemptRef, Boot, NodeId};
use crate::job::{JobSpec, Outcome};
use crate::member::{Load, NodeLoad, Offer, Progress};
use crate::request::{Answer, Request};

/// A message with what makes it believable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<Body> {
    /// Who sends it.
    pub from: NodeId,
    /// That node's start.
    pub boot: Boot,
    /// Counted by the node within its start, one for each connection to a leader; the leader answers under the same and
    /// hears no lower one any more.
    pub session: u64,
    /// The term it is meant for.
    pub term: u64,
    /// What it says.
    pub body: Body,
}

/// What any node says to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMaster {
    /// A user's request, taken by this node.
    Forward(Forward),
    /// All the worker has and is, every [`crate::limits::REPORT_MS`].
    Report(Box<Report>),
    /// An attempt ended; repeated until it is settled.
    Result {
        /// Which.
        attempt: AttemptRef,
        /// How.
        outcome: Arc<Outcome>,
    },
}

/// A user's request on its way to the leader. Sent again to the next leader under the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Its number at this gateway and start, from 1.
    pub number: u64,
    /// The lowest number still open there.
    pub floor: u64,
    /// What is asked.
    pub request: Request,
}

/// The worker's full list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Counts up within a session.
    pub number: u64,
    /// Number of the last [`Answered`] seen in this session; 0: none yet.
    pub echo: u64,
    /// Attempts that occupy a slot, whatever became of them.
    pub held: Vec<AttemptRef>,
    /// Those of `held` that have not begun: they wait here for a slot or an attached worker, the next one first.
    pub waiting: Vec<AttemptRef>,
    /// Results kept because the leader has not settled them yet.
    pub kept: Vec<AttemptRef>,
    /// Attempts to be given to somebody else, because an attached worker is late with them or gone, or because they were
    /// asked back before they had begun.
    pub back: Vec<(AttemptRef, LossCause)>,
    /// What it can do.
    pub offer: Offer,
    /// How busy it is.
    pub load: Load,
    /// What its ledger was at the last checkpoint it passed.
    pub checkpoint: Option<Checkpoint>,
    /// How far those of `held` say they are that say so, at most [`crate::limits::PROGRESS_SHOWN`].
    pub progress: Vec<Progress>,
    /// Those of `held` that a worker of ReCodEx has, with the pool it is of.
    pub pools: Vec<(AttemptRef, u32)>,
}

/// A ledger at one index, as a number that is equal where the ledgers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// After all entries up to this one.
    pub index: u64,
    /// The running digest.
    pub digest: u64,
}

/// What the leader says to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// The leader's full list, in answer to each report.
    Answered(Answered),
    /// Run this.
    Dispatch(Dispatch),
    /// The answer to a forward.
    Forwarded {
        /// Which forward.
        number: u64,
        /// What became of it.
        answer: Answer,
    },
    /// A result is dealt with; the worker may forget it.
    Settled {
        /// Whose.
        attempt: AttemptRef,
        /// How it was dealt with.
        verdict: Verdict,
    },
    /// Another node could begin these attempts now: give back those that have not begun here.
    Recall {
        /// Which.
        attempts: Vec<AttemptRef>,
    },
    /// The node's ledger is another than that of a majority: it must stop.
    Odd {
        /// The checkpoint where that was seen.
        index: u64,
    },
}

/// Everything a worker shall hold, in the leader's view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Counts up within a session.
    pub number: u64,
    /// Number of the report this answers.
    pub report: u64,
    /// Attempts committed to this worker and still wanted. What it holds beyond these it ends.
    pub hold: Vec<AttemptRef>,
    /// The leader's roster.
    pub roster: Vec<NodeLoad>,
}

/// One attempt for one worker. Leaves the leader only after its `Assign` is applied there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Which attempt.
    pub attempt: AttemptRef,
    /// The term that assigned it: with the number, the fencing token.
    pub term: u64,
    /// What to run.
    pub spec: Arc<JobSpec>,
}

/// How the leader dealt with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is the job's, or its attempt's, recorded end.
    Recorded,
    /// Another attempt had ended the job, or the job was cancelled.
    Superseded,
    /// The ledger knows no such job or attempt.
    Forgotten,
}
