//! Silent workers, restarted workers, lost messages.

use super::scene::*;
use alloc::vec::Vec;
use protocol::limits::{LIVENESS_MS, REPORT_MS};
use protocol::{AttemptRef, AttemptState, Boot, JobId, JobState, Request, ToMaster, Verdict};

fn cut(scene: &mut Scene, node: protocol::NodeId, is_cut: bool) {
    scene.workers.get_mut(&node).unwrap().cut = is_cut;
}

#[test]
fn a_worker_is_lost_after_the_liveness_and_not_before() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let job = scene.submit(spec("echo"));
    let (node, _) = scene.holder(job).unwrap();
    cut(&mut scene, node, true);
    scene.pass(LIVENESS_MS - REPORT_MS);
    assert_eq!(scene.ledger.job(job).unwrap().attempts.len(), 1, "no_run_while_held");
    scene.pass(2 * REPORT_MS);
    let known = scene.ledger.job(job).unwrap();
    assert_eq!(known.attempts.len(), 2);
    assert_eq!((known.attempts[0].state, known.lost), (AttemptState::Lost, 1));
    assert_ne!(known.attempts[1].node, node);
}

#[test]
fn a_worker_that_was_cut_off_brings_its_result_and_the_other_attempt_is_ended() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let job = scene.submit(spec("echo"));
    let (node, first) = scene.holder(job).unwrap();
    let other = if node == ANNA { BERT } else { ANNA };
    cut(&mut scene, node, true);
    scene.pass(LIVENESS_MS + 2 * REPORT_MS);
    assert!(scene.workers[&other].held.contains(&AttemptRef { job, attempt: 2 }));
    cut(&mut scene, node, false);
    scene.workers.get_mut(&node).unwrap().reconnect();
    scene.finish(node, first, success("from the cut-off one"));
    assert_eq!(scene.state(job), JobState::Succeeded);
    assert_eq!(scene.workers[&node].settled, [(first, Verdict::Recorded)]);
    scene.pass(3 * REPORT_MS);
    assert_eq!(scene.held(), [0, 0]);
    let jobs: Vec<JobId> = (0..2).map(|_| scene.submit(spec("echo"))).collect();
    assert_eq!(scene.held(), [1, 1], "both slots are free again");
    assert!(jobs.into_iter().all(|job| scene.state(job) == JobState::Running));
}

#[test]
fn a_restarted_worker_loses_its_attempts_at_once() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.submit(spec("echo"));
    scene.workers.get_mut(&ANNA).unwrap().restart();
    scene.report(ANNA);
    let known = scene.ledger.job(job).unwrap();
    assert_eq!((known.state, known.lost, known.attempts[0].state), (JobState::Queued, 0, AttemptState::Lost));
    assert_eq!(scene.held(), [0], "its new start is not in the ledger yet");
    scene.ask(ANNA, Request::Join(member(ANNA, 2)));
    scene.pass(REPORT_MS);
    assert!(scene.workers[&ANNA].held.contains(&AttemptRef { job, attempt: 2 }));
    assert_eq!(scene.ledger.job(job).unwrap().attempts[1].boot, Boot(2));
}

#[test]
fn an_assignment_that_meets_a_restart_is_taken_back() {
    let mut scene = Scene::with_slots(&[1, 0]);
    let job = scene.offer(spec("echo"));
    let entry = scene.master.proposal(&scene.ledger, 0).unwrap();
    scene.workers.get_mut(&ANNA).unwrap().restart();
    let worker = &scene.workers[&ANNA];
    let report = protocol::Report {
        number: 1,
        echo: 0,
        held: [].into(),
        waiting: [].into(),
        kept: [].into(),
        back: [].into(),
        offer: worker.offer.clone(),
        load: worker.load,
        checkpoint: None,
        progress: [].into(),
        pools: [].into(),
    };
    scene.master.heard(&scene.ledger, ANNA, Boot(2), 2, ToMaster::Report(report.into()));
    scene.apply(&entry);
    scene.turn();
    assert_eq!(scene.state(job), JobState::Queued);
    assert!(scene.workers[&ANNA].dispatched.is_empty());
    scene.ask(ANNA, Request::Join(member(ANNA, 2)));
    scene.pass(2 * REPORT_MS);
    assert_eq!((scene.state(job), scene.held()), (JobState::Running, [1, 0].into()));
}

#[test]
fn a_dispatch_that_got_lost_is_sent_again_under_the_same_number_and_only_then() {
    let mut scene = Scene::with_slots(&[1]);
    scene.workers.get_mut(&ANNA).unwrap().deaf = true;
    let job = scene.submit(spec("echo"));
    scene.workers.get_mut(&ANNA).unwrap().deaf = false;
    assert_eq!(scene.held(), [0]);
    scene.report(ANNA);
    assert!(scene.workers[&ANNA].dispatched.is_empty(), "the dispatch may still be on its way");
    scene.report(ANNA);
    assert_eq!(scene.workers[&ANNA].dispatched, [AttemptRef { job, attempt: 1 }]);
    scene.pass(2_000);
    assert_eq!(scene.workers[&ANNA].dispatched.len(), 1, "no_repeat_in_calm");
    assert_eq!(scene.ledger.job(job).unwrap().attempts.len(), 1);
}

#[test]
fn a_result_that_got_lost_is_not_run_again_while_the_worker_keeps_it() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.submit(spec("echo"));
    let attempt = AttemptRef { job, attempt: 1 };
    let worker = scene.workers.get_mut(&ANNA).unwrap();
    worker.held.clear();
    worker.kept.insert(attempt, success("x"));
    scene.pass(1_000);
    assert_eq!(scene.workers[&ANNA].dispatched.len(), 1);
    let next = scene.submit(spec("echo"));
    assert_eq!(scene.state(next), JobState::Running, "a kept result holds no slot");
    scene.bring(ANNA, attempt);
    assert_eq!(scene.state(job), JobState::Succeeded);
}

#[test]
fn a_worker_that_hears_no_answer_is_lost_though_it_reports() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let job = scene.submit(spec("echo"));
    let (node, _) = scene.holder(job).unwrap();
    let ticks = (LIVENESS_MS * 2 + 500) / 50;
    for tick in 1..=ticks {
        scene.master.tick(&scene.ledger);
        scene.turn();
        if tick % 5 == 0 {
            scene.report_all();
            // Its answers do not arrive: it keeps echoing the same one.
            let deafened = scene.workers[&node].clone();
            scene.workers.insert(node, deafened.with_echo(2));
        }
    }
    assert_eq!(scene.ledger.job(job).unwrap().attempts.len(), 2);
}

impl Worker {
    fn with_echo(self, echo: u64) -> Self {
        let mut worker = self;
        worker.set_echo(echo);
        worker
    }
}

#[test]
fn the_roster_tells_who_is_alive_and_how_busy() {
    let mut scene = Scene::with_slots(&[2, 2]);
    scene.submit(spec("echo"));
    cut(&mut scene, BERT, true);
    scene.pass(LIVENESS_MS + REPORT_MS);
    let roster = scene.master.roster(&scene.ledger);
    let told: Vec<_> = roster.iter().map(|node| (node.id, node.alive, node.offer.slots)).collect();
    assert_eq!(told, [(ANNA, true, 2), (BERT, false, 2)]);
    assert_eq!(roster[0].running, 1);
}

#[cfg(feature = "mutants")]
#[test]
fn the_mutant_that_takes_back_too_early_runs_a_job_that_is_held() {
    let mut scene = Scene::with_slots(&[1, 1]);
    scene.settings.mutant = Some(crate::Mutant::RedispatchWhileHeld);
    scene.promote();
    scene.pass(2 * REPORT_MS);
    let job = scene.submit(spec("echo"));
    let (node, _) = scene.holder(job).unwrap();
    cut(&mut scene, node, true);
    scene.pass(3 * REPORT_MS);
    assert_eq!(scene.held(), [1, 1], "two workers hold the same job");
}
