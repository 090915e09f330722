//! The replicated state: every node builds the same one from the same entries. What a command does to it is in `apply`.

mod back;
mod look;
mod sums;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::facts::Facts;
use crate::gateways::{Gateways, Known};
use crate::held::{Held, Terms};
use crate::keys::Keys;
use crate::limits::Bounds;
use crate::marks::{Mark, Marks};
use crate::members::Members;
use crate::recodex::Recodex;
use crate::retention::Forgotten;
use crate::shards::{Order, Places, Shards};
use crate::shares::Shares;
use crate::tail::Tail;
use protocol::{
    Answer, AttemptRef, AttemptState, Boot, ClusterId, Ending, Fact, Job, JobId, JobSpec, JobState, Member,
    NodeId, Origin, Outcome, Rev,
};

/// Priorities a job may have: 0 to 9.
const LEVELS: usize = 10;

/// The replicated state. A clone is cheap (it shares all pieces) and stays as it was.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) bounds: Bounds,
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<LedgerMutant>,
    pub(crate) jobs: Shards<JobId, Held>,
    pub(crate) terms: Terms,
    pub(crate) order: Order,
    pub(crate) keys: Keys,
    pub(crate) tail: Tail,
    pub(crate) marks: Marks,
    pub(crate) forgotten: Forgotten,
    /// The clusters that this one was before it was recovered by hand, the first one first.
    pub(crate) former: Vec<ClusterId>,
    pub(crate) members: Members,
    pub(crate) gateways: Gateways,
    pub(crate) facts: Facts,
    pub(crate) open: bool,
    pub(crate) clock_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
    pub(crate) totals: Totals,
    /// Places of queued jobs, one set for each priority.
    queued: [Places; LEVELS],
    scheduled: Places,
    /// Places of running jobs, by the node their current attempt is committed to.
    running: Arc<BTreeMap<NodeId, Places>>,
    pub(crate) shares: Shares,
    pub(crate) recodex: Recodex,
}

/// What is counted and not searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Open jobs as they are; ended ones as many as ever ended so, wherever they are now.
    pub(crate) by_state: [u64; JobState::ALL.len()],
    /// Of all jobs held.
    pub(crate) bytes: u64,
    /// Of all jobs that ever ended.
    pub(crate) ended_bytes: u64,
}

/// A rule broken on purpose, to show that the invariants find it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerMutant {
    /// A later success overwrites the result of an ended job.
    SecondResult,
    /// An ended job can be cancelled.
    CancelsEnded,
    /// A failure of an attempt that was given up counts as one of the attempt that runs.
    LateFailureCounts,
    /// The attempt after a lost one bears its number again.
    SameAttemptNumber,
    /// A key is known only at the gateway that it first came through.
    KeyPerGateway,
    /// Now and then nobody is told of a fact (but of an acceptance: an acknowledgement without one is found as that).
    SkipsFacts,
    /// A job that may have one attempt at most gets another one where that was lost.
    OnceMore,
    /// A front end is told of a job's end again when a late result of it comes.
    TellsTwice,
}

/// What applying an entry brought about; the only source of anything that leaves a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something is so now.
    Fact(Arc<Fact>),
    /// A gateway's number has its answer.
    Decided {
        /// Which number.
        origin: Origin,
        /// The id it asked for, or the first of them.
        job: JobId,
        /// How many it asked for.
        jobs: usize,
        /// The answer, the same each time.
        answer: Answer,
    },
    /// What a command expected no longer held: it did nothing.
    Void {
        /// Its place in the entry, from 0.
        command: usize,
        /// The job it was about.
        job: Option<JobId>,
    },
}

impl Ledger {
    /// The ledger before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    /// A ledger with other bounds. All nodes of a cluster need the same.
    #[must_use]
    pub fn with_bounds(bounds: Bounds) -> Self {
        Self {
            bounds,
            #[cfg(feature = "mutants")]
            mutant: None,
            jobs: Shards::new(),
            terms: Terms::new(),
            order: Order::default(),
            keys: Keys::new(),
            tail: Tail::new(),
            marks: Marks::default(),
            forgotten: Forgotten::default(),
            former: Vec::new(),
            members: Members::default(),
            gateways: Gateways::default(),
            facts: Facts::default(),
            open: false,
            clock_ms: 0,
            wall_ms: 0,
            applied: 0,
            digest: Digest::new(),
            totals: Totals::default(),
            queued: Default::default(),
            scheduled: Places::default(),
            running: Arc::default(),
            shares: Shares::new(),
            recodex: Recodex::new(),
        }
    }

    /// A ledger with a broken rule.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mutant: LedgerMutant) -> Self {
        Self { mutant: Some(mutant), ..Self::new() }
    }

    /// This ledger with other bounds. All nodes of a cluster need the same from the first entry on.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The highest [`Job::order`] given so far; 0: none yet.
    #[must_use]
    pub fn last_order(&self) -> u64 {
        self.order.last()
    }

    /// Number of the newest end of a job ([`Ending::number`]); 0: none yet.
    #[must_use]
    pub fn last_end(&self) -> u64 {
        self.tail.last()
    }

    /// How far history is past its retention.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// A member by its id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(id)
    }

    /// All members, in the order of joining.
    pub fn members(&self) -> impl Iterator<Item = &Member> + '_ {
        self.members.iter()
    }

    /// A member by its name.
    #[must_use]
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.named(name)
    }

    /// Whether a member gets no new attempts because somebody asked.
    #[must_use]
    pub fn is_draining(&self, id: NodeId) -> bool {
        self.members.is_draining(id)
    }

    /// Whether enough voters were in sync once, so that jobs are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Cluster time of the last entry, milliseconds.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// The highest wall time any entry named, milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// Index of the last applied entry; 0: none yet.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// This moment: the last applied entry, and the last fact in it.
    #[must_use]
    pub fn rev(&self) -> Rev {
        let newest = self.facts.newest().filter(|fact| fact.rev.index == self.applied);
        newest.map_or(Rev { epoch: self.epoch(), index: self.applied, n: 0 }, |fact| fact.rev)
    }

    /// How often the cluster was recovered by hand: the first number of every revision.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        // Fits: there are at most `RECOVERIES`.
        self.former.len() as u32
    }

    /// The clusters that this one was before it was recovered by hand. Whoever still belongs to one of them is behind.
    #[must_use]
    pub fn former(&self) -> &[ClusterId] {
        &self.former
    }

    /// Kept facts with a higher number, in order.
    pub fn facts_after(&self, number: u64) -> impl Iterator<Item = &Arc<Fact>> {
        self.facts.after(number)
    }

    /// Number of the oldest fact that is kept.
    #[must_use]
    pub fn first_fact_kept(&self) -> u64 {
        self.facts.first()
    }

    /// Number of the newest fact; 0: none yet.
    #[must_use]
    pub fn last_fact(&self) -> u64 {
        self.facts.last()
    }

    /// Running attempts committed to a node, with the start of it each is meant for, oldest job first.
    pub fn attempts_on(&self, node: NodeId) -> impl Iterator<Item = (AttemptRef, Boot)> + '_ {
        self.running.get(&node).into_iter().flat_map(Places::iter).filter_map(|order| {
            let job = self.changed_job(self.order.get(order)?)?;
            let attempt = job.current()?;
            Some((AttemptRef { job: job.id, attempt: attempt.number }, attempt.boot))
        })
    }

    /// Nodes that running attempts are committed to, members or not.
    pub fn busy_nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.running.keys().copied()
    }

    /// Queued jobs: the highest priority first, then as accepted.
    pub fn queued(&self) -> impl Iterator<Item = JobId> + '_ {
        let places = self.queued.iter().rev().flat_map(Places::iter);
        places.filter_map(|order| self.order.get(order))
    }

    /// Jobs that wait for their time, as accepted.
    pub fn scheduled(&self) -> impl Iterator<Item = JobId> + '_ {
        self.scheduled.iter().filter_map(|order| self.order.get(order))
    }

    /// The recorded answer of a gateway's number.
    #[must_use]
    pub fn decided(&self, origin: &Origin) -> Option<Answer> {
        match self.gateways.known(origin) {
            Known::Yes(answer) => Some(answer),
            Known::No | Known::Stale => None,
        }
    }

    /// Whether a job was made under this key.
    #[must_use]
    pub fn knows_key(&self, key: &str) -> bool {
        self.keys.get(&Arc::from(key)).is_some()
    }

    /// Running digest over all entries and facts: equal on nodes that applied the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// Takes in a new job, which waits. Its order is given here.
    pub(crate) fn add(&mut self, id: JobId, spec: &JobSpec, rev: Rev, key: Option<Arc<str>>) {
        let order = self.order.push(id);
        self.totals.bytes += spec.weight_bytes();
        self.totals.by_state[place_of(JobState::Queued)] += 1;
        self.queued[level_of(spec)].insert(order);
        self.recodex.opened(spec, id);
        let held = Held::fresh((spec, &mut self.terms), order, self.wall_ms, rev, (key, self.clock_ms));
        self.jobs.insert(id, held);
    }

    /// The one way to change a job: keeps every index and count, and asserts what holds for ever.
    pub(crate) fn change(&mut self, id: JobId, rev: Rev, how: impl FnOnce(&mut Job)) {
        let held = |this: &mut Self| match this.jobs.get_mut(&id) {
            Some(held) => Arc::clone(held.job_mut(id)),
            None => unreachable!("only known jobs are changed"),
        };
        let before = held(self);
        self.index(&before, false);
        // Ours must be the only hold on it again, else the job would be copied.
        let (state, result) = (before.state, before.result.clone());
        drop(before);
        let ending = Ending { number: self.tail.last() + 1, rev, clock_ms: self.clock_ms };
        let Some(held) = self.jobs.get_mut(&id) else { unreachable!("only known jobs are changed") };
        let whole = held.job_mut(id);
        let job = Arc::make_mut(whole);
        how(job);
        job.rev = rev;
        if job.state.is_terminal() && !state.is_terminal() {
            job.ending = Some(ending);
        }
        let (after, key) = (Arc::clone(whole), held.key.clone());
        if state.is_terminal() && !self.is_mutant() {
            assert!(after.state == state, "terminal_is_final: {id} was {} already", state.word());
            assert!(after.result == result, "one_result: {id} has its result already");
        }
        let before_bytes = result.map_or(0, |outcome| result_bytes(&outcome));
        let after_bytes = after.result.as_ref().map_or(0, |outcome| result_bytes(outcome));
        self.totals.bytes = self.totals.bytes - before_bytes + after_bytes;
        self.index(&after, true);
        if state.is_terminal() {
            self.tail.weighs(before_bytes, after_bytes);
        } else if after.state.is_terminal() {
            self.recodex.ended(&after);
            self.ended(&after, key);
        }
    }

    /// Whether this rule is broken on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) fn breaks(&self, rule: LedgerMutant) -> bool {
        self.mutant == Some(rule)
    }

    fn ended(&mut self, job: &Job, key: Option<Arc<str>>) {
        let bytes = bytes_of(job);
        self.tail.push(job.id, bytes);
        self.totals.ended_bytes += bytes;
        let number = self.tail.last();
        let (clock_ms, wall_ms, bytes) = (self.clock_ms, self.wall_ms, self.totals.ended_bytes);
        self.marks.note(Mark { number, clock_ms, wall_ms, bytes });
        if let Some(key) = key {
            self.keys.ended(key, number, self.bounds.ended_keys);
        }
    }

    /// Lets go of the jobs that ended first, down to the bounds. Called when an entry begins: whatever an entry did can be
    /// looked at in the ledger after it.
    pub(crate) fn let_go(&mut self) {
        let Bounds { ended_jobs, ended_bytes, .. } = self.bounds;
        while self.tail.is_over(ended_jobs, ended_bytes, self.forgotten.upto) {
            let oldest = self.tail.oldest();
            let Some((id, held)) = oldest.and_then(|id| Some((id, self.jobs.remove(&id)?))) else {
                unreachable!("acked_survives: a job leaves the ledger once")
            };
            let bytes = held.bytes();
            self.tail.pop(bytes);
            self.order.remove(held.order());
            self.totals.bytes -= bytes;
            self.digest.take(&id);
        }
    }

    /// Bytes of all jobs that ever ended.
    pub(crate) fn ended_bytes(&self) -> u64 {
        self.totals.ended_bytes
    }

    pub(crate) fn is_mutant(&self) -> bool {
        #[cfg(feature = "mutants")]
        return self.mutant.is_some();
        #[cfg(not(feature = "mutants"))]
        false
    }

    /// Puts a job into the indexes of its state, or takes it out of them.
    fn index(&mut self, job: &Job, into: bool) {
        let count = &mut self.totals.by_state[place_of(job.state)];
        *count = if into { *count + 1 } else { *count - 1 };
        let put =
            |places: &mut Places| if into { places.insert(job.order) } else { places.remove(job.order) };
        match (job.state, job.current()) {
            (JobState::Queued, _) => put(&mut self.queued[level_of(&job.spec)]),
            (JobState::Scheduled, _) => put(&mut self.scheduled),
            (_, Some(attempt)) => {
                let running = Arc::make_mut(&mut self.running);
                let places = running.entry(attempt.node).or_default();
                put(places);
                if places.len() == 0 {
                    running.remove(&attempt.node);
                }
                if let Some(share) = &job.spec.more.limits {
                    self.shares.runs(&share.key, into);
                }
                self.recodex.runs(&job.spec, into);
            }
            _ => {}
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an attempt's own end is recorded on it, so that its result brings nothing new. A lost, superseded or
/// cancelled attempt can still bring one, once.
#[must_use]
pub fn is_noted(attempt: &protocol::Attempt) -> bool {
    match attempt.state {
        AttemptState::Running => false,
        AttemptState::Succeeded | AttemptState::Failed => true,
        AttemptState::Lost => attempt.reason.is_some(),
        AttemptState::Superseded | AttemptState::Cancelled => attempt.finished_wall_ms.is_some(),
    }
}

pub(crate) fn place_of(state: JobState) -> usize {
    JobState::ALL.iter().position(|s| *s == state).unwrap_or_default()
}

fn level_of(spec: &JobSpec) -> usize {
    usize::from(spec.priority).min(LEVELS - 1)
}

pub(crate) fn bytes_of(job: &Job) -> u64 {
    job.spec.weight_bytes() + job.result.as_ref().map_or(0, |outcome| result_bytes(outcome))
}

fn result_bytes(outcome: &Outcome) -> u64 {
    let fixed = 200;
    (outcome.weight_bytes() + fixed) as u64
}
