//! Requests, results and the take-over.

use super::scene::*;
use crate::{Effect, Output};
use alloc::sync::Arc;
use alloc::vec::Vec;
use protocol::limits::REPORT_MS;
use protocol::{
    Answer, AttemptRef, Command, IfUnsatisfiable, JobId, JobSpec, JobState, Reason, Refusal, Request, Verdict,
};

#[test]
fn a_burdened_leader_takes_no_new_jobs_and_everything_else_goes_on() {
    let mut scene = Scene::with_slots(&[2]);
    let running = scene.submit(spec("echo"));
    let (_, before) = scene.request(spec("echo"));
    let number = scene.forward(ANNA, before.clone());
    scene.turn();
    scene.master.burden(true);
    let (_, request) = scene.request(spec("echo"));
    assert_eq!(scene.ask(ANNA, request.clone()), Some(Answer::Refused(Refusal::Full)));
    scene.forward_again(ANNA, number, before);
    assert!(
        matches!(scene.workers[&ANNA].answers[&number], Answer::Accepted { .. }),
        "a repeat has its answer"
    );
    let (holder, attempt) = scene.holder(running).expect("it runs");
    scene.finish(holder, attempt, success("done"));
    assert_eq!(scene.state(running), JobState::Succeeded);
    scene.master.burden(false);
    assert!(matches!(scene.ask(ANNA, request), Some(Answer::Accepted { .. })));
}

#[test]
fn a_job_that_finds_a_free_slot_never_sits_in_the_queue() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.offer(spec("echo"));
    let entry = scene.master.proposal(&scene.ledger, 0).unwrap();
    assert!(matches!(&entry.commands[..], [Command::Submit { .. }, Command::AssignWhy { attempt: 1, .. }]));
    assert!(scene.master.drain().is_empty_but_for_loads(), "nothing leaves before it is applied");
    scene.apply(&entry);
    scene.turn();
    assert_eq!(scene.holder(job).map(|(node, _)| node), Some(ANNA));
    assert_eq!(scene.workers[&ANNA].answers[&1], Answer::Accepted { job, replayed: false });
}

trait Quiet {
    fn is_empty_but_for_loads(&self) -> bool;
}

impl Quiet for Vec<Output> {
    fn is_empty_but_for_loads(&self) -> bool {
        self.iter().all(|output| matches!(output, Output::Loads { .. }))
    }
}

#[test]
fn a_freed_slot_is_given_away_in_the_entry_of_the_result() {
    let mut scene = Scene::with_slots(&[1]);
    let (first, second) = (scene.submit(spec("echo")), scene.submit(spec("echo")));
    assert_eq!(scene.state(second), JobState::Queued);
    let attempt = AttemptRef { job: first, attempt: 1 };
    let index = scene.ledger.applied();
    scene.finish(ANNA, attempt, success("hi"));
    assert_eq!(scene.ledger.applied(), index + 1, "one entry for both");
    assert_eq!((scene.state(first), scene.state(second)), (JobState::Succeeded, JobState::Running));
    assert_eq!(scene.workers[&ANNA].settled, [(attempt, Verdict::Recorded)]);
}

#[test]
fn a_forward_that_comes_again_is_one_job_with_one_answer() {
    let mut scene = Scene::with_slots(&[4]);
    let (job, request) = scene.request(spec("echo"));
    let number = scene.forward(ANNA, request.clone());
    scene.forward_again(ANNA, number, request.clone());
    scene.turn();
    scene.workers.get_mut(&ANNA).unwrap().answers.clear();
    scene.promote();
    scene.forward_again(ANNA, number, request);
    scene.carry_out();
    assert_eq!(scene.workers[&ANNA].answers[&number], Answer::Accepted { job, replayed: false });
    assert_eq!(scene.ledger.newest(None).count(), 1);
}

#[test]
fn who_keeps_up_with_the_log_hears_what_it_decides_from_there_and_from_the_leader_when_it_asks_again() {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    let mut now = super::electing::standing(&[ANNA, BERT, CARL], &[], &[ANNA, BERT, CARL]);
    now.keeps_up.remove(&CARL);
    scene.master.configuration(&scene.ledger, &now);
    let mut heard = |gateway| {
        let (_, request) = scene.request(spec("echo"));
        let number = scene.forward(gateway, request.clone());
        scene.turn();
        let at_once = scene.workers[&gateway].answers.contains_key(&number);
        assert!(scene.workers[&gateway].decided.contains_key(&number));
        scene.forward_again(gateway, number, request);
        scene.turn();
        assert!(scene.workers[&gateway].answers.contains_key(&number), "a repeat is answered");
        at_once
    };
    assert!(!heard(BERT), "its own ledger tells it in this very moment");
    assert!(heard(CARL), "its own ledger is behind");
}

#[test]
fn a_repeated_key_takes_no_slot() {
    let mut scene = Scene::with_slots(&[2]);
    let make = |job: u128| Request::Submit {
        job: JobId(job),
        spec: Arc::new(spec("echo")),
        key: Some("k".into()),
        fingerprint: [1; 32],
    };
    // Both in one entry, so that the leader cannot know yet.
    let (one, two) = (scene.forward(ANNA, make(100)), scene.forward(ANNA, make(101)));
    scene.turn();
    let three = scene.forward(ANNA, make(102));
    scene.turn();
    let answers = &scene.workers[&ANNA].answers;
    assert_eq!(answers[&one], Answer::Accepted { job: JobId(100), replayed: false });
    assert_eq!(answers[&two], Answer::Accepted { job: JobId(100), replayed: true });
    assert_eq!(answers[&three], answers[&two]);
    scene.submit(spec("echo"));
    assert_eq!(scene.held(), [2], "the slot of the repeat is free again");
}

#[test]
fn cancelling_is_answered_when_it_is_so() {
    let mut scene = Scene::with_slots(&[1]);
    let unknown = JobId(12345);
    assert_eq!(scene.ask(ANNA, Request::Cancel { job: unknown }), Some(Answer::Refused(Refusal::NotFound)));
    let (runs, waits) = (scene.submit(spec("echo")), scene.submit(spec("echo")));
    for job in [waits, runs, runs] {
        assert_eq!(scene.ask(ANNA, Request::Cancel { job }), Some(Answer::Done));
        assert_eq!(scene.state(job), JobState::Cancelled);
    }
    let next = scene.submit(spec("echo"));
    assert_eq!(scene.state(next), JobState::Queued, "the slot is held until the worker says it is gone");
    scene.pass(3 * REPORT_MS);
    let (_, attempt) = scene.holder(next).unwrap();
    scene.finish(ANNA, attempt, success("x"));
    let refusal = Refusal::Ended { job: next };
    assert_eq!(scene.ask(ANNA, Request::Cancel { job: next }), Some(Answer::Refused(refusal)));
}

#[test]
fn a_cancel_and_a_result_in_one_entry_agree_on_one_end() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.submit(spec("echo"));
    let attempt = AttemptRef { job, attempt: 1 };
    let number = scene.forward(ANNA, Request::Cancel { job });
    scene.finish(ANNA, attempt, success("x"));
    assert_eq!(scene.state(job), JobState::Cancelled);
    assert_eq!(scene.workers[&ANNA].answers[&number], Answer::Done);
    assert_eq!(scene.workers[&ANNA].settled, [(attempt, Verdict::Superseded)]);
}

#[test]
fn results_are_settled_by_what_the_ledger_says() {
    let mut scene = Scene::with_slots(&[2]);
    let job = scene.submit(spec("echo"));
    let attempt = AttemptRef { job, attempt: 1 };
    scene.finish(ANNA, attempt, success("x"));
    scene.finish(ANNA, attempt, success("x"));
    let unknown = AttemptRef { job: JobId(999), attempt: 1 };
    scene.finish(ANNA, unknown, success("y"));
    let beyond = AttemptRef { job, attempt: 2 };
    scene.finish(ANNA, beyond, success("y"));
    let (recorded, forgotten) = (Verdict::Recorded, Verdict::Forgotten);
    let settled = [(attempt, recorded), (attempt, recorded), (unknown, forgotten), (beyond, forgotten)];
    assert_eq!(scene.workers[&ANNA].settled, settled);
    assert_eq!(scene.ledger.job(job).unwrap().result, Some(success("x")));
}

#[test]
fn a_failure_comes_back_after_its_pause() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.submit(JobSpec { max_attempts: 2, retry_base_ms: 1_000, ..spec("echo") });
    scene.finish(ANNA, AttemptRef { job, attempt: 1 }, failure());
    assert_eq!(scene.state(job), JobState::Scheduled);
    scene.promote();
    // Between the half and the whole of it.
    scene.pass(450);
    assert_eq!(scene.state(job), JobState::Scheduled);
    scene.pass(550);
    assert_eq!(scene.state(job), JobState::Running);
    scene.finish(ANNA, AttemptRef { job, attempt: 2 }, failure());
    assert_eq!(scene.state(job), JobState::Failed);
}

#[test]
fn acked_survives_a_leader_that_stops_before_dispatching() {
    let mut scene = Scene::with_slots(&[1, 1]);
    scene.settings.hold_dispatch = true;
    scene.promote();
    scene.pass(2 * REPORT_MS);
    let (sent, waits) = (scene.submit(spec("echo")), scene.submit(spec("echo")));
    let third = scene.submit(spec("echo"));
    assert_eq!(
        (scene.state(sent), scene.state(waits), scene.state(third)),
        (JobState::Running, JobState::Running, JobState::Queued)
    );
    assert_eq!(scene.held(), [0, 0], "acknowledged and assigned, but nothing has left");
    scene.settings.hold_dispatch = false;
    scene.promote();
    scene.pass(4 * REPORT_MS);
    assert_eq!(scene.held(), [1, 1]);
    for job in [sent, waits] {
        let (node, attempt) = scene.holder(job).unwrap();
        assert_eq!(attempt.attempt, 1, "sent again under the same number");
        scene.finish(node, attempt, success("x"));
    }
    assert_eq!(scene.state(third), JobState::Running);
}

#[test]
fn a_new_leader_leaves_running_attempts_where_they_are() {
    let mut scene = Scene::with_slots(&[2, 2]);
    let jobs: Vec<JobId> = (0..5).map(|_| scene.submit(spec("echo"))).collect();
    scene.promote();
    scene.pass(5_000);
    assert_eq!(scene.held(), [2, 2]);
    let dispatched: usize = scene.workers.values().map(|worker| worker.dispatched.len()).sum();
    assert_eq!(dispatched, 4, "no_run_while_held: each was sent once");
    let (node, attempt) = scene.holder(jobs[0]).unwrap();
    scene.finish(node, attempt, success("x"));
    assert_eq!(scene.state(jobs[4]), JobState::Running);
}

#[test]
fn an_entry_that_consensus_would_not_take_goes_first_next_time() {
    let mut scene = Scene::with_slots(&[1]);
    let first = scene.offer(spec("echo"));
    let entry = scene.master.proposal(&scene.ledger, 1).unwrap();
    scene.master.give_back(entry.clone());
    scene.offer(spec("echo"));
    scene.master.tick(&scene.ledger);
    let again = scene.master.proposal(&scene.ledger, 2).unwrap();
    assert_eq!(again.commands, entry.commands);
    assert_eq!((again.clock_ms, again.wall_ms), (entry.clock_ms + 50, 2));
    scene.apply(&again);
    scene.turn();
    assert!(scene.holder(first).is_some());
}

#[test]
fn a_job_that_nobody_could_ever_run_fails_at_once_where_it_asked_for_that() {
    let mut scene = Scene::with_slots(&[1]);
    let fail = |class: &str| JobSpec { if_unsatisfiable: IfUnsatisfiable::Fail, ..spec(class) };
    let (fails, waits) = (scene.submit(fail("unheard of")), scene.submit(spec("unheard of")));
    let failed = scene.ledger.job(fails).unwrap();
    assert_eq!((failed.state, failed.reason), (JobState::Failed, Some(Reason::Unsatisfiable)));
    assert_eq!(scene.workers[&ANNA].answers[&1], Answer::Accepted { job: fails, replayed: false });
    assert_eq!(scene.state(waits), JobState::Queued);
    let busy = scene.submit(fail("echo"));
    let queued = scene.submit(fail("echo"));
    assert_eq!((scene.state(busy), scene.state(queued)), (JobState::Running, JobState::Queued));
}

#[test]
fn a_new_leader_does_not_call_a_job_unsatisfiable_before_it_has_heard_everybody() {
    let mut scene = Scene::with_slots(&[1, 1]);
    scene.workers.get_mut(&BERT).unwrap().offer.classes.insert("rare".into());
    scene.promote();
    scene.report(ANNA);
    let job = scene.submit(JobSpec { if_unsatisfiable: IfUnsatisfiable::Fail, ..spec("rare") });
    assert_eq!(scene.state(job), JobState::Queued);
    scene.report(BERT);
    assert_eq!(scene.state(job), JobState::Running);
}

#[test]
fn a_message_of_an_earlier_session_or_start_is_dropped() {
    let mut scene = Scene::with_slots(&[1]);
    let ledger_before = scene.ledger.applied();
    scene.workers.get_mut(&ANNA).unwrap().session = 0;
    let job = scene.submit(spec("echo"));
    assert!(scene.ledger.job(job).is_none() && scene.ledger.applied() == ledger_before);
}

#[test]
fn a_hundred_thousand_queued_jobs_do_not_make_a_turn_slow() {
    let mut scene = Scene::with_slots(&[1]);
    let mut book = Book::new();
    std::mem::swap(&mut book.ledger, &mut scene.ledger);
    let origin = |number| protocol::Origin { gateway: BERT, boot: protocol::Boot(1), number, floor: number };
    let shared = Arc::new(spec("echo"));
    let submit = |number: u64| Command::Submit {
        job: JobId(u128::from(number) << 30),
        spec: Arc::clone(&shared),
        key: None,
        fingerprint: [0; 32],
        origin: origin(number),
    };
    let effects = book.entry((1..=100_000).map(submit).collect());
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Fact(_))).count(), 100_000);
    scene.ledger = book.ledger;
    scene.promote();
    scene.report(ANNA);
    let started = std::time::Instant::now();
    let mut rounds = 0;
    while started.elapsed().as_millis() < 500 && rounds < 1_000 {
        let attempt = *scene.workers[&ANNA].held.first().unwrap();
        // Without the scene's own walk over the whole ledger.
        let outcome = success("x");
        let worker = scene.workers.get_mut(&ANNA).unwrap();
        worker.held.clear();
        let session = worker.session;
        let message = protocol::ToMaster::Result { attempt, outcome };
        scene.master.heard(&scene.ledger, ANNA, protocol::Boot(1), session, message);
        let entry = scene.master.proposal(&scene.ledger, 0).unwrap();
        let snapshot = scene.ledger.clone();
        let effects = scene.ledger.apply(scene.ledger.applied() + 1, &entry);
        assert_eq!(snapshot.applied() + 1, scene.ledger.applied());
        scene.master.applied(&scene.ledger, &effects);
        scene.carry_out();
        rounds += 1;
    }
    assert!(rounds >= 50, "only {rounds} turns in half a second");
}
