//! Placement against a small model of it: any nodes and jobs, and any history of a few workers.

use super::scene::*;
use crate::placement::{Seat, choose, score};
use crate::reserved::Reserved;
use crate::{Policy, RunsJobs};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::limits::{LIVENESS_MS, REPORT_MS};
use protocol::{AttemptRef, Chosen, JobId, JobSpec, JobState, Load, More, NodeId, NodeLoad, Offer};

const GPU: &str = "gpu";
const RULES: (RunsJobs, Policy) = (RunsJobs::Auto, Policy::Single);

fn job() -> impl Strategy<Value = JobSpec> {
    let cpu = prop_oneof![3 => Just(0), 2 => 1_u32..2_500];
    let memory = prop_oneof![3 => Just(0), 1 => 1_u64..5];
    let gpu = prop_oneof![3 => Just(0), 2 => 1_u64..2_200];
    let header =
        prop_oneof![4 => Just(None), 1 => Just(Some("a")), 1 => Just(Some("b|c")), 1 => Just(Some(">=2"))];
    (cpu, memory, gpu, header).prop_map(|(cpu_milli, gib, gpu, header)| JobSpec {
        cpu_milli,
        memory_bytes: gib << 30,
        requires: header.map(|wanted| ("env".to_string(), wanted.to_string())).into_iter().collect(),
        more: More {
            resources: (gpu > 0).then(|| (GPU.to_string(), gpu)).into_iter().collect(),
            ..More::default()
        },
        ..spec("echo")
    })
}

fn offer() -> impl Strategy<Value = Offer> {
    let env = prop::collection::btree_set(prop::sample::select(alloc::vec!["a", "b", "2", "3"]), 0..3);
    (0_u32..4, env, 0_u64..2_500, prop::bool::weighted(0.1), prop::bool::weighted(0.9)).prop_map(
        |(slots, env, gpu, draining, serves)| Offer {
            slots,
            classes: serves.then(|| "echo".to_string()).into_iter().collect(),
            headers: [("env".to_string(), env.into_iter().map(ToString::to_string).collect())].into(),
            resources: [(GPU.to_string(), gpu)].into(),
            draining,
            ..Offer::default()
        },
    )
}

/// A node, and jobs whose attempts it holds.
fn node() -> impl Strategy<Value = (NodeLoad, Vec<JobSpec>)> {
    (offer(), prop::collection::vec(job(), 0..4), 0_u32..3_000, 0_u32..1_000, prop::bool::weighted(0.9))
        .prop_map(|(offer, held, cpu_used_milli, cpu_pressure_permille, alive)| {
            let load = Load {
                cpu_used_milli: cpu_used_milli / 500 * 500,
                cpu_total_milli: 3_000,
                memory_total_bytes: 6 << 30,
                cpu_pressure_permille: cpu_pressure_permille / 500 * 500,
                ..Load::default()
            };
            let running = held.len() as u32;
            (NodeLoad { id: NodeId(0), alive, offer, load, running, progress: Vec::new() }, held)
        })
}

/// The model: what a node must be and have for a job, said once more and plainly.
fn fits(spec: &JobSpec, node: &NodeLoad, held: &[JobSpec]) -> bool {
    let carries = spec.requires.iter().all(|(name, wanted)| {
        let values = node.offer.headers.get(name);
        values.is_some_and(|values| match wanted.as_str() {
            ">=2" => values.contains("2") || values.contains("3"),
            "b|c" => values.contains("b") || values.contains("c"),
            equal => values.contains(equal),
        })
    });
    let all = held.iter().chain([spec]);
    let gpu = |spec: &JobSpec| spec.more.resources.get(GPU).copied().unwrap_or(0);
    let cpu = all.clone().map(|spec| u64::from(spec.cpu_milli)).sum::<u64>();
    let memory = all.clone().map(|spec| spec.memory_bytes).sum::<u64>();
    let gpus = all.clone().map(gpu).sum::<u64>();
    node.alive
        && !node.offer.draining
        && node.offer.classes.contains("echo")
        && carries
        && all.count() <= node.offer.slots as usize
        && (spec.cpu_milli == 0 || cpu <= u64::from(node.load.cpu_total_milli))
        && (spec.memory_bytes == 0 || memory <= node.load.memory_total_bytes)
        && (gpu(spec) == 0 || gpus <= node.offer.resources.get(GPU).copied().unwrap_or(0))
}

fn reserved(held: &[JobSpec]) -> Reserved {
    let mut reserved = Reserved::default();
    held.iter().for_each(|spec| reserved.take(Some(spec)));
    reserved
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_choice_is_the_models_whatever_the_order_of_the_nodes(
        spec in job(),
        nodes in prop::collection::vec(node(), 0..6),
        last in 0_u64..8,
        turn in 0_usize..6,
    ) {
        let nodes: Vec<(NodeLoad, Vec<JobSpec>)> = nodes
            .into_iter()
            .zip(1..)
            .map(|((node, held), id)| (NodeLoad { id: NodeId(id), ..node }, held))
            .collect();
        let sums: Vec<Reserved> = nodes.iter().map(|(_, held)| reserved(held)).collect();
        let mut seats: Vec<Seat<'_>> = nodes
            .iter()
            .zip(&sums)
            .map(|((node, held), reserved)| Seat {
                node,
                attached_free: false,
                own_slots: node.offer.slots,
                own_used: held.len() as u32,
                sent: 0,
                reserved,
                leads: false,
            })
            .collect();
        let chosen = choose(&spec, seats.iter().copied(), RULES, true, NodeId(last));
        let could: Vec<NodeId> =
            nodes.iter().filter(|(node, held)| fits(&spec, node, held)).map(|(node, _)| node.id).collect();
        prop_assert_eq!(chosen.is_some(), !could.is_empty());
        prop_assert!(chosen.is_none_or(|(chosen, _)| could.contains(&chosen)));
        let busy: BTreeMap<NodeId, (u64, u32)> =
            seats.iter().map(|seat| (seat.node.id, (score(seat), seat.node.running))).collect();
        if let Some((chosen, why)) = chosen {
            let said = match could.len() {
                1 => Chosen::Only,
                of => Chosen::Least { of: of as u32, score: busy[&chosen].0 },
            };
            prop_assert_eq!(why, said);
            let least = could.iter().map(|id| busy[id]).min().unwrap();
            prop_assert_eq!(busy[&chosen], least, "the least busy one");
            let ties: Vec<NodeId> = could.iter().copied().filter(|id| busy[id] == least).collect();
            let next = ties.iter().find(|id| id.0 > last).or(ties.first());
            prop_assert_eq!(Some(&chosen), next, "of equal ones the next in turn");
        }
        let places = seats.len().max(1);
        seats.rotate_left(turn % places);
        prop_assert_eq!(choose(&spec, seats.iter().copied(), RULES, true, NodeId(last)), chosen);
        seats.reverse();
        prop_assert_eq!(choose(&spec, seats.iter().copied(), RULES, true, NodeId(last)), chosen);
    }

    #[test]
    fn what_was_taken_and_given_back_leaves_the_sums_of_the_rest(held in prop::collection::vec(job(), 0..8), keep in 0_usize..8) {
        let mut all = reserved(&held);
        let keep = keep.min(held.len());
        held[keep..].iter().for_each(|spec| all.give(Some(spec)));
        prop_assert_eq!(all, reserved(&held[..keep]));
    }
}

/// What may happen to a small cluster.
#[derive(Clone, Debug)]
enum Step {
    Submit(Box<JobSpec>),
    /// Some attempt that is held somewhere ends.
    Finish {
        which: usize,
        well: bool,
    },
    Cancel(usize),
    Restart(u64),
    /// Its cable is pulled, or put back.
    Cut(u64),
    Drain(u64),
    Promote,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => job().prop_map(|spec| Step::Submit(Box::new(spec))),
        8 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, well)| Step::Finish { which, well }),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (1_u64..=3).prop_map(Step::Restart),
        1 => (1_u64..=3).prop_map(Step::Cut),
        1 => (1_u64..=3).prop_map(Step::Drain),
        1 => Just(Step::Promote),
        4 => (1_u64..4).prop_map(|reports| Step::Pass(reports * REPORT_MS)),
        1 => Just(Step::Pass(LIVENESS_MS + REPORT_MS)),
    ]
}

/// A scene with the jobs it was given.
struct Small {
    scene: Scene,
    jobs: BTreeMap<JobId, JobSpec>,
}

impl Small {
    fn new(policy: Policy) -> Self {
        let mut scene = Scene::with_slots(&[1, 2, 3]);
        scene.settings.policy = policy;
        scene.promote();
        for (id, worker) in &mut scene.workers {
            worker.load.cpu_total_milli = 3_000;
            worker.load.memory_total_bytes = 6 << 30;
            worker.offer.resources.insert(GPU.to_string(), id.0 * 750);
            let env = ["a", "b", "3"][id.0 as usize - 1].to_string();
            worker.offer.headers.insert("env".to_string(), [env].into());
        }
        scene.pass(2 * REPORT_MS);
        Self { scene, jobs: BTreeMap::new() }
    }

    fn take(&mut self, step: Step) {
        let scene = &mut self.scene;
        match step {
            Step::Submit(spec) => {
                let job = scene.submit(JobSpec::clone(&spec));
                self.jobs.insert(job, *spec);
            }
            Step::Finish { which, well } => {
                let held: Vec<(NodeId, AttemptRef)> =
                    scene.workers.iter().flat_map(|(id, w)| w.held.iter().map(|a| (*id, *a))).collect();
                if let Some((id, attempt)) = held.get(which % held.len().max(1)).copied() {
                    scene.finish(id, attempt, if well { success("x") } else { failure() });
                }
            }
            Step::Cancel(which) => {
                if let Some(job) = self.jobs.keys().nth(which % self.jobs.len().max(1)).copied() {
                    scene.ask(ANNA, protocol::Request::Cancel { job });
                }
            }
            Step::Restart(id) => {
                let worker = scene.workers.get_mut(&NodeId(id)).unwrap();
                worker.restart();
                let boot = worker.boot;
                scene.ask(NodeId(id), protocol::Request::Join(member(NodeId(id), boot)));
            }
            Step::Cut(id) => {
                let worker = scene.workers.get_mut(&NodeId(id)).unwrap();
                worker.cut = !worker.cut;
                worker.reconnect();
            }
            Step::Drain(id) => {
                let offer = &mut scene.workers.get_mut(&NodeId(id)).unwrap().offer;
                offer.draining = !offer.draining;
            }
            Step::Promote => scene.promote(),
            Step::Pass(ms) => scene.pass(ms),
        }
    }

    /// Jobs of attempts that are on a node, by the ledger or by the worker itself.
    fn on(&self, id: NodeId) -> Vec<JobSpec> {
        let worker = &self.scene.workers[&id];
        let committed = self.scene.ledger.attempts_on(id).filter(|(_, boot)| boot.0 == worker.boot);
        let mut all: BTreeSet<AttemptRef> = committed.map(|(attempt, _)| attempt).collect();
        all.extend(worker.held.iter().chain(&worker.waiting).copied());
        // Their worker has said that they are gone, and waits for its results to be settled.
        all.retain(|attempt| !worker.kept.contains_key(attempt));
        all.into_iter().map(|attempt| self.jobs[&attempt.job].clone()).collect()
    }

    /// `never_over_capacity`.
    fn check(&self) -> Result<(), TestCaseError> {
        for (id, worker) in &self.scene.workers {
            let on = self.on(*id);
            let gpu = |spec: &JobSpec| spec.more.resources.get(GPU).copied().unwrap_or(0);
            let sums = (
                on.iter().map(|spec| u64::from(spec.cpu_milli)).sum::<u64>(),
                on.iter().map(|spec| spec.memory_bytes).sum::<u64>(),
                on.iter().map(gpu).sum::<u64>(),
            );
            prop_assert!(sums.0 <= 3_000 && sums.1 <= 6 << 30 && sums.2 <= id.0 * 750, "{id}: {sums:?}");
            prop_assert!(worker.held.len() <= worker.offer.slots as usize, "{id}: {:?}", worker.held);
        }
        Ok(())
    }

    /// `queue_moves`: once all is quiet nobody waits who could start.
    fn check_queue(&mut self) -> Result<(), TestCaseError> {
        for worker in self.scene.workers.values_mut().filter(|worker| worker.cut) {
            worker.cut = false;
            worker.reconnect();
        }
        self.scene.pass(LIVENESS_MS);
        let kept = |worker: &Worker| worker.kept.keys().copied().collect::<Vec<_>>();
        let again: Vec<(NodeId, Vec<AttemptRef>)> =
            self.scene.workers.iter().map(|(id, worker)| (*id, kept(worker))).collect();
        for (id, attempts) in again {
            attempts.into_iter().for_each(|attempt| self.scene.bring(id, attempt));
        }
        self.scene.pass(2 * REPORT_MS);
        self.check()?;
        let roster = self.scene.master.roster(&self.scene.ledger);
        let queued = self.jobs.iter().filter(|(job, _)| self.scene.state(**job) == JobState::Queued);
        for (job, spec) in queued {
            let free = roster.iter().find(|node| fits(spec, node, &self.on(node.id)));
            prop_assert!(free.is_none(), "{job} waits beside {free:?}");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn capacity_is_never_exceeded_and_nobody_waits_who_could_start(
        steps in prop::collection::vec(step(), 1..60),
        multi in prop::bool::weighted(0.3),
    ) {
        let mut small = Small::new(if multi { Policy::Multi } else { Policy::Single });
        for step in steps {
            small.take(step);
            small.check()?;
        }
        small.check_queue()?;
    }
}

#[test]
fn with_a_queue_for_each_worker_jobs_go_in_turn_at_once_and_stay_where_they_are() {
    let mut small = Small::new(Policy::Multi);
    let scene = &mut small.scene;
    let jobs: Vec<JobId> = (0..9).map(|_| scene.submit(spec("echo"))).collect();
    let on = |scene: &Scene| -> Vec<usize> {
        scene.workers.values().map(|worker| worker.held.len() + worker.waiting.len()).collect()
    };
    assert_eq!(on(scene), [3, 3, 3], "whatever each has slots for");
    let (node, attempt) = scene.holder(jobs[2]).expect("the third one of three, with three slots");
    assert_eq!(node, CARL);
    scene.finish(node, attempt, success("x"));
    scene.pass(4 * REPORT_MS);
    assert_eq!(on(scene), [3, 3, 2], "carl has room, and what waits for anna stays there");
    scene.workers.get_mut(&ANNA).unwrap().cut = true;
    scene.pass(LIVENESS_MS + REPORT_MS);
    let elsewhere = [BERT, CARL].map(|id| scene.ledger.attempts_on(id).count());
    assert_eq!(elsewhere.iter().sum::<usize>(), 8, "anna is lost: her queue goes to the others");
    assert_eq!(scene.ledger.attempts_on(ANNA).count(), 0);
}
