//! What the HTTP side may ask of the stage, and what it hears without asking.

use std::sync::Arc;

use master::Ledger;
use protocol::{ClusterId, Fact, Job, JobId, Member, NodeId, NodeLoad, Request};
use tokio::sync::oneshot;
pub use worker::Told;

mod bell;

pub use bell::{Asked, Asks, NotTaken, asks};

/// Questions waiting for the stage; more wait at the asker.
pub const ASKS: usize = 4_096;

/// A question to the stage. The stage drops the reply when the node is stopped meanwhile.
#[derive(Debug)]
pub enum Ask {
    /// Have the leader do something. The gateway repeats it to the next leader until it is answered.
    Request {
        /// What.
        request: Request,
        /// Where the answer goes. Dropped without an answer: the node stopped, the outcome is unknown.
        reply: oneshot::Sender<Reply>,
    },
    /// A job once it has ended; at once when it has.
    Ended {
        /// Which.
        job: JobId,
        /// Where it goes. Dropped without an answer: the node stopped.
        reply: oneshot::Sender<Held>,
    },
    /// This node's state. `linearizable`: only after a majority confirmed that it is the newest.
    View {
        /// Confirm it first.
        linearizable: bool,
        /// Where it goes.
        reply: oneshot::Sender<View>,
    },
    /// The digest of this node's ledger at an index.
    Digest {
        /// After which entry; none: the last one applied.
        index: Option<u64>,
        /// Where it goes.
        reply: oneshot::Sender<DigestAt>,
    },
}

/// This node's ledger at one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestAt {
    /// How far this node has applied the log.
    pub applied: u64,
    /// The digest; none when the index is not applied yet or too long ago.
    pub digest: Option<u64>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Reply {
    /// What the leader decided, or that it did not.
    pub told: Told,
    /// The job it made or found, as this node's ledger holds it. None: no job was accepted, or this node is very late.
    pub held: Option<Held>,
}

/// One job of this node's ledger, with the members that name its nodes. Holds nothing else of the ledger, so that nothing has to
/// be copied when it goes on.
#[derive(Clone, Debug)]
pub struct Held {
    /// As it was when this was sent.
    pub job: Arc<Job>,
    /// Members of that time.
    pub members: Arc<Vec<Member>>,
}

/// One moment of this node: cheap to take (pointers), whole, and not changed afterwards.
#[derive(Clone, Debug)]
pub struct View {
    /// The replicated state.
    pub ledger: Ledger,
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which node this is.
    pub node: NodeId,
    /// The founder of the cluster.
    pub founder: NodeId,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Current term.
    pub term: u64,
    /// Newest committed index known here.
    pub commit: u64,
    /// Newest applied index here.
    pub applied: u64,
    /// Voters of the last configuration that is through: while it changes, of the one before.
    pub voters: Vec<NodeId>,
    /// Learners of the present configuration.
    pub learners: Vec<NodeId>,
    /// The roster as the leader last told it.
    pub roster: Vec<NodeLoad>,
    /// Since when (milliseconds) this node has heard of no leader; 0 when it has one.
    pub leaderless_ms: u64,
    /// This node is about to end.
    pub leaving: bool,
}

/// Something to show at once.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job changed; `job` is as it was right after, and `fact.rev` is its revision.
    Job {
        /// The fact that changed it.
        fact: Arc<Fact>,
        /// The job after it.
        job: Arc<Job>,
    },
    /// This node's state went on in one step, and what happened in between is not told: look at it anew.
    Anew,
    /// The lead changed.
    Leader {
        /// Of which term.
        term: u64,
        /// Who leads now.
        leader: NodeId,
        /// Who led before.
        previous: Option<NodeId>,
        /// How long nobody did, as this node saw it.
        gap_ms: u64,
    },
    /// The members or their loads changed.
    Nodes {
        /// The roster as the leader last told it.
        roster: Arc<Vec<NodeLoad>>,
        /// The members.
        members: Arc<Vec<Member>>,
    },
}

/// The soft crash. The stage obeys it; HTTP reads and turns it.
pub use logdb::door::Valve;

/// The HTTP side's end of the stage; cheap to clone, valid over `/stop` and resume.
#[derive(Clone, Debug)]
pub struct Front {
    /// Where questions go.
    pub asks: Asks,
    /// Where events come from.
    pub events: tokio::sync::broadcast::Sender<Event>,
    /// The soft crash: whether the node is stopped now, and the switch.
    pub valve: Arc<Valve>,
    /// How the node's disk is.
    pub disk: crate::disk::Health,
    /// What came to the lab's ports and was let go.
    pub lab: crate::lab::LabCounts,
    /// What the broker link let go.
    pub broker: crate::broker::BrokerCounts,
    /// Where attempts' output can be read while they run.
    pub outputs: crate::runner::Outputs,
    /// Where jobs that have ended are looked up.
    pub history: crate::archive::History,
    /// What was heard of all nodes, and the voice of its agents.
    pub news: crate::news::Board,
}
