//! Evaluations: who may have them, how often, what the front end is owed, and what the whole cluster agrees on.

use super::scene::*;
use crate::{Ledger, Policy};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use protocol::limits::{LIVENESS_MS, RECODEX_CALLS, REPORT_MS};
use protocol::recodex::{self, Headers, Order, Pool, Said};
use protocol::{
    Answer, AttemptRef, AttemptState, Boot, Command, JobId, JobSpec, JobState, LossCause, NodeId, Offer,
    Origin, Outcome, Refusal, Request, What,
};

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn evaluation(id: &str, headers: &[(&str, &str)]) -> JobSpec {
    recodex::job(id.to_string(), pairs(headers), &[], true, 3)
}

fn pool(workers: u32, headers: &[(&str, &str)]) -> Pool {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.entry(name.to_string()).or_default().insert(value.to_string());
    }
    Pool { workers, headers: all }
}

fn ended(status: &str, message: &str) -> Arc<Outcome> {
    Arc::new(recodex::outcome(status, message).expect("a known status"))
}

fn status(id: &str, failed: Option<&str>) -> Said {
    Said::Status { id: id.to_string(), failed: failed.map(ToString::to_string) }
}

fn owed(ledger: &Ledger) -> Vec<Said> {
    ledger.calls().map(|call| call.what.clone()).collect()
}

/// An open ledger in which anna took the evaluation `j1` as job 1.
fn book() -> Book {
    let mut book = Book::new();
    let origin = book.origin();
    let answer = book.submit_as(1, evaluation("j1", &[("env", "c")]), None, [0; 32], origin);
    assert_eq!(answer, Answer::Accepted { job: JobId(1), replayed: false });
    book
}

fn finish(
    book: &mut Book,
    job: u128,
    attempt: u32,
    node: NodeId,
    outcome: Arc<Outcome>,
) -> Vec<crate::Effect> {
    book.one(Command::FinishByRule { job: JobId(job), attempt, node, outcome })
}

fn order(book: &mut Book, order: Order) -> Answer {
    let origin = Origin { floor: 1, ..book.origin() };
    match book.one(Command::Recodex { order, origin }).pop() {
        Some(crate::Effect::Decided { answer, .. }) => answer,
        other => panic!("an order is always decided: {other:?}"),
    }
}

#[test]
fn a_good_end_is_owed_once_until_it_is_delivered() {
    let mut book = book();
    book.assign(1, 1, ANNA);
    finish(&mut book, 1, 1, ANNA, ended("OK", ""));
    assert_eq!(owed(&book.ledger), [status("j1", None)]);
    finish(&mut book, 1, 1, ANNA, ended("FAILED", "late"));
    assert_eq!(owed(&book.ledger).len(), 1);
    assert_eq!(order(&mut book, Order::Delivered { number: 1 }), Answer::Done);
    assert_eq!(order(&mut book, Order::Delivered { number: 1 }), Answer::Refused(Refusal::NotFound));
    assert_eq!(owed(&book.ledger), []);
    assert_eq!((book.ledger.recodex().evaluated, book.ledger.recodex().failed), (1, 0));
}

#[test]
fn a_bad_job_fails_at_once_and_an_internal_error_is_tried_again_until_the_third() {
    let mut bad = book();
    bad.assign(1, 1, ANNA);
    finish(&mut bad, 1, 1, ANNA, ended("FAILED", "bad config"));
    assert_eq!((bad.state(1), owed(&bad.ledger)), (JobState::Failed, vec![status("j1", Some("bad config"))]));

    let mut book = book();
    for attempt in 1..=3 {
        assert_eq!(owed(&book.ledger), []);
        book.assign(1, attempt, ANNA);
        finish(&mut book, 1, attempt, ANNA, ended("INTERNAL_ERROR", "disk full"));
        if attempt < 3 {
            book.one(Command::Release { job: JobId(1) });
            assert_eq!(book.state(1), JobState::Queued, "there is no pause");
        }
    }
    let text = "Job was reassigned too many (2) times. Last failure message was: disk full";
    assert_eq!((book.state(1), owed(&book.ledger)), (JobState::Failed, vec![status("j1", Some(text))]));
    assert_eq!(book.ledger.recodex().failed, 3);
}

#[test]
fn lost_workers_count_as_failures_and_without_a_pause() {
    let mut book = book();
    book.assign(1, 1, ANNA);
    book.requeue(1, 1, LossCause::Left);
    book.assign(1, 2, ANNA);
    finish(&mut book, 1, 2, ANNA, ended("INTERNAL_ERROR", "disk full"));
    book.one(Command::Release { job: JobId(1) });
    book.assign(1, 3, BERT);
    book.requeue(1, 3, LossCause::Silent);
    let text =
        "Job was reassigned too many (2) times. Last failure message was: The worker that had it is gone.";
    assert_eq!((book.state(1), owed(&book.ledger)), (JobState::Failed, vec![status("j1", Some(text))]));
    // A node that started anew is no failure of the job.
    let mut other = super::recodex::book();
    for attempt in 1..=5 {
        other.assign(1, attempt, ANNA);
        other.requeue(1, attempt, LossCause::Restarted);
        assert_eq!(other.state(1), JobState::Queued);
    }
}

#[test]
fn a_late_success_after_the_reassignment_is_the_one_result() {
    let mut book = book();
    book.assign(1, 1, ANNA);
    book.requeue(1, 1, LossCause::Left);
    book.assign(1, 2, BERT);
    finish(&mut book, 1, 1, ANNA, ended("OK", ""));
    finish(&mut book, 1, 2, BERT, ended("FAILED", "no"));
    assert_eq!((book.state(1), owed(&book.ledger)), (JobState::Succeeded, vec![status("j1", None)]));
}

#[test]
fn an_id_is_one_job_while_that_is_open_and_another_one_after() {
    let mut book = book();
    let again = |book: &mut Book, job| {
        let origin = Origin { floor: 1, ..book.origin() };
        book.submit_as(job, evaluation("j1", &[("env", "c")]), None, [0; 32], origin)
    };
    assert_eq!(again(&mut book, 2), Answer::Accepted { job: JobId(1), replayed: true });
    book.assign(1, 1, ANNA);
    assert_eq!(again(&mut book, 3), Answer::Accepted { job: JobId(1), replayed: true });
    finish(&mut book, 1, 1, ANNA, ended("OK", ""));
    assert_eq!(book.ledger.evaluation("j1"), None);
    assert_eq!(again(&mut book, 4), Answer::Accepted { job: JobId(4), replayed: false });
    assert_eq!(book.ledger.evaluation("j1"), Some(JobId(4)));
    assert_eq!((book.ledger.recodex().queued, book.ledger.recodex().running), (1, 0));
}

#[test]
fn while_frozen_nothing_new_is_taken_and_what_is_open_goes_on() {
    let mut book = book();
    assert_eq!(order(&mut book, Order::Freeze { frozen: true }), Answer::Done);
    let origin = Origin { floor: 1, ..book.origin() };
    let answer = book.submit_as(2, evaluation("j2", &[]), None, [0; 32], origin);
    assert_eq!(answer, Answer::Refused(Refusal::Frozen));
    let origin = Origin { floor: 1, ..book.origin() };
    assert!(matches!(book.submit_as(3, spec("echo"), None, [0; 32], origin), Answer::Accepted { .. }));
    let back = through_snapshot(&book.ledger, Ledger::new());
    assert!(back.is_frozen() && back.evaluation("j1") == Some(JobId(1)));
    book.assign(1, 1, ANNA);
    finish(&mut book, 1, 1, ANNA, ended("OK", ""));
    let back = through_snapshot(&book.ledger, Ledger::new());
    assert_eq!((owed(&back), back.recodex()), (owed(&book.ledger), book.ledger.recodex()));
    assert_eq!(order(&mut book, Order::Freeze { frozen: false }), Answer::Done);
    assert!(!book.ledger.is_frozen());
}

#[test]
fn a_withdrawn_submission_never_is_and_one_that_was_taken_is_undone_in_silence() {
    let mut book = book();
    let late = Origin { floor: 1, ..book.origin() };
    assert_eq!(order(&mut book, Order::Withdraw { number: late.number, job: JobId(2) }), Answer::Done);
    let answer = book.submit_as(2, evaluation("j2", &[]), None, [0; 32], late);
    assert_eq!((answer, book.ledger.holds(JobId(2))), (Answer::Refused(Refusal::Withdrawn), false));
    // The other way round: it was taken, and its gateway has not heard.
    let taken = Origin { floor: 1, ..book.origin() };
    book.submit_as(3, evaluation("j3", &[]), None, [0; 32], taken);
    assert_eq!(order(&mut book, Order::Withdraw { number: taken.number, job: JobId(3) }), Answer::Done);
    assert_eq!((book.state(3), owed(&book.ledger)), (JobState::Cancelled, vec![]));
    // It had ended by then, and the call about that has not left yet.
    let ended_early = Origin { floor: 1, ..book.origin() };
    book.submit_as(4, evaluation("j4", &[]), None, [0; 32], ended_early);
    book.assign(4, 1, ANNA);
    finish(&mut book, 4, 1, ANNA, ended("OK", ""));
    assert_eq!(owed(&book.ledger), [status("j4", None)]);
    assert_eq!(order(&mut book, Order::Withdraw { number: 0, job: JobId(4) }), Answer::Done);
    assert_eq!(owed(&book.ledger), []);
    // Somebody on the page cancels: the front end did not know.
    book.cancel(1);
    assert_eq!(owed(&book.ledger), [status("j1", Some("Job was cancelled."))]);
}

#[test]
fn a_worker_that_comes_back_elsewhere_keeps_its_attempt() {
    let adopt =
        |attempt, node| Order::Adopt { attempt: AttemptRef { job: JobId(1), attempt }, node, boot: Boot(1) };
    let mut book = book();
    assert_eq!(order(&mut book, adopt(1, BERT)), Answer::Refused(Refusal::NotFound), "it has no attempt");
    book.assign(1, 1, ANNA);
    assert_eq!(order(&mut book, adopt(1, BERT)), Answer::Done);
    assert_eq!(book.ledger.attempts_on(BERT).count(), 1);
    assert!(is_void(&finish(&mut book, 1, 1, ANNA, ended("FAILED", "not from there"))));
    // Given up, and nothing came after it: it counts again.
    book.requeue(1, 1, LossCause::Silent);
    assert_eq!(order(&mut book, adopt(1, CARL)), Answer::Done);
    assert_eq!((book.state(1), book.job(1).attempts[0].state), (JobState::Running, AttemptState::Running));
    // Given up, and another one runs: it brings its result all the same.
    book.requeue(1, 1, LossCause::Silent);
    book.assign(1, 2, BERT);
    assert_eq!(order(&mut book, adopt(1, ANNA)), Answer::Done);
    assert_eq!(book.job(1).attempts[0].state, AttemptState::Lost);
    finish(&mut book, 1, 1, ANNA, ended("OK", ""));
    assert_eq!((book.state(1), owed(&book.ledger)), (JobState::Succeeded, vec![status("j1", None)]));
    assert_eq!(order(&mut book, adopt(2, ANNA)), Answer::Refused(Refusal::Ended { job: JobId(1) }));
    let stale = Order::Adopt { attempt: AttemptRef { job: JobId(1), attempt: 2 }, node: ANNA, boot: Boot(9) };
    assert_eq!(order(&mut book, stale), Answer::Refused(Refusal::Stale));
}

#[test]
fn of_too_many_calls_the_oldest_is_given_up_and_that_is_a_fact() {
    let mut book = Book::new();
    let origin = |number| Origin { gateway: ANNA, boot: Boot(1), number, floor: number };
    let notify = |number: u64| Command::Recodex {
        order: Order::Notify { text: number.to_string() },
        origin: origin(number),
    };
    book.entry((1..=RECODEX_CALLS as u64).map(notify).collect());
    assert_eq!(book.ledger.calls().count(), RECODEX_CALLS);
    let effects = book.one(notify(RECODEX_CALLS as u64 + 1));
    assert_eq!(facts(&effects), [What::Unheard { call: 1 }]);
    assert_eq!(book.ledger.calls().next().map(|call| call.number), Some(2));
}

/// Two nodes without slots: anna has two workers for c, bert one for c and go.
fn scene() -> Scene {
    let mut scene = Scene::with_slots(&[0, 0]);
    let pools = |pools: &[(u32, Pool)]| Offer { pools: pools.iter().cloned().collect(), ..Offer::default() };
    let [c, both] = [pool(2, &[("env", "c")]), pool(1, &[("env", "c"), ("env", "go")])];
    scene.workers.get_mut(&ANNA).expect("anna").offer = pools(&[(1, c)]);
    scene.workers.get_mut(&BERT).expect("bert").offer = pools(&[(7, both)]);
    scene.pass(REPORT_MS);
    scene
}

#[test]
fn evaluations_go_to_workers_that_may_have_them_and_never_to_more_than_there_are() {
    let mut scene = scene();
    let go = scene.submit(evaluation("go", &[("env", "go")]));
    assert_eq!(scene.holder(go).map(|(node, _)| node), Some(BERT));
    let c: Vec<JobId> =
        (0..4).map(|n| scene.submit(evaluation(&std::format!("c{n}"), &[("env", "c")]))).collect();
    assert_eq!(scene.held(), [2, 1], "as many as there are workers");
    let waits = c.iter().filter(|job| scene.state(**job) == JobState::Queued).count();
    assert_eq!(waits, 2);
    // The next one goes with the result that makes room for it.
    let (node, attempt) = scene.holder(go).expect("it runs");
    scene.finish(node, attempt, ended("OK", ""));
    assert_eq!(scene.held(), [2, 1]);
    assert_eq!(scene.state(go), JobState::Succeeded);
    // A new leader learns from the reports whose worker has what.
    scene.promote();
    scene.pass(LIVENESS_MS / 2);
    assert_eq!(scene.held(), [2, 1]);
    for job in c {
        if let Some((node, attempt)) = scene.holder(job) {
            scene.finish(node, attempt, ended("OK", ""));
        }
    }
    scene.pass(REPORT_MS);
    assert_eq!(scene.ledger.recodex().evaluated, 5);
}

#[test]
fn what_no_worker_could_have_is_refused_before_anything_is_written() {
    let mut scene = scene();
    let applied = scene.ledger.applied();
    let (_, request) = scene.request(evaluation("r", &[("env", "rust")]));
    assert_eq!(scene.ask(ANNA, request), Some(Answer::Refused(Refusal::NoWorker)));
    assert_eq!(scene.ledger.applied(), applied);
    // A new leader does not know yet what there is, and takes it.
    scene.promote();
    let (job, request) = scene.request(evaluation("r", &[("env", "rust")]));
    assert_eq!(scene.ask(ANNA, request), Some(Answer::Accepted { job, replayed: false }));
    let freeze = |frozen| Request::Recodex(Order::Freeze { frozen });
    assert_eq!(scene.ask(BERT, freeze(true)), Some(Answer::Done));
    let (_, request) = scene.request(evaluation("f", &[("env", "c")]));
    assert_eq!(scene.ask(ANNA, request), Some(Answer::Refused(Refusal::Frozen)));
}

#[test]
fn with_a_queue_for_each_worker_evaluations_wait_there_in_turn() {
    let mut scene = Scene::with_slots(&[0, 0]);
    scene.settings.policy = Policy::Multi;
    scene.promote();
    for id in [ANNA, BERT] {
        let pools = [(1, pool(1, &[("env", "c")]))].into();
        scene.workers.get_mut(&id).expect("a worker").offer = Offer { pools, ..Offer::default() };
    }
    scene.pass(2 * REPORT_MS);
    let jobs: Vec<JobId> =
        (0..2).map(|n| scene.submit(evaluation(&std::format!("c{n}"), &[("env", "c")]))).collect();
    let nodes: Vec<_> = jobs.iter().filter_map(|job| scene.holder(*job)).map(|(node, _)| node).collect();
    assert_eq!(nodes, [ANNA, BERT]);
}

#[test]
fn why_an_evaluation_waits_is_said_in_words() {
    let scene = scene();
    let roster = scene.master.roster(&scene.ledger);
    let cluster = crate::Cluster {
        roster: &roster,
        leader: Some(NodeId(9)),
        runs_jobs: crate::RunsJobs::Auto,
        policy: Policy::Single,
        name: &|id| member(id, 1).name,
    };
    let text = crate::warning(&evaluation("r", &[("env", "rust"), ("threads", "8")]), &cluster);
    let wanted = "no present node could ever run this job: no worker of ReCodEx that is there has env=rust and threads=8";
    assert_eq!(text.as_deref(), Some(wanted));
    assert_eq!(crate::warning(&evaluation("r", &[("env", "go")]), &cluster), None);
}

/// Found by pretended histories: a leader that waited for word of a result which its node could not bring any more took no other
/// result of that attempt.
#[test]
fn a_result_on_its_way_from_the_node_that_had_the_attempt_keeps_nobody_else_from_bringing_one() {
    let mut scene = scene();
    let job = scene.submit(evaluation("go", &[("env", "go")]));
    let (node, attempt) = scene.holder(job).expect("it runs");
    assert_eq!(node, BERT);
    let adopt = Order::Adopt { attempt, node: ANNA, boot: Boot(1) };
    // Both are on their way, and the adoption is first.
    scene.forward(ANNA, Request::Recodex(adopt));
    let failed = ended("INTERNAL_ERROR", "from where it was");
    scene.workers.get_mut(&BERT).expect("bert").kept.insert(attempt, failed);
    scene.workers.get_mut(&BERT).expect("bert").held.remove(&attempt);
    scene.bring(BERT, attempt);
    assert_eq!(scene.state(job), JobState::Running);
    // What bert knows nothing better of he says again, and is not heard while the job is open.
    scene.bring(BERT, attempt);
    assert_eq!((scene.state(job), scene.workers[&BERT].settled.len()), (JobState::Running, 0));
    scene.workers.get_mut(&ANNA).expect("anna").kept.insert(attempt, ended("OK", ""));
    scene.bring(ANNA, attempt);
    assert_eq!((scene.state(job), owed(&scene.ledger)), (JobState::Succeeded, vec![status("go", None)]));
    scene.bring(BERT, attempt);
    assert_eq!(scene.workers[&BERT].settled.len(), 1);
}

/// Found by a pretended history: the node that had given an attempt back said so once more, when another had it already.
#[test]
fn what_a_node_gave_back_is_not_taken_from_the_one_that_has_it_now() {
    let mut scene = scene();
    let job = scene.submit(evaluation("go", &[("env", "go")]));
    let (_, attempt) = scene.holder(job).expect("it runs");
    let adopt = Order::Adopt { attempt, node: ANNA, boot: Boot(1) };
    // While that is on its way nobody takes it back, and afterwards bert has nothing to say of it.
    let bert = scene.workers.get_mut(&BERT).expect("bert");
    bert.held.remove(&attempt);
    bert.back.insert(attempt, LossCause::Left);
    scene.workers.get_mut(&ANNA).expect("anna").held.insert(attempt);
    scene.forward(ANNA, Request::Recodex(adopt));
    scene.report(BERT);
    scene.report(ANNA);
    scene.report(BERT);
    let now = scene.ledger.job(job).expect("it is held");
    assert_eq!((now.state, now.attempts.len(), now.attempts[0].node), (JobState::Running, 1, ANNA));
}
