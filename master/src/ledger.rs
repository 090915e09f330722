//! The replicated state: every node builds the same one from the same entries. What a command does to it is in `apply`.

mod back;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::facts::Facts;
use crate::gateways::{Gateways, Known};
use crate::keys::Keys;
use crate::limits::Bounds;
use crate::marks::{Mark, Marks};
use crate::members::Members;
use crate::retention::Forgotten;
use crate::shards::{Order, Places, Shards};
use crate::tail::Tail;
use protocol::{
    Answer, AttemptRef, AttemptState, Boot, Ending, Fact, Job, JobId, JobState, Member, NodeId, Origin,
    Outcome, Rev,
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
    pub(crate) order: Order,
    pub(crate) keys: Keys,
    pub(crate) tail: Tail,
    pub(crate) marks: Marks,
    pub(crate) forgotten: Forgotten,
    pub(crate) members: Members,
    pub(crate) gateways: Gateways,
    pub(crate) facts: Facts,
    pub(crate) open: bool,
    pub(crate) clock_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
    totals: Totals,
    /// Places of queued jobs, one set for each priority.
    queued: [Places; LEVELS],
    scheduled: Places,
    /// Places of running jobs, by the node their current attempt is committed to.
    running: Arc<BTreeMap<NodeId, Places>>,
}

/// A job with what only the ledger needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) job: Arc<Job>,
    pub(crate) key: Option<Arc<str>>,
    /// Cluster time at which it was accepted.
    pub(crate) accepted_ms: u64,
}

/// What is counted and not searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Totals {
    /// Open jobs as they are; ended ones as many as ever ended so, wherever they are now.
    by_state: [u64; JobState::ALL.len()],
    /// Of all jobs held.
    bytes: u64,
    /// Of all jobs that ever ended.
    ended_bytes: u64,
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
    /// Now and then nobody is told of a fact.
    SkipsFacts,
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
            order: Order::default(),
            keys: Keys::new(),
            tail: Tail::new(),
            marks: Marks::default(),
            forgotten: Forgotten::default(),
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

    /// A job by its id: every open one, and those that ended last.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id).map(|held| &held.job)
    }

    /// Cluster time at which a job was accepted.
    #[must_use]
    pub fn accepted_clock_ms(&self, id: JobId) -> Option<u64> {
        self.jobs.get(&id).map(|held| held.accepted_ms)
    }

    /// Jobs held here from the newest acceptance back, below the given [`Job::order`] (exclusive) when there is one.
    pub fn newest(&self, below_order: Option<u64>) -> impl Iterator<Item = &Arc<Job>> + '_ {
        self.order.newest_below(below_order.unwrap_or(u64::MAX)).filter_map(|id| self.job(id))
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

    /// How many jobs there are in each state; every state is present. Ended ones are counted for ever, also when they are
    /// history that is forgotten.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<JobState, u64> {
        JobState::ALL.iter().zip(self.totals.by_state).map(|(state, count)| (*state, count)).collect()
    }

    /// Bytes of all jobs held, with their results: open ones, and those that ended last.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn open_jobs(&self) -> u64 {
        let open = JobState::ALL.iter().zip(self.totals.by_state).filter(|(state, _)| !state.is_terminal());
        open.map(|(_, count)| count).sum()
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
        newest.map_or(Rev { epoch: 0, index: self.applied, n: 0 }, |fact| fact.rev)
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
            let job = self.job(self.order.get(order)?)?;
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

    /// Takes in a new job. Its order is given here.
    pub(crate) fn add(&mut self, mut job: Job, key: Option<Arc<str>>) {
        job.order = self.order.push(job.id);
        self.totals.bytes += job.spec.weight_bytes();
        self.index(&job, true);
        let held = Held { job: Arc::new(job), key, accepted_ms: self.clock_ms };
        self.jobs.insert(held.job.id, held);
    }

    /// The one way to change a job: keeps every index and count, and asserts what holds for ever.
    pub(crate) fn change(&mut self, id: JobId, rev: Rev, how: impl FnOnce(&mut Job)) {
        let Some(before) = self.job(id).cloned() else { unreachable!("only known jobs are changed") };
        self.index(&before, false);
        // Ours must be the only hold on it again, else the job would be copied.
        let (state, result) = (before.state, before.result.clone());
        drop(before);
        let ending = Ending { number: self.tail.last() + 1, rev, clock_ms: self.clock_ms };
        let Some(held) = self.jobs.get_mut(&id) else { unreachable!("only known jobs are changed") };
        let job = Arc::make_mut(&mut held.job);
        how(job);
        job.rev = rev;
        if job.state.is_terminal() && !state.is_terminal() {
            job.ending = Some(ending);
        }
        let (after, key) = (Arc::clone(&held.job), held.key.clone());
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
            let Some(held) = self.tail.oldest().and_then(|id| self.jobs.remove(&id)) else {
                unreachable!("acked_survives: a job leaves the ledger once")
            };
            let bytes = bytes_of(&held.job);
            self.tail.pop(bytes);
            self.order.remove(held.job.order);
            self.totals.bytes -= bytes;
            self.digest.take(&held.job.id);
        }
    }

    /// Bytes of all jobs that ever ended.
    pub(crate) fn ended_bytes(&self) -> u64 {
        self.totals.ended_bytes
    }

    fn is_mutant(&self) -> bool {
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
            (JobState::Queued, _) => put(&mut self.queued[level_of(job)]),
            (JobState::Scheduled, _) => put(&mut self.scheduled),
            (_, Some(attempt)) => {
                let running = Arc::make_mut(&mut self.running);
                let places = running.entry(attempt.node).or_default();
                put(places);
                if places.len() == 0 {
                    running.remove(&attempt.node);
                }
            }
            _ => {}
        }
    }

    /// Asserts that all of it fits together. Walks everything: for tests and the simulator.
    pub fn check(&self) {
        let mut found = Totals::default();
        let (mut running, mut ended, mut ended_bytes, mut open_keys) = (0, 0, 0, 0);
        for (id, held) in self.jobs.iter() {
            let job = &held.job;
            assert!(
                job.id == *id && self.order.get(job.order) == Some(*id),
                "acked_survives: {id} has its place"
            );
            found.by_state[place_of(job.state)] += 1;
            found.bytes += bytes_of(job);
            if job.state.is_terminal() {
                ended += 1;
                ended_bytes += bytes_of(job);
            }
            running += u64::from(job.state == JobState::Running);
            if let Some(key) = &held.key {
                let known = self.keys.get(key).is_some_and(|record| record.job == *id);
                assert!(known || job.state.is_terminal(), "key_is_one_job: an open job's key is remembered");
                open_keys += usize::from(!job.state.is_terminal());
            }
            check_job(job);
        }
        self.check_ends(&found, ended, ended_bytes);
        assert!(self.order.len() as usize == self.jobs.len(), "acked_survives: every held job has a place");
        assert!(open_keys + self.keys.ended_len() == self.keys.len(), "keys and jobs match");
        let in_state = |state: JobState, id: JobId| self.job(id).is_some_and(|job| job.state == state);
        let queued: Vec<JobId> = self.queued().collect();
        assert!(
            queued.len() as u64 == found.by_state[place_of(JobState::Queued)],
            "every queued job is indexed"
        );
        assert!(queued.iter().all(|id| in_state(JobState::Queued, *id)), "the queue holds queued jobs");
        let scheduled: Vec<JobId> = self.scheduled().collect();
        assert!(
            scheduled.len() as u64 == found.by_state[place_of(JobState::Scheduled)],
            "every wait is indexed"
        );
        assert!(scheduled.iter().all(|id| in_state(JobState::Scheduled, *id)), "waits are of scheduled jobs");
        let held = self.busy_nodes().flat_map(|node| self.attempts_on(node).map(move |a| (node, a)));
        let on_nodes: Vec<_> = held.collect();
        assert!(on_nodes.len() as u64 == running, "every running attempt is indexed");
        for (node, (attempt, boot)) in on_nodes {
            let current = self.job(attempt.job).and_then(|job| job.current());
            assert!(current.is_some_and(|a| a.node == node && a.boot == boot), "it is on the node it is on");
        }
        self.members.check();
        self.gateways.check();
    }

    /// Every accepted job is open, held as ended, or history: none is lost on the way.
    fn check_ends(&self, found: &Totals, ended: u64, ended_bytes: u64) {
        let mut ever = 0;
        for (place, state) in JobState::ALL.iter().enumerate() {
            if state.is_terminal() {
                ever += self.totals.by_state[place];
            } else {
                let same = found.by_state[place] == self.totals.by_state[place];
                assert!(same, "counts match the jobs that are {}", state.word());
            }
        }
        assert!(found.bytes == self.totals.bytes, "bytes match the jobs");
        assert!((ended, ended_bytes) == (self.tail.len(), self.tail.bytes()), "ended jobs are counted right");
        assert!(ever == self.tail.last() || self.is_mutant(), "terminal_is_final: every job ends once");
        let accepted = self.open_jobs() + self.tail.last();
        assert!(
            accepted == self.order.last() || self.is_mutant(),
            "acked_survives: every job is open or ended"
        );
        assert!(self.forgotten.upto <= self.tail.last(), "only what has ended is forgotten");
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

fn check_job(job: &Job) {
    let id = job.id;
    let of = |state: AttemptState| job.attempts.iter().filter(|a| a.state == state).count();
    for (place, attempt) in job.attempts.iter().enumerate() {
        assert!(attempt.number as usize == place + 1, "attempts of {id} are numbered from 1");
    }
    let running = usize::from(job.state == JobState::Running);
    assert!(
        of(AttemptState::Running) == running,
        "no_run_while_held: {id} runs once while running, else never"
    );
    let succeeded = usize::from(job.state == JobState::Succeeded);
    assert!(of(AttemptState::Succeeded) == succeeded, "one_result: one attempt made the success of {id}");
    assert!(
        job.finished_wall_ms.is_some() == job.state.is_terminal(),
        "{id} has one end, and then a time of it"
    );
    assert!(job.ending.is_some() == job.state.is_terminal(), "{id} has one place among the ends");
    assert!(job.reason.is_some() == (job.state == JobState::Failed), "{id} has a reason when it failed");
    assert!(job.not_before_ms.is_some() == (job.state == JobState::Scheduled), "{id} waits for a named time");
    match job.state {
        JobState::Succeeded => assert!(job.result.is_some(), "one_result: {id} succeeded with a result"),
        JobState::Failed => {}
        _ => assert!(job.result.is_none(), "one_result: {id} has none before its end"),
    }
}

fn place_of(state: JobState) -> usize {
    JobState::ALL.iter().position(|s| *s == state).unwrap_or_default()
}

fn level_of(job: &Job) -> usize {
    usize::from(job.spec.priority).min(LEVELS - 1)
}

fn bytes_of(job: &Job) -> u64 {
    job.spec.weight_bytes() + job.result.as_ref().map_or(0, |outcome| result_bytes(outcome))
}

fn result_bytes(outcome: &Outcome) -> u64 {
    let fixed = 200;
    let error = outcome.error.as_ref().map_or(0, alloc::string::String::len);
    (outcome.output.len() + outcome.stderr.len() + error + fixed) as u64
}
