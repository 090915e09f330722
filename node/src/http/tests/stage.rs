//! A stage in small: one task, one real ledger, answers as told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use bytes::Bytes;
use logdb::door::Guarded;
use master::{Bounds, Effect, Ledger};
use protocol::{
    Answer, Boot, Change, ClusterId, Command, Entry, JobId, Load, Member, NodeId, NodeLoad, Offer, Origin,
    Outcome, Refusal, Request,
};
use tokio::sync::{broadcast, oneshot};

use crate::archive::{Archive, Batch};
use crate::ask::{Ask, DigestAt, Event, Front, Held, Reply, Told, Valve, View};
use crate::http::{Served, app_with_pages};
use crate::news::{Board, share_all};
use crate::runner::Outputs;
use crate::settings::{RunsJobs, Settings};

pub(super) const ME: NodeId = NodeId(1);
pub(super) const OTHER: NodeId = NodeId(2);

/// What the stage does with the next requests.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Applies and answers.
    Lead,
    /// Answers this without applying.
    Tell(Told),
    /// Drops the reply, as a stopped node does.
    Drop,
}

struct Inner {
    ledger: Ledger,
    archive: Option<Archive>,
    plan: Plan,
    has_leader: bool,
    knows_cluster: bool,
    number: u64,
    endings: Vec<(JobId, oneshot::Sender<Held>)>,
}

impl Inner {
    fn held(&self, job: JobId) -> Option<Held> {
        let members = Arc::new(self.ledger.members().cloned().collect());
        self.ledger.job(job).map(|job| Held { job, members })
    }

    fn tell_end(&mut self, job: JobId, reply: oneshot::Sender<Held>) {
        match self.held(job).filter(|held| held.job.state.is_terminal()) {
            Some(held) => drop(reply.send(held)),
            None => self.endings.push((job, reply)),
        }
    }
}

/// The test's hand on it.
#[derive(Clone)]
pub(super) struct Hand {
    inner: Arc<Mutex<Inner>>,
    pub(super) front: Front,
    pub(super) log: logdb::Log,
}

impl Hand {
    pub(super) fn plan(&self, plan: Plan) {
        self.inner.lock().unwrap().plan = plan;
    }

    pub(super) fn lose_leader(&self) {
        self.inner.lock().unwrap().has_leader = false;
    }

    pub(super) fn forget_cluster(&self) {
        self.inner.lock().unwrap().knows_cluster = false;
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.plan(Plan::Tell(Told::Answer(Answer::Refused(refusal))));
    }

    /// Applies one entry and tells of it.
    pub(super) fn apply(&self, commands: Vec<Command>) -> Vec<Effect> {
        let mut inner = self.inner.lock().unwrap();
        let index = inner.ledger.applied() + 1;
        let entry = Entry { clock_ms: index, wall_ms: 1_700_000_000_000 + index, term: 3, commands };
        let effects = inner.ledger.apply(index, &entry);
        let mut batch = Batch { applied: index, ..Batch::default() };
        for effect in &effects {
            let Effect::Fact(fact) = effect else { continue };
            let job = fact.what.job().and_then(|id| inner.ledger.job(id));
            batch.hear(fact, job.as_ref());
            if let Some(job) = job {
                let _ = self.front.events.send(Event::Job { fact: Arc::clone(fact), job });
            }
        }
        if let Some(archive) = &inner.archive {
            archive.push(batch);
        }
        for (job, reply) in std::mem::take(&mut inner.endings) {
            inner.tell_end(job, reply);
        }
        effects
    }

    /// Takes a job, as if somebody had given it, and says its id.
    pub(super) fn accept(&self, id: u128, class: &str, payload: &'static [u8]) -> JobId {
        let spec = protocol::submit::raw(class, Bytes::from_static(payload)).unwrap();
        self.submit(JobId(id), Arc::new(spec), None, [0; 32]);
        JobId(id)
    }

    fn submit(
        &self,
        job: JobId,
        spec: Arc<protocol::JobSpec>,
        key: Option<String>,
        fingerprint: [u8; 32],
    ) -> Answer {
        let number = {
            let mut inner = self.inner.lock().unwrap();
            inner.number += 1;
            inner.number
        };
        let origin = Origin { gateway: ME, boot: Boot(1), number, floor: number };
        let effects = self.apply(vec![Command::Submit { job, spec, key, fingerprint, origin }]);
        let answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Decided { answer, .. } => Some(answer),
            _ => None,
        });
        answers.last().unwrap()
    }

    pub(super) fn assign(&self, job: JobId) {
        self.apply(vec![Command::Assign { job, attempt: 1, node: OTHER, boot: Boot(1) }]);
    }

    pub(super) fn finish(&self, job: JobId, outcome: Outcome) {
        self.apply(vec![Command::Finish { job, attempt: 1, node: OTHER, outcome: Arc::new(outcome) }]);
    }

    pub(super) fn run(&self, job: JobId, output: &'static [u8]) {
        self.assign(job);
        self.finish(job, Outcome::success(Bytes::from_static(output)));
    }

    fn view(&self) -> View {
        let inner = self.inner.lock().unwrap();
        View {
            ledger: inner.ledger.clone(),
            cluster: ClusterId(0xabc),
            node: ME,
            founder: ME,
            leader: inner.has_leader.then_some(ME),
            term: 3,
            commit: inner.ledger.applied(),
            applied: inner.ledger.applied(),
            voters: vec![ME, OTHER],
            learners: Vec::new(),
            roster: vec![line(ME), line(OTHER)],
            leaderless_ms: if inner.has_leader { 0 } else { 7_000 },
            leaving: false,
        }
    }

    fn take(&self, ask: Ask) {
        let (plan, has_leader, knows_cluster) = {
            let inner = self.inner.lock().unwrap();
            (inner.plan.clone(), inner.has_leader, inner.knows_cluster)
        };
        match (ask, plan) {
            (Ask::View { linearizable, reply }, _) => {
                if knows_cluster && (has_leader || !linearizable) {
                    let _ = reply.send(self.view());
                }
            }
            (Ask::Digest { index, reply }, _) => {
                let applied = self.view().applied;
                let digest = index.is_none_or(|index| index <= applied).then_some(0xd1);
                let _ = reply.send(DigestAt { applied, digest });
            }
            (Ask::Request { .. }, Plan::Drop) => {}
            (Ask::Request { reply, .. }, Plan::Tell(told)) => {
                let _ = reply.send(Reply { told, held: None });
            }
            (Ask::Request { request, reply }, Plan::Lead) => {
                let answer = self.decide(request);
                let held = match &answer {
                    Answer::Accepted { job, .. } => self.inner.lock().unwrap().held(*job),
                    _ => None,
                };
                let _ = reply.send(Reply { told: Told::Answer(answer), held });
            }
            (Ask::Ended { job, reply }, _) => self.inner.lock().unwrap().tell_end(job, reply),
        }
    }

    fn decide(&self, request: Request) -> Answer {
        match request {
            Request::Submit { job, spec, key, fingerprint } => self.submit(job, spec, key, fingerprint),
            Request::Cancel { job } => {
                let state = self.inner.lock().unwrap().ledger.state(job);
                match state {
                    None => Answer::Refused(Refusal::NotFound),
                    Some(state) if state.is_terminal() => Answer::Refused(Refusal::Ended { job }),
                    Some(_) => {
                        self.apply(vec![Command::Cancel { job }]);
                        Answer::Done
                    }
                }
            }
            Request::Join(member) => {
                self.apply(vec![Command::Configure(Change::Member(member))]);
                Answer::Done
            }
            Request::Transfer { .. } | Request::Drain { .. } | Request::Recodex(_) => Answer::Done,
            Request::SubmitAll(batch) => {
                let number = {
                    let mut inner = self.inner.lock().unwrap();
                    inner.number += 1;
                    inner.number
                };
                let origin = Origin { gateway: ME, boot: Boot(1), number, floor: number };
                let effects = self.apply(vec![Command::SubmitAll { batch: Arc::new(batch), origin }]);
                let answers = effects.into_iter().filter_map(|effect| match effect {
                    Effect::Decided { answer, .. } => Some(answer),
                    _ => None,
                });
                answers.last().unwrap()
            }
        }
    }
}

fn line(id: NodeId) -> NodeLoad {
    let classes: BTreeSet<String> = ["echo".to_string(), "sleep".to_string()].into();
    let offer = Offer { slots: 4, classes, ..Offer::default() };
    let load = Load {
        cpu_used_milli: 500,
        cpu_total_milli: 2_000,
        memory_used_bytes: 1 << 30,
        memory_total_bytes: 4 << 30,
        disk_free_bytes: 1 << 30,
        disk_total_bytes: 4 << 30,
        ..Load::default()
    };
    NodeLoad { id, alive: true, offer, load, running: 0, progress: Vec::new() }
}

pub(super) fn member(id: NodeId, name: &str, port: u16) -> Member {
    let at = |port: u16| format!("127.0.0.1:{port}");
    Member { id, number: 0, boot: Boot(1), name: name.into(), http: at(port), link: at(1), broker: at(2) }
}

fn settings(chaos: bool, logdb: Option<String>) -> Settings {
    Settings {
        name: "n1".into(),
        data: "/nowhere".into(),
        listen_host: "127.0.0.1".into(),
        http_port: 1,
        advertise: "n1.test".into(),
        founds: true,
        join: Vec::new(),
        expect: 1,
        voters: 3,
        broker_port: 2,
        link_port: 3,
        clients_port: 4,
        workers_port: 5,
        lab: crate::settings::LabSettings::default(),
        recodex: None,
        pub_port: 6,
        share: share_all(),
        heartbeat_ms: 100,
        election_ms: 500,
        disk: crate::settings::DiskSettings::default(),
        slots: 4,
        drain_deadline_ms: protocol::limits::DRAIN_DEADLINE_MS,
        headers: BTreeMap::new(),
        resources: BTreeMap::new(),
        allow: BTreeSet::new(),
        classes: BTreeMap::new(),
        runs_jobs: RunsJobs::Auto,
        policy: crate::settings::Policy::Single,
        cluster_key: None,
        token: None,
        insecure: false,
        chaos,
        allowed_hosts: vec!["allowed.test".into()],
        logger: None,
        logdb,
        snapshot_bytes: u64::MAX,
        replace_after_ms: 10_000,
        retention: master::Retention::default(),
        ended_jobs: protocol::limits::ENDED_JOBS,
        hold_dispatch: false,
    }
}

/// A node `n1` that leads, with a member `n2`, its writes open.
pub(super) fn start() -> (Guarded, Hand) {
    start_with(true)
}

pub(super) fn start_with(chaos: bool) -> (Guarded, Hand) {
    start_by(settings(chaos, None))
}

/// It with a log store.
pub(super) fn start_beside(logdb: String) -> (Guarded, Hand) {
    start_by(settings(true, Some(logdb)))
}

/// It with a ledger that holds so many ended jobs, and an archive for the others.
pub(super) async fn start_with_history(folder: &Path, ended_jobs: u64) -> (Guarded, Hand) {
    let archive = Archive::open(folder, ClusterId(0xabc), logdb::Log::in_memory("n1")).await.unwrap();
    let bounds = Bounds { ended_jobs, facts: 1, ..Bounds::default() };
    start_on(settings(true, None), Ledger::with_bounds(bounds), Some(archive))
}

fn start_by(settings: Settings) -> (Guarded, Hand) {
    start_on(settings, Ledger::new(), None)
}

fn start_on(settings: Settings, ledger: Ledger, archive: Option<Archive>) -> (Guarded, Hand) {
    let (asks, mut asked) = crate::ask::asks(64);
    let front = Front {
        asks,
        events: broadcast::Sender::new(64),
        valve: Arc::new(Valve::unopened()),
        disk: crate::disk::Health::default(),
        outputs: Outputs::default(),
        lab: crate::lab::LabCounts::default(),
        broker: crate::broker::BrokerCounts::default(),
        history: crate::archive::History::default(),
        news: Board::with_voice("n1"),
    };
    front.history.set(archive.clone());
    let inner = Inner {
        ledger,
        archive,
        plan: Plan::Lead,
        has_leader: true,
        knows_cluster: true,
        number: 0,
        endings: Vec::new(),
    };
    let log = logdb::Log::in_memory("n1");
    let hand = Hand { inner: Arc::new(Mutex::new(inner)), front: front.clone(), log: log.clone() };
    hand.apply(vec![
        Command::Configure(Change::Member(member(ME, "n1", 1))),
        Command::Configure(Change::Member(member(OTHER, "n2", 4))),
        Command::Configure(Change::Open),
    ]);
    let stage = hand.clone();
    let mut wanted = front.valve.watch();
    let valve = Arc::clone(&front.valve);
    valve.reach(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => stage.take(ask),
                    None => return,
                },
                Ok(()) = wanted.changed() => {
                    let stopped = *wanted.borrow_and_update();
                    if stopped {
                        stage.inner.lock().unwrap().endings.clear();
                    }
                    valve.reach(stopped);
                }
            }
        }
    });
    let served = Served::new(front, Arc::new(settings), log);
    let pages = |_| Router::new().route("/", axum::routing::get(async || "a page"));
    (app_with_pages(served, pages), hand)
}
