//! Random faults around one leader; then they end, and every acknowledged job has to come to its one result.

use super::scene::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::limits::REPORT_MS;
use protocol::{AttemptRef, Boot, JobSpec, JobState, NodeId, Request};

#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Pass(u64),
    Finish(u64, bool),
    Bring(u64),
    Cut(u64),
    Heal(u64),
    Deafen(u64),
    Restart(u64),
    Promote,
    Cancel(u128),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1_u64..=3;
    prop_oneof![
        6 => (0_u8..10).prop_map(Step::Submit),
        6 => (1_u64..=12).prop_map(|reports| Step::Pass(reports * REPORT_MS)),
        6 => (node(), any::<bool>()).prop_map(|(id, well)| Step::Finish(id, well)),
        2 => node().prop_map(Step::Bring),
        2 => node().prop_map(Step::Cut),
        3 => node().prop_map(Step::Heal),
        1 => node().prop_map(Step::Deafen),
        1 => node().prop_map(Step::Restart),
        1 => Just(Step::Promote),
        1 => (1_u128..20).prop_map(Step::Cancel),
    ]
}

impl Scene {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Submit(priority) => {
                let tries = JobSpec { max_attempts: 2, retry_base_ms: 500, ..spec("echo") };

                self.submit(JobSpec { priority: *priority, ..tries });
            }
            Step::Pass(ms) => self.pass(*ms),
            Step::Finish(id, well) => {
                if let Some(attempt) = self.workers[&NodeId(*id)].held.first().copied() {
                    self.finish(NodeId(*id), attempt, if *well { success("well") } else { failure() });
                }
            }
            Step::Bring(id) => self.bring_all(NodeId(*id)),
            Step::Cut(id) => self.change(*id, |worker| worker.cut = true),
            Step::Heal(id) => self.change(*id, |worker| {
                if worker.cut {
                    worker.reconnect();
                }
                (worker.cut, worker.deaf) = (false, false);
            }),
            Step::Deafen(id) => self.change(*id, |worker| worker.deaf = true),
            Step::Restart(id) => {
                self.change(*id, Worker::restart);
                self.rejoin(NodeId(*id));
            }
            Step::Promote => self.promote(),
            Step::Cancel(job) => drop(self.ask(ANNA, Request::Cancel { job: protocol::JobId(*job) })),
        }
    }

    fn change(&mut self, id: u64, how: impl FnOnce(&mut Worker)) {
        self.workers.get_mut(&NodeId(id)).map(how);
    }

    fn bring_all(&mut self, id: NodeId) {
        let kept: Vec<AttemptRef> = self.workers[&id].kept.keys().copied().collect();
        kept.into_iter().for_each(|attempt| self.bring(id, attempt));
    }

    fn rejoin(&mut self, id: NodeId) {
        let boot = self.workers[&id].boot;
        if !self.workers[&id].cut && self.ledger.member(id).is_some_and(|known| known.boot < Boot(boot)) {
            self.ask(id, Request::Join(member(id, boot)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queue_moves_and_every_acknowledged_job_ends_once_faults_are_over(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        // The pretended workers assert never_over_capacity, every entry applied asserts the ledger's invariants.
        let mut scene = Scene::with_slots(&[1, 2, 3]);
        steps.iter().for_each(|step| scene.take(step));
        let ids: Vec<NodeId> = scene.workers.keys().copied().collect();
        for id in &ids {
            scene.take(&Step::Heal(id.0));
            scene.rejoin(*id);
        }
        for _ in 0..120 {
            if scene.ledger.open_jobs() == 0 {
                break;
            }
            for id in &ids {
                scene.take(&Step::Finish(id.0, true));
                scene.bring_all(*id);
            }
            scene.pass(2 * REPORT_MS);
        }
        let open: Vec<_> = scene.ledger.newest(None).filter(|job| !job.state.is_terminal()).collect();
        prop_assert!(open.is_empty(), "queue_moves: {open:?}");
        // A worker brings what it kept again and again until it hears of it; nobody may have asked for it up to here.
        for id in &ids {
            scene.bring_all(*id);
        }
        scene.pass(4 * REPORT_MS);
        prop_assert!(scene.workers.values().all(|worker| worker.kept.is_empty()), "every result is settled");
        prop_assert!(scene.held().into_iter().all(|held| held == 0), "nothing runs that nobody wants");
        let idle = scene.submit(spec("echo"));
        prop_assert_eq!(scene.state(idle), JobState::Running, "all slots are known to be free");
    }
}
