//! Whole clusters of the real minds in virtual time, from one seed.
//!
//! ```text
//!                    ┌─────────────────── World ────────────────────┐
//!   seed ──Chance──▶ │ faults ─▶ network, disks, clocks, processes  │
//!                    │ clients ─▶ 3 to 5 × Cast ─▶ runner, foreign  │ ──▶ Summary, or the first Violation
//!                    │              └─ outputs ─▶ Watch             │     with the command that replays it
//!                    └──────────────────────────────────────────────┘
//! ```
//!
//! **Decides:** what happens when, to whom ([`Fault`] names all kinds of faults); and whether what the minds did keeps every
//! promise of `docs/guarantees.md` after every step. Then faults off: the cluster must agree and serve.
//! **May not touch:** clocks, files, sockets, threads, chance other than its seed. The pretend disk holds the very bytes of
//! the real log, and forgets at a crash what was not synced.
//! **Driven by:** [`run`]. One seed is one history, byte by byte ([`Summary::digest`]).
//! **Leaves out:** the wires' bytes (messages travel as values), HTTP, child processes: `tests/` has those.
//!
//! Reading order: `world` (events), `turn` (one node), `watch`, `history` and `hearing` (the promises), `faults` (with `cables`
//! and `ills`), `clients`, `foreign`, `guests`.

mod cables;
mod chance;
mod clients;
mod disk;
mod ending;
mod faults;
mod fold;
mod foreign;
mod guests;
mod hearing;
mod history;
mod ills;
pub mod limits;
mod network;
mod node;
mod runner;
mod shelf;
mod snapshots;
mod turn;
mod watch;
mod world;

pub use cast::Mutant;
pub use faults::Fault;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::watch::{Broken, Held};
use crate::world::World;

/// One history to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The source of all chance.
    pub seed: u64,
    /// Nodes of the cluster: 3 to 5; other numbers are taken to the nearest.
    pub nodes: usize,
    /// Length of the history in minutes of virtual time, at least 1.
    pub minutes: u64,
    /// Tell the story line by line.
    pub verbose: bool,
    /// A purposely broken rule.
    pub mutant: Option<Mutant>,
}

impl Plan {
    /// The usual history of a seed: one minute, 3 to 5 nodes.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, nodes: 3 + (seed % 3) as usize, minutes: 1, verbose: false, mutant: None }
    }
}

/// What a history without a fault of ours was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events.
    pub steps: u64,
    /// Jobs in the ledger at the end.
    pub jobs: u64,
    /// Jobs that clients heard are safe.
    pub acknowledged: u64,
    /// Terms in which somebody acted as leader.
    pub elections: u64,
    /// Faults of each kind, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Ends of a node's start among them.
    pub crashes: u64,
    /// Attempts that started.
    pub attempts: u64,
    /// Linearizable reads that were answered and checked.
    pub reads: u64,
    /// Digest of everything that happened: equal for equal plans.
    pub digest: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} jobs ({} acknowledged), {} attempts, {} reads, {} elections, {} faults ({} crashes), digest {:016x}",
            self.steps,
            self.jobs,
            self.acknowledged,
            self.attempts,
            self.reads,
            self.elections,
            self.faults.iter().sum::<u64>(),
            self.crashes,
            self.digest
        )
    }
}

/// The first promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}, {at_ms} ms: {invariant} is broken: {detail}\nreplay: {replay}")]
pub struct Violation {
    /// The history.
    pub seed: u64,
    /// The event after which it was found, from 1.
    pub step: u64,
    /// Virtual time, milliseconds.
    pub at_ms: u64,
    /// Which promise.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
    /// The command that shows it again.
    pub replay: String,
}

/// All promises, by the names that code, tests and documents use.
pub const INVARIANTS: [&str; 15] = [
    "acked_survives",
    "one_result",
    "result_is_of_its_payload",
    "terminal_is_final",
    "no_repeat_in_calm",
    "no_run_while_held",
    "at_most_once",
    "key_is_one_job",
    "one_leader_a_term",
    "same_ledger",
    "never_over_capacity",
    "shares_hold",
    "queue_moves",
    "logs_complete",
    "told_once",
];

/// A node or a mind that gave up: an assertion whose words name no promise.
pub const PANICKED: &str = "no_panic";

/// Lives through one history. `story` gets its lines when the plan is verbose.
///
/// # Errors
/// The first promise that did not hold.
pub fn run(plan: &Plan, story: &mut dyn FnMut(&str)) -> Result<Summary, Violation> {
    let nodes = plan.nodes.clamp(limits::NODES_MIN, limits::NODES_MAX);
    let minutes = plan.minutes.clamp(1, limits::MINUTES_MAX);
    let plan = Plan { nodes, minutes, ..*plan };
    let mut world = World::new(&plan, story);
    // The minds' own assertions count as checks too.
    let held = catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| Err(asserted(&*panic)));
    judged(&plan, &world, held)
}

fn judged(plan: &Plan, world: &World<'_>, held: Held) -> Result<Summary, Violation> {
    let summary = Summary {
        steps: world.steps,
        jobs: world.watch.jobs.len() as u64,
        acknowledged: world.watch.acknowledged.len() as u64,
        elections: world.watch.elections(),
        faults: world.counts.faults,
        crashes: world.counts.crashes,
        attempts: world.watch.starts.len() as u64,
        reads: world.counts.reads,
        digest: world.fold.value(),
    };
    held.map(|()| summary).map_err(|broken| Violation {
        seed: plan.seed,
        step: world.steps,
        at_ms: world.now_us / limits::MS,
        invariant: broken.invariant,
        detail: broken.detail,
        replay: format!(
            "understudy simulate --seed {} --nodes {} --minutes {}",
            plan.seed, plan.nodes, plan.minutes
        ),
    })
}

/// An assertion names the promise it guards before a colon.
fn asserted(panic: &(dyn std::any::Any + Send)) -> Broken {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("without a word");
    let named = INVARIANTS.into_iter().find(|name| text.starts_with(name));
    Broken { invariant: named.unwrap_or(PANICKED), detail: text.to_string() }
}
