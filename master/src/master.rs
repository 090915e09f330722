//! What a leader decides.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::ledger::{Effect, Ledger};
use crate::placement::RunsJobs;
use protocol::{Boot, Entry, Load, NodeId, NodeLoad, ToMaster, ToNode};

/// What the leader is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// Voters that must have been in sync once before jobs are taken; more than `voters` counts as `voters`.
    pub expect: usize,
    /// Voters to aim at: 1, 3 or 5.
    pub voters: usize,
    /// Length of one [`Master::tick`].
    pub tick_ms: u64,
    /// Whether the leader runs jobs itself.
    pub runs_jobs: RunsJobs,
    /// A test hook: nothing is dispatched while it is set.
    pub hold_dispatch: bool,
    /// A rule broken on purpose.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

/// A rule broken on purpose, to show that the invariants find it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A worker's running attempts are given to another after one missed report.
    RedispatchWhileHeld,
}

/// What the leader wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell a node something, under the session it was last heard with.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        body: ToNode,
    },
    /// Change the configuration of the consensus to exactly this, in one joint change.
    Members {
        /// All voters.
        voters: Vec<NodeId>,
        /// All learners.
        learners: Vec<NodeId>,
    },
    /// Hand the lead over.
    Transfer {
        /// To whom; none: whoever is fit.
        to: Option<NodeId>,
    },
    /// A choice looked at these workers; told at most once a second.
    Loads {
        /// Each with what it reported last.
        looked: Vec<(NodeId, Load)>,
    },
}

/// The mind of a leader.
#[derive(Clone, Debug)]
pub struct Master {}

impl Master {
    /// Takes the lead from the ledger alone.
    #[must_use]
    pub fn take_over(_settings: Settings, _ledger: &Ledger, _term: u64) -> Self {
        Self {}
    }
    /// One tick.
    pub fn tick(&mut self, _ledger: &Ledger) {}
    /// A node said something.
    pub fn heard(&mut self, _ledger: &Ledger, _from: NodeId, _boot: Boot, _session: u64, _message: ToMaster) {
    }
    /// An entry was applied.
    pub fn applied(&mut self, _ledger: &Ledger, _effects: &[Effect]) {}
    /// Voters.
    pub fn configuration(
        &mut self,
        _ledger: &Ledger,
        _voters: &[NodeId],
        _learners: &[NodeId],
        _joint: bool,
        _caught_up: &BTreeSet<NodeId>,
    ) {
    }
    /// What waits.
    pub fn proposal(&mut self, _ledger: &Ledger, _wall_ms: u64) -> Option<Entry> {
        None
    }
    /// Not taken.
    pub fn give_back(&mut self, _entry: Entry) {}
    /// What to do.
    pub fn drain(&mut self) -> Vec<Output> {
        Vec::new()
    }
    /// How busy each node is.
    #[must_use]
    pub fn roster(&self, _ledger: &Ledger) -> Vec<NodeLoad> {
        Vec::new()
    }
}
