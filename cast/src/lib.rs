//! The three minds of one node, and the order in which they hear each other.
//!
//! ```text
//!              ┌───────────────────────────── cast ─────────────────────────────┐
//!   Input ───▶ │ consensus ──Step──▶ ledger ──Effect──▶ master (only while      │ ───▶ Output
//!   (message,  │     ▲                  │                 │  this node leads)   │   (message, write,
//!    tick,     │     └────── Entry ─────┼─────────────────┘                     │    run, kill, tell,
//!    synced…)  │                        └─▶ gateway      worker ◀─ ToNode       │    fact …)
//!              └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Both bodies, the real `node` and the virtual `simulator`, drive this very room, so that what is proven there runs here.
//!
//! **Decides:** when a mind hears what; that nothing leaves before its entry is applied; that a leader acts only after
//! the first entry of its own term; that messages of another session or term are not heard.
//! **May not touch:** clocks, files, sockets, threads, chance (a seed is an argument); the inside of any mind.
//! **Driven by:** [`Cast::handle`] for each input (peer messages first, at most one tick a turn), then [`Cast::turn`];
//! after a write is on disk, [`Input::Synced`].
//! **Leaves out:** input and output of every kind, words for people.

mod adopting;
mod apply;
mod ask;
mod broker;
mod cast;
mod digests;
mod doubt;
mod gathering;
mod leaving;
mod mutant;
mod reads;
mod sharing;
mod snapshots;
#[cfg(test)]
mod tests;

pub use cast::Cast;
pub use gathering::Gathering;
pub use mutant::Mutant;

use std::sync::Arc;

use master::Ledger;
use protocol::recodex::Headers;
use protocol::{
    AttemptRef, Boot, Dispatch, Envelope, Fact, Job, JobId, Load, Member, NodeId, Offer, Outcome, Refusal,
    Request, ToMaster, ToNode,
};
pub use worker::{AttachedId, GuestId, Windows};

/// How one node's minds shall be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node as the others shall know it: id, start, name and addresses (its number is the ledger's to give).
    pub member: Member,
    /// Who founded the cluster: every log begins with this one voter.
    pub founder: NodeId,
    /// Source of all chance in here.
    pub seed: u64,
    /// Length of a tick.
    pub tick_ms: u64,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks of silence after which a follower stands for election, at least; at most twice that.
    pub election_ticks: usize,
    /// Voters that must have been in sync once before the first write.
    pub expect: usize,
    /// Voters the cluster aims at.
    pub voters: usize,
    /// A voter silent for so long is replaced by a learner that has caught up.
    pub replace_after_ms: u64,
    /// What this node offers as a worker.
    pub offer: Offer,
    /// How long attached workers have for a job.
    pub windows: Windows,
    /// Silence after which a worker of ReCodEx attached to this node is lost.
    pub guests_live_ms: u64,
    /// Whether a leader runs jobs itself.
    pub runs_jobs: master::RunsJobs,
    /// How a leader hands jobs to workers.
    pub policy: master::Policy,
    /// Attached workers that may hold one job at a time.
    pub max_offers: u32,
    /// When a voter's disk counts as nearly full.
    pub disk: master::DiskBounds,
    /// Bounds of the ledger: the same on every node.
    pub bounds: master::Bounds,
    /// An entry that a leader writes takes no further command beyond so many bytes ([`master::limits::ENTRY_FULL_BYTES`]).
    pub entry_full_bytes: usize,
    /// How much of history a leader keeps.
    pub retention: master::Retention,
    /// Test hook: a leader records assignments and does not send them.
    pub hold_dispatch: bool,
    /// A purposely broken rule; none outside the simulator.
    pub mutant: Option<Mutant>,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// One tick of `tick_ms` passed, however late it is noticed.
    Tick,
    /// A peer's consensus message.
    Peer(consensus::Message),
    /// The link with a peer ended. `gone`: its kernel closed or refused it, so the process is probably no more.
    LinkClosed {
        /// Which peer.
        peer: NodeId,
        /// Closed by its side, not by silence.
        gone: bool,
    },
    /// A node speaks to this one as to a leader.
    ToMaster(Envelope<ToMaster>),
    /// The leader speaks to this node.
    ToNode(Envelope<ToNode>),
    /// Every write up to this number is on disk.
    Synced(u64),
    /// A user's request; [`Output::Tell`] brings the ticket back. Tickets start at 1.
    Ask {
        /// Names the asker.
        ticket: u64,
        /// What is asked.
        request: Request,
    },
    /// A user's read that must see everything acknowledged before it; [`Output::ReadReady`] brings the ticket back.
    Read {
        /// Names the reader.
        ticket: u64,
    },
    /// The runner says that an attempt is gone.
    Ended {
        /// Which.
        attempt: AttemptRef,
        /// What it brought back.
        outcome: Outcome,
    },
    /// A foreign worker attached itself to this node, or says anew that it is there and free.
    Attach {
        /// Which.
        worker: AttachedId,
        /// What it serves.
        class: String,
    },
    /// A foreign worker's connection is gone.
    Left {
        /// Which.
        worker: AttachedId,
    },
    /// A foreign worker brought back what it held, and is free.
    Returned {
        /// Which.
        worker: AttachedId,
        /// What it serves.
        class: String,
        /// What it brought.
        outcome: Outcome,
    },
    /// A worker of ReCodEx is there. One that is known already can do what it said before, too.
    Welcome {
        /// Which.
        guest: GuestId,
        /// What it can do.
        headers: Headers,
        /// The front end's id of the job it is at work at. Which attempt that is, is found here; where the ledger has it as
        /// another node's, or as given up, it learns of this.
        at_work: Option<String>,
    },
    /// A worker of ReCodEx said something.
    GuestHeard {
        /// Which.
        guest: GuestId,
    },
    /// Its connection is gone. A busy one has the rest of its liveness to come back.
    GuestLeft {
        /// Which.
        guest: GuestId,
    },
    /// It brought what it held, and is free.
    GuestDone {
        /// Which.
        guest: GuestId,
        /// What it brought.
        outcome: Outcome,
    },
    /// A worker of ReCodEx that had been given up brought what it had.
    LateDone {
        /// Of what.
        attempt: AttemptRef,
        /// What it brought.
        outcome: Outcome,
    },
    /// A submission shall never be: nothing more is told for its ticket, and for this one once that is so.
    Withdraw {
        /// Names the asker.
        ticket: u64,
        /// The ticket of the submission.
        of: u64,
        /// The job it asked for.
        job: JobId,
    },
    /// The probe measured.
    Load(Load),
    /// How far the programs that run here say they are: all that say so.
    Progress(Vec<protocol::Progress>),
    /// A snapshot begun by [`Cast::begin_snapshot`] is safe on disk: the log before it may leave memory, but for so much.
    SnapshotSafe {
        /// Where it stands.
        base: consensus::Base,
        /// What of the log before it stays for peers that are a little behind.
        margin_bytes: u64,
    },
    /// The snapshot that [`Output::Fetch`] asked for is whole, checked and safe on disk.
    SnapshotFetched {
        /// Where it stands.
        index: u64,
        /// What is in it.
        ledger: Box<Ledger>,
    },
    /// It could not be had: the leader will name one again.
    SnapshotLost {
        /// Where it stands.
        index: u64,
    },
    /// As a leader this node has waited long enough for more commands ([`Cast::gathers`]): what waits is proposed.
    Gathered,
    /// So much history waits to be written here that, as a leader, this node shall take no new jobs; or that is over.
    Burdened(bool),
    /// The body's loop was late by more than an election timeout: others may have elected another leader meanwhile.
    Late,
    /// The process is to end: it goes once [`Cast::may_go`] says so, or its patience is over.
    Leave,
    /// The process is to end and its patience with what runs is over: all of it is ended and goes back to the leader.
    GiveUp,
    /// The disk hangs, or goes on: the leader on such a disk gives out no more work and hands over.
    DiskHangs(bool),
    /// The body had to give up the broker link's present session: a new one begins, and everything is said again.
    SessionLost,
}

/// Something to do. In order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this to a peer on the consensus link.
    Peer(consensus::Message),
    /// Write this, strictly first in, first out; then [`Input::Synced`].
    Write(consensus::Write),
    /// Speak to this leader on the broker link from now on (never this node itself), or to none.
    Follow(Option<Lead>),
    /// Send this to the leader last named by `Follow`.
    ToMaster(Envelope<ToMaster>),
    /// Send this to a node, under the session in the envelope.
    ToNode {
        /// Whom.
        to: NodeId,
        /// What.
        envelope: Envelope<ToNode>,
    },
    /// Start an attempt; [`Input::Ended`] when it is gone.
    Run(Dispatch),
    /// End an attempt; [`Input::Ended`] when it is gone.
    Kill(AttemptRef),
    /// Give an attempt to an attached worker; [`Input::Returned`] when it is done.
    Hand {
        /// Which worker.
        worker: AttachedId,
        /// What.
        dispatch: Dispatch,
    },
    /// An attached worker did not answer in time; its job is offered to others too.
    Late {
        /// Which worker.
        worker: AttachedId,
        /// With what.
        attempt: AttemptRef,
    },
    /// No further worker can be attached to this node: [`protocol::limits::ATTACHED`].
    TooManyAttached {
        /// Which was too many.
        worker: AttachedId,
    },
    /// Give an evaluation to a worker of ReCodEx; [`Input::GuestDone`] when it is done.
    HandGuest {
        /// Which worker.
        guest: GuestId,
        /// What.
        dispatch: Dispatch,
    },
    /// A worker of ReCodEx is none any more: it was silent for too long, or another one says that it is at work at what it has.
    GuestGone {
        /// Which worker.
        guest: GuestId,
        /// What it had: what it brings of that is an [`Input::LateDone`].
        attempt: Option<AttemptRef>,
    },
    /// No further worker of ReCodEx, or none with other headers, can be attached to this node
    /// ([`protocol::limits::RECODEX_WORKERS`], [`protocol::limits::RECODEX_POOLS`]).
    TooManyGuests {
        /// Which was too many.
        guest: GuestId,
    },
    /// Tell a user what became of the request.
    Tell {
        /// Names the asker.
        ticket: u64,
        /// What became of it.
        told: worker::Told,
    },
    /// A read may look now.
    ReadReady {
        /// Names the reader.
        ticket: u64,
    },
    /// No majority confirmed a read in time.
    ReadLost {
        /// Names the reader.
        ticket: u64,
    },
    /// The ledger recorded something; `job` is as the whole entry left it.
    Fact {
        /// What.
        fact: Arc<Fact>,
        /// The job it is about ([`Cast::watch`] says when it is left out).
        job: Option<Arc<Job>>,
    },
    /// Somebody else leads, or nobody is known to.
    Led {
        /// Of which term.
        term: u64,
        /// Who.
        leader: Option<NodeId>,
    },
    /// This node leads from here on and may act.
    Promoted {
        /// Its term.
        term: u64,
    },
    /// This node leads no longer.
    Demoted,
    /// As a leader this node looked at these workers' loads to place a job.
    Looked(Vec<(NodeId, Load)>),
    /// As a leader this node found another's ledger to differ from its own.
    Differs {
        /// Which node's.
        node: NodeId,
        /// Where that was seen.
        index: u64,
    },
    /// Members or configuration changed: dial [`Cast::peers`].
    Members,
    /// The leader told its roster anew: [`Cast::roster`].
    Roster,
    /// This node is so far behind that the leader does not have the entries it lacks: fetch the snapshot at this base from
    /// that node, then [`Input::SnapshotFetched`], or [`Input::SnapshotLost`].
    Fetch {
        /// Who has it.
        from: NodeId,
        /// Which one.
        base: consensus::Base,
    },
    /// The ledger is another one: it went on to this index in one step, and what happened in between is not told.
    Restored {
        /// Up to where.
        index: u64,
        /// Number of the last fact by then.
        last_fact: u64,
    },
    /// A ledger that is needed no more. To drop it may take long.
    Retired(Box<Ledger>),
    /// The cluster will not have this node: it must end and say so.
    NotAdmitted(Refusal),
    /// This node must stop: it would differ from the others.
    Fatal(String),
}

/// The leader to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Who.
    pub node: NodeId,
    /// Where its broker link is, if the ledger knows.
    pub address: Option<String>,
    /// The session all messages name.
    pub session: u64,
}

/// The ledger before the first entry, to be filled from a snapshot.
#[must_use]
pub fn empty_ledger(mutant: Option<Mutant>) -> Ledger {
    Mutant::ledger(mutant)
}

/// The two numbers that order a node's sessions.
pub(crate) type SessionKey = (Boot, u64);
