//! Foreign workers attached to a node, told as situations.

use std::sync::Arc;

use protocol::limits::{ANSWER_WINDOW_MS, AWAY_MS};
use protocol::{
    Answered, AttemptRef, Dispatch, End, JobId, JobSpec, LossCause, Offer, Outcome, Reason, Report, ToMaster,
    ToNode, submit,
};
use worker::{AttachedId, Output, Windows, Worker};

const ANNA: AttachedId = AttachedId(1);
const BERT: AttachedId = AttachedId(2);

fn attempt(job: u128, attempt: u32) -> AttemptRef {
    AttemptRef { job: JobId(job), attempt }
}

fn give(worker: &mut Worker, of: AttemptRef, spec: JobSpec) {
    worker.heard(ToNode::Dispatch(Dispatch { attempt: of, term: 1, spec: Arc::new(spec) }));
}

/// A node with one slot of its own that serves `echo`.
fn node() -> Worker {
    let offer = Offer { slots: 1, classes: ["echo".to_string()].into(), ..Offer::default() };
    let mut worker = Worker::new(offer).with_windows(Windows::default());
    worker.follow(true);
    worker.drain();
    worker
}

fn handed(outputs: &[Output]) -> Vec<(AttachedId, AttemptRef)> {
    let hand = |output: &Output| match output {
        Output::Hand { worker, dispatch } => Some((*worker, dispatch.attempt)),
        _ => None,
    };
    outputs.iter().filter_map(hand).collect()
}

fn last_report(outputs: &[Output]) -> Report {
    let report = |output: &Output| match output {
        Output::Send(ToMaster::Report(report)) => Some((**report).clone()),
        _ => None,
    };
    outputs.iter().filter_map(report).next_back().unwrap_or_else(|| unreachable!("every change is reported"))
}

fn results(outputs: &[Output]) -> Vec<(AttemptRef, End)> {
    let result = |output: &Output| match output {
        Output::Send(ToMaster::Result { attempt, outcome }) => Some((*attempt, outcome.end)),
        _ => None,
    };
    outputs.iter().filter_map(result).collect()
}

fn done() -> Outcome {
    Outcome::success("Done!".into())
}

#[test]
fn the_longest_free_worker_of_the_class_gets_the_job_and_others_of_it_wait() {
    let mut node = node();
    node.attach(ANNA, "B");
    node.attach(BERT, "B");
    for job in 1..=3 {
        give(&mut node, attempt(job, 1), submit::defaults("B"));
    }
    assert_eq!(handed(&node.drain()), [(ANNA, attempt(1, 1)), (BERT, attempt(2, 1))]);
    node.returned(BERT, "B", done());
    let outputs = node.drain();
    assert_eq!(results(&outputs), [(attempt(2, 1), End::Success)]);
    assert_eq!(handed(&outputs), [(BERT, attempt(3, 1))]);
}

#[test]
fn an_attached_worker_is_offered_and_open_to_strangers_and_no_slot_of_the_node() {
    let mut node = node();
    node.attach(ANNA, "B");
    let offer = last_report(&node.drain()).offer;
    assert_eq!((offer.attached_to("B"), offer.runs_itself("B"), offer.is_open("B")), (1, false, true));
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    give(&mut node, attempt(2, 1), submit::defaults("echo"));
    let outputs = node.drain();
    assert_eq!(handed(&outputs).len(), 1);
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Run(_))).count(), 1);
    assert_eq!(node.running(), 1, "its own slot is for echo");
}

#[test]
fn a_late_worker_keeps_its_job_which_is_given_back_and_its_answer_still_counts() {
    let mut node = node();
    node.attach(ANNA, "B");
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    node.drain();
    node.tick(ANSWER_WINDOW_MS - 1);
    assert!(!node.drain().iter().any(|output| matches!(output, Output::Late { .. })));
    node.tick(1);
    let outputs = node.drain();
    assert!(outputs.contains(&Output::Late { worker: ANNA, attempt: attempt(1, 1) }));
    let report = last_report(&outputs);
    assert_eq!(report.back, [(attempt(1, 1), LossCause::Late)]);
    assert_eq!(report.held, [attempt(1, 1)], "a slow worker is not forgotten");
    // The leader has queued the job again and wants nothing of it here: an attached worker cannot be ended.
    node.heard(ToNode::Answered(Answered { number: 1, report: 1, hold: vec![], roster: vec![] }));
    assert!(!node.drain().iter().any(|output| matches!(output, Output::Kill(_))));
    node.returned(ANNA, "B", done());
    assert_eq!(results(&node.drain()), [(attempt(1, 1), End::Success)]);
}

#[test]
fn windows_differ_by_class() {
    let windows = Windows { default_ms: 50, by_class: [("slow".to_string(), 500)].into() };
    let mut node = node().with_windows(windows);
    node.attach(ANNA, "slow");
    node.attach(BERT, "B");
    give(&mut node, attempt(1, 1), submit::defaults("slow"));
    give(&mut node, attempt(2, 1), submit::defaults("B"));
    node.tick(100);
    assert_eq!(last_report(&node.drain()).back, [(attempt(2, 1), LossCause::Late)]);
    node.tick(400);
    assert_eq!(last_report(&node.drain()).back.len(), 2);
}

#[test]
fn a_worker_that_leaves_gives_its_job_back_at_once_and_may_return_with_it_for_a_while() {
    let mut node = node();
    node.attach(ANNA, "B");
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    node.left(ANNA);
    let report = last_report(&node.drain());
    assert_eq!((report.back, report.held), (vec![(attempt(1, 1), LossCause::Left)], vec![attempt(1, 1)]));
    node.tick(AWAY_MS - 1);
    node.returned(ANNA, "B", done());
    assert_eq!(results(&node.drain()), [(attempt(1, 1), End::Success)]);
    give(&mut node, attempt(2, 1), submit::defaults("B"));
    node.left(ANNA);
    node.tick(AWAY_MS);
    assert_eq!(last_report(&node.drain()).held, [], "it will not come back");
}

#[test]
fn a_worker_that_registers_anew_holds_nothing_and_a_free_one_that_leaves_is_forgotten() {
    let mut node = node();
    node.attach(ANNA, "B");
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    node.attach(ANNA, "B");
    let report = last_report(&node.drain());
    assert_eq!((report.back, report.held), (vec![(attempt(1, 1), LossCause::Left)], vec![]));
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    assert_eq!(handed(&node.drain()), [], "what was given back is not taken again");
    node.left(ANNA);
    assert_eq!(last_report(&node.drain()).offer.attached_to("B"), 0);
}

#[test]
fn a_job_for_a_worker_that_left_meanwhile_goes_back() {
    let mut node = node();
    give(&mut node, attempt(1, 1), submit::defaults("B"));
    node.tick(protocol::limits::REPORT_MS);
    let report = last_report(&node.drain());
    assert_eq!((report.back, report.held), (vec![(attempt(1, 1), LossCause::Unbegun)], vec![]));
}

#[test]
fn a_jobs_own_timeout_ends_it_and_the_late_answer_is_dropped() {
    let mut node = node();
    node.attach(ANNA, "B");
    give(&mut node, attempt(1, 1), JobSpec { timeout_ms: Some(100), ..submit::defaults("B") });
    node.tick(100);
    assert_eq!(results(&node.drain()), [(attempt(1, 1), End::Failure(Reason::Timeout))]);
    node.heard(ToNode::Settled { attempt: attempt(1, 1), verdict: protocol::Verdict::Recorded });
    give(&mut node, attempt(2, 1), submit::defaults("B"));
    assert_eq!(handed(&node.drain()), [], "it is still busy with the first");
    node.returned(ANNA, "B", done());
    let outputs = node.drain();
    assert_eq!((results(&outputs), handed(&outputs)), (vec![], vec![(ANNA, attempt(2, 1))]));
}
