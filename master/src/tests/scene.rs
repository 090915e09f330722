//! Builders: a ledger that is fed commands, and a small cluster of pretended workers around one leader.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

pub(super) use super::book::Book;
use crate::limits::SPARES;
use crate::{Bounds, Effect, Ledger, Master, Output, Policy, RunsJobs, Settings};
use protocol::limits::REPORT_MS;
use protocol::recodex::Evaluation;
use protocol::{
    Answer, AttemptRef, Boot, Change, Command, Entry, Forward, JobId, JobSpec, JobState, Load, LossCause,
    Member, NodeId, Offer, Outcome, Reason, Report, Request, ToMaster, ToNode, Verdict, What, submit,
};

pub(super) const ANNA: NodeId = NodeId(1);
pub(super) const BERT: NodeId = NodeId(2);
pub(super) const CARL: NodeId = NodeId(3);
pub(super) const DORA: NodeId = NodeId(4);

pub(super) fn member(id: NodeId, boot: u64) -> Member {
    let known = ["nobody", "anna", "bert", "carl", "dora"].get(id.0 as usize);
    let name = known.map_or_else(|| std::format!("node{id}"), ToString::to_string);
    let at = |port: u16| std::format!("{name}:{port}");
    Member { id, number: 0, boot: Boot(boot), http: at(3002), link: at(9991), broker: at(9990), name }
}

pub(super) fn spec(class: &str) -> JobSpec {
    submit::defaults(class)
}

pub(super) fn success(output: &'static str) -> Arc<Outcome> {
    Arc::new(Outcome {
        exit_code: Some(0),
        cpu_ms: Some(7),
        ..Outcome::success(Bytes::from_static(output.as_bytes()))
    })
}

pub(super) fn failure() -> Arc<Outcome> {
    Arc::new(Outcome { exit_code: Some(3), ..Outcome::failure(Reason::Exit, "exit code 3".to_string()) })
}

/// The facts among effects.
pub(super) fn facts(effects: &[Effect]) -> Vec<What> {
    let fact = |effect: &Effect| match effect {
        Effect::Fact(fact) => Some(fact.what.clone()),
        _ => None,
    };
    effects.iter().filter_map(fact).collect()
}

pub(super) fn is_void(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Void { .. }])
}

/// A pretended worker and gateway: does what the leader says, as the real one does.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) boot: u64,
    pub(super) session: u64,
    pub(super) offer: Offer,
    pub(super) load: Load,
    pub(super) checkpoint: Option<protocol::Checkpoint>,
    pub(super) progress: Vec<protocol::Progress>,
    /// It was told that its ledger is the odd one.
    pub(super) odd: Option<u64>,
    pub(super) held: BTreeSet<AttemptRef>,
    /// Sent ahead of a free slot, in order.
    pub(super) waiting: Vec<AttemptRef>,
    pub(super) kept: BTreeMap<AttemptRef, Arc<Outcome>>,
    /// What it wants to be given to somebody else.
    pub(super) back: BTreeMap<AttemptRef, LossCause>,
    /// The pool of the worker of ReCodEx that has it.
    pub(super) pools: BTreeMap<AttemptRef, u32>,
    evaluations: BTreeMap<AttemptRef, Evaluation>,
    /// Every dispatch it got, in order.
    pub(super) dispatched: Vec<AttemptRef>,
    pub(super) settled: Vec<(AttemptRef, Verdict)>,
    /// What the leader answered.
    pub(super) answers: BTreeMap<u64, Answer>,
    /// What it found decided in its own ledger.
    pub(super) decided: BTreeMap<u64, Answer>,
    /// It neither says nor hears anything.
    pub(super) cut: bool,
    /// Dispatches do not reach it.
    pub(super) deaf: bool,
    report: u64,
    echo: u64,
    number: u64,
}

impl Worker {
    pub(super) fn new(slots: u32) -> Self {
        let classes = ["echo", "sleep"].map(ToString::to_string).into();
        let load = Load {
            cpu_used_milli: 0,
            cpu_total_milli: 4_000,
            memory_used_bytes: 1 << 30,
            memory_total_bytes: 8 << 30,
            disk_free_bytes: 8 << 30,
            disk_total_bytes: 16 << 30,
            ..Load::default()
        };
        Self {
            boot: 1,
            session: 1,
            offer: Offer { slots, classes, ..Offer::default() },
            load,
            checkpoint: None,
            progress: Vec::new(),
            odd: None,
            held: BTreeSet::new(),
            waiting: Vec::new(),
            kept: BTreeMap::new(),
            back: BTreeMap::new(),
            pools: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            dispatched: Vec::new(),
            settled: Vec::new(),
            answers: BTreeMap::new(),
            decided: BTreeMap::new(),
            cut: false,
            deaf: false,
            report: 0,
            echo: 0,
            number: 0,
        }
    }

    /// Killed and started again: what it held is gone.
    pub(super) fn restart(&mut self) {
        self.boot += 1;
        self.reconnect();
        self.held.clear();
        self.waiting.clear();
        self.kept.clear();
    }

    pub(super) fn reconnect(&mut self) {
        self.session += 1;
        (self.report, self.echo) = (0, 0);
    }

    pub(super) fn set_echo(&mut self, echo: u64) {
        self.echo = echo;
    }

    fn hear(&mut self, body: ToNode) {
        match body {
            ToNode::Dispatch(dispatch) if !self.deaf => {
                self.dispatched.push(dispatch.attempt);
                let asked = dispatch.spec.more.recodex.as_deref().cloned();
                self.evaluations.extend(asked.map(|asked| (dispatch.attempt, asked)));
                self.waiting.push(dispatch.attempt);
                self.fill_slots();
                assert!(self.waiting.len() <= SPARES as usize, "no more spare attempts than may be");
            }
            ToNode::Recall { attempts } => {
                let (back, waiting) =
                    self.waiting.iter().copied().partition(|attempt| attempts.contains(attempt));
                self.waiting = waiting;
                let back: Vec<AttemptRef> = back;
                self.back.extend(back.into_iter().map(|attempt| (attempt, LossCause::Unbegun)));
            }
            ToNode::Dispatch(_) => {}
            ToNode::Settled { attempt, verdict } => {
                self.kept.remove(&attempt);
                self.settled.push((attempt, verdict));
            }
            ToNode::Odd { index } => self.odd = Some(index),
            ToNode::Forwarded { number, answer } => {
                self.answers.insert(number, answer);
            }
            ToNode::Answered(answered) => {
                self.echo = answered.number;
                // An attached worker cannot be ended: it holds on until it answers.
                let attached = self.offer.all_attached() > 0;
                self.held.retain(|attempt| attached || answered.hold.contains(attempt));
                self.waiting.retain(|attempt| answered.hold.contains(attempt));
                self.back
                    .retain(|attempt, cause| *cause != LossCause::Unbegun || answered.hold.contains(attempt));
                self.fill_slots();
            }
        }
    }

    /// Gives what waits to workers of ReCodEx that may have it and are free.
    fn fill_pools(&mut self) {
        let waiting: Vec<AttemptRef> = self.waiting.clone();
        for attempt in waiting {
            let Some(asked) = self.evaluations.get(&attempt) else { continue };
            let busy =
                |pool: &u32| self.held.iter().filter(|held| self.pools.get(held) == Some(pool)).count();
            let mut fit = self.offer.pools_for(asked).into_iter();
            if let Some(pool) = fit.find(|pool| busy(pool) < self.offer.pools[pool].workers as usize) {
                self.pools.insert(attempt, pool);
                self.held.insert(attempt);
                self.waiting.retain(|waits| *waits != attempt);
            }
        }
    }

    fn fill_slots(&mut self) {
        self.fill_pools();
        let most = self.offer.slots + self.offer.attached.values().sum::<u32>();
        let own = |worker: &Self| worker.held.iter().filter(|held| !worker.pools.contains_key(held)).count();
        let is_own = |worker: &Self, attempt: &AttemptRef| !worker.evaluations.contains_key(attempt);
        while own(self) < most as usize
            && let Some(place) = self.waiting.iter().position(|attempt| is_own(self, attempt))
        {
            self.held.insert(self.waiting.remove(place));
        }
    }
}

/// One leader, its ledger, and workers around it.
pub(super) struct Scene {
    pub(super) ledger: Ledger,
    pub(super) master: Master,
    pub(super) workers: BTreeMap<NodeId, Worker>,
    /// Outputs that are for no node.
    pub(super) said: Vec<Output>,
    pub(super) settings: Settings,
    term: u64,
    next_job: u128,
}

impl Scene {
    /// Workers with so many slots each; all members, the cluster open, everybody heard. Node 9 leads and runs nothing.
    pub(super) fn with_slots(slots: &[u32]) -> Self {
        Self::with_bounds(slots, Bounds::default())
    }

    pub(super) fn with_bounds(slots: &[u32], bounds: Bounds) -> Self {
        let mut book = Book { ledger: Ledger::with_bounds(bounds), clock_ms: 0, number: 0 };
        let mut workers = BTreeMap::new();
        for (place, slots) in slots.iter().enumerate() {
            let id = NodeId(place as u64 + 1);
            book.one(Command::Configure(Change::Member(member(id, 1))));
            workers.insert(id, Worker::new(*slots));
        }
        book.one(Command::Configure(Change::Open));
        let settings = Settings {
            me: NodeId(9),
            expect: 1,
            voters: 3,
            replace_after_ms: 10_000,
            tick_ms: 50,
            runs_jobs: RunsJobs::Auto,
            policy: Policy::Single,
            max_offers: protocol::limits::MAX_OFFERS,
            disk: crate::DiskBounds::default(),
            retention: crate::Retention::default(),
            entry_full_bytes: crate::limits::ENTRY_FULL_BYTES,
            hold_dispatch: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        };
        let master = Master::take_over(settings.clone(), &book.ledger, 5);
        let ledger = book.ledger;
        let mut scene = Self { ledger, master, workers, said: Vec::new(), settings, term: 5, next_job: 0 };
        scene.pass(REPORT_MS * 2);
        scene
    }

    /// Another leader takes over from the ledger; every node connects to it anew.
    pub(super) fn promote(&mut self) {
        self.term += 1;
        self.master = Master::take_over(self.settings.clone(), &self.ledger, self.term);
        self.workers.values_mut().for_each(Worker::reconnect);
    }

    /// Proposes, applies and carries out until nothing is left to do.
    pub(super) fn turn(&mut self) {
        loop {
            self.carry_out();
            let Some(entry) = self.master.proposal(&self.ledger, 2_000_000) else { break };
            self.apply(&entry);
        }
    }

    pub(super) fn apply(&mut self, entry: &Entry) -> Vec<Effect> {
        let effects = self.ledger.apply(self.ledger.applied() + 1, entry);
        self.ledger.check();
        self.master.applied(&self.ledger, &effects);
        for effect in &effects {
            if let Effect::Decided { origin, answer, .. } = effect
                && let Some(gateway) = self.workers.get_mut(&origin.gateway)
                && gateway.boot == origin.boot.0
            {
                gateway.decided.insert(origin.number, answer.clone());
            }
        }
        effects
    }

    pub(super) fn carry_out(&mut self) {
        for output in self.master.drain() {
            match output {
                Output::Send { to, body } => {
                    if let Some(worker) = self.workers.get_mut(&to).filter(|worker| !worker.cut) {
                        worker.hear(body);
                    }
                }
                other => self.said.push(other),
            }
        }
    }

    pub(super) fn report(&mut self, id: NodeId) {
        let worker = self.workers.get_mut(&id).expect("a worker of the scene");
        if worker.cut {
            return;
        }
        worker.report += 1;
        let report = Report {
            number: worker.report,
            echo: worker.echo,
            held: worker.held.iter().chain(&worker.waiting).copied().collect(),
            waiting: worker.waiting.clone(),
            kept: worker.kept.keys().copied().collect(),
            back: worker.back.iter().map(|(attempt, cause)| (*attempt, *cause)).collect(),
            offer: worker.offer.clone(),
            load: worker.load,
            checkpoint: worker.checkpoint,
            progress: worker.progress.clone(),
            pools: worker.held.iter().filter_map(|held| Some((*held, *worker.pools.get(held)?))).collect(),
        };
        let (boot, session) = (Boot(worker.boot), worker.session);
        self.master.heard(&self.ledger, id, boot, session, ToMaster::Report(report.into()));
        self.turn();
    }

    pub(super) fn report_all(&mut self) {
        let ids: Vec<NodeId> = self.workers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.report(id));
    }

    /// So much cluster time goes by, with the reports that belong into it.
    pub(super) fn pass(&mut self, ms: u64) {
        for tick in 1..=ms / self.settings.tick_ms {
            self.master.tick(&self.ledger);
            self.turn();
            if (tick * self.settings.tick_ms).is_multiple_of(REPORT_MS) {
                self.report_all();
            }
        }
    }

    /// Forwards a request by `gateway` without letting the leader act on it yet. Gives its number.
    pub(super) fn forward(&mut self, gateway: NodeId, request: Request) -> u64 {
        let worker = self.workers.get_mut(&gateway).expect("a gateway of the scene");
        worker.number += 1;
        let number = worker.number;
        self.forward_again(gateway, number, request);
        number
    }

    pub(super) fn forward_again(&mut self, gateway: NodeId, number: u64, request: Request) {
        let worker = &self.workers[&gateway];
        let (boot, session) = (Boot(worker.boot), worker.session);
        let forward = Forward { number, floor: 1, request };
        self.master.heard(&self.ledger, gateway, boot, session, ToMaster::Forward(forward));
    }

    /// A request for a new job, and its id.
    pub(super) fn request(&mut self, spec: JobSpec) -> (JobId, Request) {
        self.next_job += 1;
        let job = JobId(self.next_job);
        (job, Request::Submit { job, spec: Arc::new(spec), key: None, fingerprint: [0; 32] })
    }

    /// Submits by anna, without a turn.
    pub(super) fn offer(&mut self, spec: JobSpec) -> JobId {
        let (job, request) = self.request(spec);
        self.forward(ANNA, request);
        job
    }

    /// Submits by anna, and lets the leader act.
    pub(super) fn submit(&mut self, spec: JobSpec) -> JobId {
        let job = self.offer(spec);
        self.turn();
        job
    }

    /// Asks, lets the leader act, and gives what the gateway hears, from the leader or from its own ledger.
    pub(super) fn ask(&mut self, gateway: NodeId, request: Request) -> Option<Answer> {
        let number = self.forward(gateway, request);
        self.turn();
        let gateway = &self.workers[&gateway];
        gateway.answers.get(&number).or(gateway.decided.get(&number)).cloned()
    }

    /// A worker ends an attempt and says so.
    pub(super) fn finish(&mut self, id: NodeId, attempt: AttemptRef, outcome: Arc<Outcome>) {
        let worker = self.workers.get_mut(&id).expect("a worker of the scene");
        worker.held.remove(&attempt);
        worker.fill_slots();
        worker.kept.insert(attempt, outcome);
        self.bring(id, attempt);
    }

    /// A worker brings a result it keeps.
    pub(super) fn bring(&mut self, id: NodeId, attempt: AttemptRef) {
        let worker = &self.workers[&id];
        let (boot, session) = (Boot(worker.boot), worker.session);
        let outcome = Arc::clone(&worker.kept[&attempt]);
        if !worker.cut {
            self.master.heard(&self.ledger, id, boot, session, ToMaster::Result { attempt, outcome });
            self.turn();
        }
    }

    pub(super) fn state(&self, job: JobId) -> JobState {
        self.ledger.job(job).expect("the job is in the ledger").state
    }

    pub(super) fn held(&self) -> Vec<usize> {
        self.workers.values().map(|worker| worker.held.len()).collect()
    }

    /// Which worker holds an attempt of this job.
    pub(super) fn holder(&self, job: JobId) -> Option<(NodeId, AttemptRef)> {
        let held =
            self.workers.iter().flat_map(|(id, worker)| worker.held.iter().map(|attempt| (*id, *attempt)));
        held.into_iter().find(|(_, attempt)| attempt.job == job)
    }
}

/// The ledger as a node has it that got it in pieces.
pub(super) fn through_snapshot(ledger: &Ledger, empty: Ledger) -> Ledger {
    let mut restoring = crate::Restoring::new(empty);
    for piece in ledger.pieces() {
        restoring.take(&piece).expect("its own pieces");
    }
    restoring.finish().expect("a whole ledger")
}
