//! Foreign workers attached to nodes: who gets their jobs, and what becomes of one whose worker is late or gone.

use std::string::ToString;
use std::vec::Vec;

use super::scene::*;
use protocol::{AttemptRef, JobId, JobState, LossCause, NodeId, limits::MAX_OFFERS};

fn attach(scene: &mut Scene, node: NodeId, class: &str, count: u32) {
    scene.workers.get_mut(&node).unwrap().offer.attached.insert(class.into(), count);
    scene.report(node);
}

fn late(scene: &mut Scene, node: NodeId, attempt: AttemptRef, cause: LossCause) {
    scene.workers.get_mut(&node).unwrap().back.insert(attempt, cause);
    scene.report(node);
    scene.workers.get_mut(&node).unwrap().back.clear();
}

fn attempts(scene: &Scene, job: JobId) -> Vec<NodeId> {
    scene.ledger.job(job).unwrap().attempts.iter().map(|attempt| attempt.node).collect()
}

#[test]
fn attached_workers_take_jobs_of_their_class_beside_the_slots_and_no_more_than_there_are() {
    let mut scene = Scene::with_slots(&[0, 0]);
    attach(&mut scene, ANNA, "B", 2);
    let jobs: Vec<JobId> = (0..3).map(|_| scene.submit(spec("B"))).collect();
    let states: Vec<JobState> = jobs.iter().map(|job| scene.ledger.job(*job).unwrap().state).collect();
    assert_eq!(states, [JobState::Running, JobState::Running, JobState::Queued]);
    scene.finish(ANNA, AttemptRef { job: jobs[0], attempt: 1 }, success("Done!"));
    assert_eq!(scene.ledger.job(jobs[2]).unwrap().state, JobState::Running);
}

#[test]
fn a_late_job_goes_to_another_attached_worker_and_the_first_answer_ends_it() {
    let mut scene = Scene::with_slots(&[0, 0]);
    attach(&mut scene, ANNA, "B", 1);
    let job = scene.submit(spec("B"));
    attach(&mut scene, BERT, "B", 1);
    late(&mut scene, ANNA, AttemptRef { job, attempt: 1 }, LossCause::Late);
    assert_eq!(attempts(&scene, job), [ANNA, BERT]);
    let known = scene.ledger.job(job).unwrap();
    assert_eq!((known.state, known.lost, known.failures), (JobState::Running, 0, 0));
    scene.finish(ANNA, AttemptRef { job, attempt: 1 }, success("Done!"));
    assert_eq!(scene.ledger.job(job).unwrap().state, JobState::Succeeded);
}

#[test]
fn with_nobody_else_of_the_class_a_late_job_waits_and_its_late_answer_withdraws_it() {
    let mut scene = Scene::with_slots(&[0, 0]);
    attach(&mut scene, ANNA, "B", 1);
    let job = scene.submit(spec("B"));
    late(&mut scene, ANNA, AttemptRef { job, attempt: 1 }, LossCause::Late);
    assert_eq!(scene.ledger.job(job).unwrap().state, JobState::Queued);
    scene.finish(ANNA, AttemptRef { job, attempt: 1 }, success("Done!"));
    let known = scene.ledger.job(job).unwrap();
    assert_eq!((known.state, known.attempts.len()), (JobState::Succeeded, 1), "done once");
}

#[test]
fn no_more_than_the_allowed_number_of_workers_hold_one_job() {
    let mut scene = Scene::with_slots(&[0, 0]);
    attach(&mut scene, ANNA, "B", MAX_OFFERS + 2);
    let job = scene.submit(spec("B"));
    for attempt in 1..=MAX_OFFERS + 2 {
        late(&mut scene, ANNA, AttemptRef { job, attempt }, LossCause::Late);
    }
    assert_eq!(attempts(&scene, job).len(), MAX_OFFERS as usize);
}

#[test]
fn a_worker_that_left_counts_as_a_loss_and_its_job_goes_on() {
    let mut scene = Scene::with_slots(&[0, 0]);
    attach(&mut scene, ANNA, "B", 2);
    let job = scene.submit(spec("B"));
    scene.workers.get_mut(&ANNA).unwrap().held.clear();
    late(&mut scene, ANNA, AttemptRef { job, attempt: 1 }, LossCause::Left);
    let known = scene.ledger.job(job).unwrap();
    assert_eq!((known.state, known.lost, known.attempts.len()), (JobState::Running, 1, 2));
    let sent = &scene.workers[&ANNA].dispatched;
    assert_eq!(
        sent.iter().filter(|attempt| attempt.attempt == 1).count(),
        1,
        "not sent again under its number"
    );
}

#[test]
fn a_job_without_token_runs_only_where_its_class_is_open() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let mut stranger = spec("echo");
    stranger.requires.insert(protocol::LAB_HEADER.into(), "echo".into());
    let job = scene.submit(stranger);
    assert_eq!(scene.ledger.job(job).unwrap().state, JobState::Queued, "nobody opened echo");
    let open = ["echo".to_string()].into();
    scene.workers.get_mut(&BERT).unwrap().offer.headers.insert(protocol::LAB_HEADER.into(), open);
    scene.report(BERT);
    assert_eq!(attempts(&scene, job), [BERT]);
}

#[test]
fn a_worker_attached_to_the_leader_is_as_good_as_any() {
    let mut scene = Scene::with_slots(&[0, 0]);
    scene.settings.me = ANNA;
    scene.promote();
    scene.pass(2 * protocol::limits::REPORT_MS);
    attach(&mut scene, ANNA, "B", 1);
    attach(&mut scene, BERT, "B", 1);
    let jobs = [scene.submit(spec("B")), scene.submit(spec("B"))];
    assert!(jobs.iter().all(|job| scene.ledger.job(*job).unwrap().state == JobState::Running));
}
