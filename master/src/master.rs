//! What a leader decides, and the value that leading is: made from the ledger alone, dropped when the lead is lost.
//!
//! ```text
//!   heard ──▶ waiting commands ─┐
//!   tick  ──▶ (loss, release)   ├─▶ proposal ──▶ consensus ──▶ Ledger::apply ──▶ applied ──▶ answers, dispatches
//!   queue ──▶ assignments ──────┘        ▲
//!   give_back ───────────────────────────┘
//! ```
//! What is in flight is only remembered to not say it twice. After each entry every job it touched is compared with the
//! ledger ([`Master::applied`]), so that a command that did nothing leaves nothing behind.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::comparing::Comparing;
use crate::deadlines::Deadlines;
use crate::electorate::Electorate;
use crate::ledger::Ledger;
use crate::limits::{REMIND_MS, UNDECIDED_LOOKS, WAITING_PER_ENTRY};
use crate::placement::{Policy, RunsJobs};
use crate::queue::Queue;
use crate::retention::Retention;
use crate::roster::{Peer, Slot};
use crate::shortage::DiskBounds;
use crate::turnstile::Turnstile;
use protocol::limits::{ENTRY_COMMANDS, LIVENESS_MS};
use protocol::{
    AttemptRef, Boot, Change, Command, Entry, IfUnsatisfiable, JobId, JobSpec, Load, LossCause, Member,
    NodeId, NodeLoad, Reason, ToNode,
};

/// What the leader is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// Voters that must have been in sync once before jobs are taken; more than `voters` counts as `voters`.
    pub expect: usize,
    /// Voters to aim at: 1, 3 or 5.
    pub voters: usize,
    /// A voter silent for so long is replaced by a learner that has caught up.
    pub replace_after_ms: u64,
    /// Length of one [`Master::tick`].
    pub tick_ms: u64,
    /// Whether the leader runs jobs itself.
    pub runs_jobs: RunsJobs,
    /// How it hands jobs to workers.
    pub policy: Policy,
    /// Attached workers that may hold one job at a time.
    pub max_offers: u32,
    /// When a voter's disk counts as nearly full.
    pub disk: DiskBounds,
    /// How much of history is kept.
    pub retention: Retention,
    /// An entry takes no further command beyond so many bytes.
    pub entry_full_bytes: usize,
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
    /// A slot is free as soon as its job has ended.
    SlotFreedByJobsEnd,
    /// What was sent since a worker's last report occupies nothing.
    OverCapacity,
    /// That a worker started anew is not seen: its attempts stay with it.
    ForgetsRestarts,
    /// Jobs begin whatever bounds they share by their key.
    IgnoresShares,
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
    /// Change the configuration of the consensus to exactly this, in one joint change. Said again each second until it
    /// is so.
    Members {
        /// All voters.
        voters: Vec<NodeId>,
        /// All learners.
        learners: Vec<NodeId>,
    },
    /// Hand the lead over.
    Transfer {
        /// To one of these: to the one whose log is the most complete.
        to: Vec<NodeId>,
    },
    /// A node's ledger is another than this leader's; said once.
    Differs {
        /// Which node.
        node: NodeId,
        /// The checkpoint where that was seen.
        index: u64,
    },
    /// A majority of the voters agrees on another ledger than this leader's: it must stop.
    Odd {
        /// The checkpoint where that was seen.
        index: u64,
    },
    /// A choice looked at these workers; told at most once a second.
    Loads {
        /// Each with what it reported last.
        looked: Vec<(NodeId, Load)>,
    },
}

/// The mind of a leader.
#[derive(Clone, Debug)]
pub struct Master {
    pub(crate) settings: Settings,
    pub(crate) term: u64,
    /// Cluster time, milliseconds: the ledger's at the beginning, then counted in ticks.
    pub(crate) now_ms: u64,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) queue: Queue,
    pub(crate) deadlines: Deadlines,
    pub(crate) turnstile: Turnstile,
    /// Commands for the next entries, in order, and about how many bytes they are.
    pub(crate) waiting: VecDeque<Command>,
    pub(crate) waiting_bytes: usize,
    /// Entries consensus would not take.
    returned: VecDeque<Entry>,
    /// `Assign`s on their way.
    pub(crate) planned: BTreeMap<JobId, Planned>,
    /// `Finish`es on their way, with who awaits word of it.
    pub(crate) results: BTreeMap<AttemptRef, NodeId>,
    /// `Requeue`s on their way.
    pub(crate) requeueing: BTreeSet<AttemptRef>,
    pub(crate) submits: BTreeSet<Asker>,
    /// Attempts that are to become another node's, while that is on its way: nobody takes them back meanwhile.
    pub(crate) adopting: BTreeMap<Asker, AttemptRef>,
    pub(crate) cancels: BTreeMap<JobId, Vec<Asker>>,
    pub(crate) joins: BTreeMap<NodeId, (Member, Vec<Asker>)>,
    /// Who asked to drain a node, or to take that back.
    pub(crate) drains: Vec<(Asker, NodeId, bool)>,
    /// Queued jobs that fail where nobody could run them, while that cannot be said yet.
    pub(crate) undecided: BTreeSet<JobId>,
    pub(crate) last_chosen: NodeId,
    pub(crate) electorate: Electorate,
    pub(crate) comparing: Comparing,
    pub(crate) opening: bool,
    /// No new jobs are taken.
    pub(crate) burdened: bool,
    /// A `Forget` is on its way that expects this much to be forgotten.
    pub(crate) forgetting: Option<u64>,
    pub(crate) loads_told_ms: Option<u64>,
    swept_ms: u64,
    /// Nothing is assigned while it is set.
    held: bool,
    pub(crate) outputs: Vec<Output>,
}

/// Who waits for an answer: a gateway in one of its starts, under one of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asker {
    pub(crate) gateway: NodeId,
    pub(crate) boot: Boot,
    pub(crate) number: u64,
}

/// An `Assign` on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) attempt: u32,
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
}

impl Master {
    /// Takes the lead in `term` from the ledger alone: what is queued can go at once, what runs keeps its worker for the
    /// full liveness. The ledger must have applied the first entry of that term.
    #[must_use]
    pub fn take_over(settings: Settings, ledger: &Ledger, term: u64) -> Self {
        let now_ms = ledger.clock_ms();
        let mut master = Self {
            settings,
            term,
            now_ms,
            peers: BTreeMap::new(),
            queue: Queue::default(),
            deadlines: Deadlines::default(),
            turnstile: Turnstile::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            returned: VecDeque::new(),
            planned: BTreeMap::new(),
            results: BTreeMap::new(),
            requeueing: BTreeSet::new(),
            submits: BTreeSet::new(),
            adopting: BTreeMap::new(),
            cancels: BTreeMap::new(),
            joins: BTreeMap::new(),
            drains: Vec::new(),
            undecided: BTreeSet::new(),
            last_chosen: NodeId(0),
            electorate: Electorate::default(),
            comparing: Comparing::default(),
            opening: false,
            burdened: false,
            forgetting: None,
            loads_told_ms: None,
            swept_ms: now_ms,
            held: false,
            outputs: Vec::new(),
        };
        for member in ledger.members() {
            let mut peer = Peer::new(member.id, now_ms);
            (peer.boot, peer.member_boot, peer.trusted) = (member.boot, Some(member.boot), true);
            peer.drain(ledger.is_draining(member.id));
            master.peers.insert(member.id, peer);
        }
        for node in ledger.busy_nodes() {
            let peer = master.peers.entry(node).or_insert_with(|| Peer::new(node, now_ms));
            for (attempt, _) in ledger.attempts_on(node) {
                let spec = ledger.terms(attempt.job);
                peer.occupy(attempt, Slot::new(spec, false, 0, now_ms));
            }
        }
        for id in ledger.queued().chain(ledger.scheduled()) {
            master.compare(ledger, id);
            let fails = |terms: &Arc<JobSpec>| terms.if_unsatisfiable == IfUnsatisfiable::Fail;
            if ledger.terms(id).is_some_and(fails) && master.queue.contains(ledger, id) {
                master.undecided.insert(id);
            }
        }
        if master.settings.expect <= 1 {
            master.open(ledger);
        }
        master
    }

    /// One tick of cluster time has gone by: silence, pauses, and what has to be looked at each second.
    pub fn tick(&mut self, ledger: &Ledger) {
        self.now_ms = self.now_ms.saturating_add(self.settings.tick_ms);
        let now_ms = self.now_ms;
        let silent = |peer: &Peer| peer.shown.alive && peer.silence_ms(now_ms) >= LIVENESS_MS;
        let lost: Vec<NodeId> = self.peers.values().filter(|p| silent(p)).map(|p| p.shown.id).collect();
        for node in lost {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.shown.alive = false;
            }
            self.take_back(ledger, node);
            // What only others could run before may be for the leader now.
            self.queue.wake();
            self.queue.release_all();
        }
        self.look_at_transfers();
        while let Some(job) = self.deadlines.pop(now_ms) {
            self.push(Command::Release { job });
        }
        self.let_through();
        #[cfg(feature = "mutants")]
        self.take_back_too_early(ledger);
        self.forget(ledger);
        if now_ms.saturating_sub(self.swept_ms) >= REMIND_MS {
            self.swept_ms = now_ms;
            let busy: Vec<NodeId> = ledger.busy_nodes().collect();
            busy.into_iter().for_each(|node| self.take_back(ledger, node));
            self.decide_unsatisfiable(ledger);
            self.flee_full_disk();
        }
    }

    /// This node was late by more than an election timeout and has been confirmed as leader since: whatever silence it heard
    /// was its own, and begins anew.
    pub fn resumed(&mut self) {
        let now_ms = self.now_ms;
        self.peers.values_mut().for_each(|peer| peer.forget_silence(now_ms));
        self.electorate.forget_silence(now_ms);
    }

    /// All that waits, as one entry; `wall_ms` is milliseconds since 1970. None when nothing waits.
    pub fn proposal(&mut self, ledger: &Ledger, wall_ms: u64) -> Option<Entry> {
        if let Some(entry) = self.returned.pop_front() {
            return Some(Entry { clock_ms: self.now_ms, wall_ms, ..entry });
        }
        let mut commands = Vec::new();
        let (mut bytes, mut jobs) = (0, 0);
        while jobs < WAITING_PER_ENTRY {
            let Some(next) = self.waiting.front() else { break };
            let (next_bytes, next_jobs) = (weight_bytes(next), jobs_of(next));
            let fits =
                bytes + next_bytes <= self.settings.entry_full_bytes && jobs + next_jobs <= WAITING_PER_ENTRY;
            if !fits && !commands.is_empty() {
                break;
            }
            (bytes, jobs) = (bytes + next_bytes, jobs + next_jobs);
            self.waiting_bytes -= next_bytes;
            commands.extend(self.waiting.pop_front());
        }
        self.line_up(ledger, &mut commands);
        let room = ENTRY_COMMANDS.saturating_sub(commands.len());
        if !self.held {
            self.fill(ledger, room, &mut commands);
        }
        if commands.is_empty() {
            return None;
        }
        Some(Entry { clock_ms: self.now_ms, wall_ms, term: self.term, commands })
    }

    /// Whether more waits than one entry takes.
    #[must_use]
    pub fn has_whole_entry(&self) -> bool {
        self.waiting_bytes >= self.settings.entry_full_bytes
    }

    /// How many commands wait for the next entry.
    #[must_use]
    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    /// Whether what waits gets no better by waiting for more: there is a whole entry, or one that consensus gave back.
    #[must_use]
    pub fn must_propose(&self) -> bool {
        self.has_whole_entry() || !self.returned.is_empty()
    }

    /// Gives out no more work, or does again. What is assigned already is not touched.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
        self.queue.wake();
    }

    /// Consensus would not take this entry now: it goes first next time.
    pub fn give_back(&mut self, entry: Entry) {
        self.returned.push_back(entry);
    }

    /// Whether so much history waits to be written that new jobs are refused as `Full`. Everything else goes on.
    pub fn burden(&mut self, burdened: bool) {
        self.burdened = burdened;
    }

    /// What to do now, in order.
    pub fn drain(&mut self) -> Vec<Output> {
        core::mem::take(&mut self.outputs)
    }

    /// A new session with this node begins: what was to be said in the earlier one, and has not been drained, is not said.
    /// Whatever of it still matters is asked for again.
    pub fn unsay(&mut self, to: NodeId) {
        self.outputs.retain(|output| !matches!(output, Output::Send { to: other, .. } if *other == to));
    }

    /// How busy each member is, by id. A newcomer is alive once it has spoken.
    #[must_use]
    pub fn roster(&self, ledger: &Ledger) -> Vec<NodeLoad> {
        let members = self.peers.values().filter(|peer| ledger.member(peer.shown.id).is_some());
        let shown = |peer: &Peer| {
            let alive = peer.shown.alive && (peer.reported || peer.trusted);
            NodeLoad { alive, ..peer.shown.clone() }
        };
        members.map(shown).collect()
    }

    pub(crate) fn push(&mut self, command: Command) {
        self.waiting_bytes += weight_bytes(&command);
        self.waiting.push_back(command);
    }

    pub(crate) fn send(&mut self, to: NodeId, body: ToNode) {
        self.outputs.push(Output::Send { to, body });
    }

    pub(crate) fn open(&mut self, ledger: &Ledger) {
        if !ledger.is_open() && !self.opening {
            self.opening = true;
            self.push(Command::Configure(Change::Open));
        }
    }

    /// Takes back what runs on a node that is lost or started anew; each attempt once.
    pub(crate) fn take_back(&mut self, ledger: &Ledger, node: NodeId) {
        let peer = self.peers.get(&node);
        let gone = peer.is_none_or(|peer| !peer.shown.alive);
        let heard = peer.map_or(Boot(0), |peer| peer.boot);
        let boot = ledger.member(node).map_or(heard, |member| member.boot.max(heard));
        for (attempt, meant_for) in ledger.attempts_on(node) {
            #[cfg(feature = "mutants")]
            let boot = if self.breaks(Mutant::ForgetsRestarts) { meant_for } else { boot };
            let cause = match (meant_for < boot, gone) {
                (true, _) => LossCause::Restarted,
                (_, true) => LossCause::Silent,
                _ => continue,
            };
            if !self.is_adopting(attempt) && self.requeueing.insert(attempt) {
                self.push(Command::Requeue { job: attempt.job, attempt: attempt.attempt, cause });
            }
        }
    }

    pub(crate) fn is_adopting(&self, attempt: AttemptRef) -> bool {
        self.adopting.values().any(|adopting| *adopting == attempt)
    }

    /// Whether this rule is broken on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) fn breaks(&self, rule: Mutant) -> bool {
        self.settings.mutant == Some(rule)
    }

    #[cfg(feature = "mutants")]
    fn take_back_too_early(&mut self, ledger: &Ledger) {
        if !self.breaks(Mutant::RedispatchWhileHeld) {
            return;
        }
        let now_ms = self.now_ms;
        let late = |peer: &&Peer| peer.silence_ms(now_ms) > 2 * protocol::limits::REPORT_MS;
        let nodes: Vec<NodeId> = self.peers.values().filter(late).map(|peer| peer.shown.id).collect();
        for node in nodes {
            for (attempt, _) in ledger.attempts_on(node) {
                if self.requeueing.insert(attempt) {
                    let cause = LossCause::Silent;
                    self.push(Command::Requeue { job: attempt.job, attempt: attempt.attempt, cause });
                }
            }
        }
    }

    /// Ends jobs that asked to fail when nobody could run them, as soon as that is known.
    fn decide_unsatisfiable(&mut self, ledger: &Ledger) {
        let some: Vec<JobId> = self.undecided.iter().copied().take(UNDECIDED_LOOKS).collect();
        for job in some {
            if self.queue.arriving(job).is_some() {
                continue;
            }
            let known = ledger.terms(job).filter(|_| self.queue.contains(ledger, job));
            match known.map(|terms| self.unsatisfiable(terms)) {
                Some(None) => {}
                Some(Some(true)) => {
                    self.undecided.remove(&job);
                    self.push(Command::Expire { job, reason: Reason::Unsatisfiable });
                }
                Some(Some(false)) | None => {
                    self.undecided.remove(&job);
                }
            }
        }
    }
}

/// About how many bytes a command takes in the log.
fn weight_bytes(command: &Command) -> usize {
    let fixed = 64;
    fixed
        + match command {
            Command::Submit { spec, .. } => spec.weight_bytes() as usize + protocol::limits::KEY_BYTES,
            Command::SubmitAll { batch, .. } => batch.weight_bytes() as usize,
            Command::Finish { outcome, .. } | Command::FinishByRule { outcome, .. } => outcome.weight_bytes(),
            _ => 0,
        }
}

/// How much work a command is to apply, in jobs.
fn jobs_of(command: &Command) -> usize {
    match command {
        Command::SubmitAll { batch, .. } => batch.specs.len(),
        _ => 1,
    }
}
