//! Who wins when a job is cancelled while it ends, is lost, or comes back late; and that at most once is at most once: a
//! leader with workers that are lost, late and back.

use super::retries::once;
use super::scene::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::{
    Answer, AttemptRef, AttemptState, JobId, JobSpec, JobState, NodeId, Reason, Refusal, Request,
};

/// What happens around the leader.
#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { once: bool },
    Cancel(usize),
    Ends { worker: u64, well: bool },
    Cut(u64),
    Mend(u64),
    Restart(u64),
    Promote,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let other = || 2_u64..=3;
    prop_oneof![
        4 => any::<bool>().prop_map(|once| Step::Submit { once }),
        3 => (0_usize..20).prop_map(Step::Cancel),
        6 => (1_u64..=3, any::<bool>()).prop_map(|(worker, well)| Step::Ends { worker, well }),
        2 => other().prop_map(Step::Cut),
        2 => other().prop_map(Step::Mend),
        1 => other().prop_map(Step::Restart),
        1 => Just(Step::Promote),
        4 => (1_u64..60).prop_map(|ticks| Step::Pass(ticks * 50)),
    ]
}

/// The scene, and what clients were told.
struct Play {
    scene: Scene,
    jobs: Vec<(JobId, bool)>,
    cancelled: BTreeSet<JobId>,
    too_late: BTreeSet<JobId>,
}

impl Play {
    fn new() -> Self {
        Self {
            scene: Scene::with_slots(&[1, 2, 2]),
            jobs: Vec::new(),
            cancelled: BTreeSet::new(),
            too_late: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let scene = &mut self.scene;
        match step {
            Step::Submit { once: is_once } => {
                let asked = JobSpec { retry_base_ms: 100, ..spec("echo") };
                let job = scene.submit(if is_once { once("echo") } else { asked });
                self.jobs.push((job, is_once));
            }
            Step::Cancel(place) => {
                let Some((job, _)) = self.jobs.get(place).copied() else { return };
                match scene.ask(ANNA, Request::Cancel { job }) {
                    Some(Answer::Done) => drop(self.cancelled.insert(job)),
                    Some(Answer::Refused(Refusal::Ended { .. })) => drop(self.too_late.insert(job)),
                    other => panic!("cancelling is answered: {other:?}"),
                }
            }
            Step::Ends { worker, well } => {
                let id = NodeId(worker);
                let Some(attempt) = scene.workers[&id].held.first().copied() else { return };
                scene.finish(id, attempt, if well { success("x") } else { failure() });
            }
            Step::Cut(worker) => scene.workers.get_mut(&NodeId(worker)).unwrap().cut = true,
            Step::Mend(worker) => {
                let id = NodeId(worker);
                scene.workers.get_mut(&id).unwrap().cut = false;
                let kept: Vec<AttemptRef> = scene.workers[&id].kept.keys().copied().collect();
                kept.into_iter().for_each(|attempt| scene.bring(id, attempt));
                scene.report(id);
            }
            Step::Restart(worker) => {
                let id = NodeId(worker);
                scene.workers.get_mut(&id).unwrap().restart();
                let boot = scene.workers[&id].boot;
                if !scene.workers[&id].cut {
                    scene.report(id);
                    scene.ask(id, Request::Join(member(id, boot)));
                }
            }
            Step::Promote => scene.promote(),
            Step::Pass(ms) => scene.pass(ms),
        }
    }

    fn holds(&self) -> Result<(), TestCaseError> {
        for job in &self.cancelled {
            let known = self.scene.ledger.job(*job).unwrap();
            prop_assert_eq!((known.state, &known.result), (JobState::Cancelled, &None), "terminal_is_final");
        }
        for job in &self.too_late {
            let state = self.scene.state(*job);
            prop_assert!(matches!(state, JobState::Succeeded | JobState::Failed), "{:?} is {:?}", job, state);
        }
        for (job, _) in self.jobs.iter().filter(|(_, once)| *once) {
            let workers = self.scene.workers.values();
            let sent: BTreeSet<AttemptRef> =
                workers.flat_map(|worker| &worker.dispatched).filter(|a| a.job == *job).copied().collect();
            prop_assert!(sent.len() <= 1, "at_most_once: {:?}", sent);
            let known = self.scene.ledger.job(*job).unwrap();
            let state = known.attempts.first().map(|attempt| attempt.state);
            prop_assert!(known.attempts.len() <= 1, "at_most_once: {:?}", known);
            if state == Some(AttemptState::Lost) && known.result.is_none() {
                prop_assert_eq!((known.state, known.reason), (JobState::Failed, Some(Reason::Lost)));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cancel_wins_or_reports_too_late_and_at_most_once_holds(steps in prop::collection::vec(step(), 1..60)) {
        let mut play = Play::new();
        for step in steps {
            play.step(step);
            play.holds()?;
        }
    }
}
