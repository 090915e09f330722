//! The worker's and the gateway's minds, told as situations.

use std::sync::Arc;

use protocol::limits::{PROGRESS_SHOWN, REPORT_MS, RESEND_MS, WRITE_PATIENCE_MS};
use protocol::{
    Answer, Answered, AttemptRef, Dispatch, JobId, LossCause, NodeId, Offer, Outcome, Progress, Refusal,
    Request, ToMaster, ToNode, Verdict, submit,
};
use worker::{Gateway, GatewayOutput, Output, Told, Worker};

const ANNA: NodeId = NodeId(1);
const BERT: NodeId = NodeId(2);
const CARL: NodeId = NodeId(3);

fn attempt(job: u128, attempt: u32) -> AttemptRef {
    AttemptRef { job: JobId(job), attempt }
}

fn dispatch(of: AttemptRef) -> ToNode {
    ToNode::Dispatch(Dispatch { attempt: of, term: 1, spec: Arc::new(submit::defaults("echo")) })
}

fn answered(number: u64, hold: &[AttemptRef]) -> ToNode {
    ToNode::Answered(Answered { number, report: number, hold: hold.to_vec(), roster: vec![] })
}

fn worker(slots: u32) -> Worker {
    let mut worker = Worker::new(Offer { slots, classes: ["echo".to_string()].into(), ..Offer::default() });
    worker.follow(true);
    worker.drain();
    worker
}

fn done() -> Outcome {
    Outcome::success("ok".into())
}

fn results(outputs: &[Output]) -> Vec<AttemptRef> {
    let result = |output: &Output| match output {
        Output::Send(ToMaster::Result { attempt, .. }) => Some(*attempt),
        _ => None,
    };
    outputs.iter().filter_map(result).collect()
}

fn runs(outputs: &[Output]) -> Vec<AttemptRef> {
    let run = |output: &Output| match output {
        Output::Run(dispatch) => Some(dispatch.attempt),
        _ => None,
    };
    outputs.iter().filter_map(run).collect()
}

#[test]
fn a_dispatch_heard_twice_runs_once() {
    let mut worker = worker(4);
    worker.heard(dispatch(attempt(1, 1)));
    worker.heard(dispatch(attempt(1, 1)));
    assert_eq!(runs(&worker.drain()), [attempt(1, 1)]);
    worker.ended(attempt(1, 1), done());
    worker.heard(dispatch(attempt(1, 1)));
    assert_eq!(runs(&worker.drain()), []);
}

#[test]
fn a_dispatch_beyond_the_slots_waits_for_a_free_one() {
    let mut worker = worker(1);
    worker.heard(dispatch(attempt(1, 1)));
    worker.heard(dispatch(attempt(2, 1)));
    assert_eq!(runs(&worker.drain()), [attempt(1, 1)]);
    assert_eq!(worker.running(), 1);
    worker.ended(attempt(1, 1), done());
    assert_eq!(runs(&worker.drain()), [attempt(2, 1)]);
}

#[test]
fn what_the_leader_no_longer_lists_is_ended_once_and_keeps_its_slot_until_it_is_gone() {
    let mut worker = worker(1);
    worker.heard(dispatch(attempt(1, 1)));
    worker.heard(dispatch(attempt(2, 1)));
    worker.drain();
    worker.heard(answered(1, &[attempt(2, 1)]));
    worker.heard(answered(2, &[attempt(2, 1)]));
    let outputs = worker.drain();
    assert_eq!(outputs, [Output::Kill(attempt(1, 1))]);
    worker.ended(attempt(1, 1), done());
    assert_eq!(runs(&worker.drain()), [attempt(2, 1)]);
}

#[test]
fn a_late_answer_of_the_same_session_changes_nothing() {
    let mut worker = worker(4);
    worker.heard(answered(5, &[]));
    worker.heard(dispatch(attempt(1, 1)));
    worker.drain();
    worker.heard(answered(4, &[]));
    assert_eq!(worker.drain(), []);
}

#[test]
fn a_result_is_kept_and_said_again_until_it_is_settled() {
    let mut worker = worker(4);
    worker.heard(dispatch(attempt(1, 1)));
    worker.ended(attempt(1, 1), done());
    assert_eq!(results(&worker.drain()), [attempt(1, 1)]);
    worker.tick(RESEND_MS);
    assert_eq!(results(&worker.drain()), [attempt(1, 1)]);
    worker.follow(false);
    worker.tick(RESEND_MS);
    assert_eq!(results(&worker.drain()), []);
    worker.follow(true);
    assert_eq!(results(&worker.drain()), [attempt(1, 1)]);
    worker.heard(ToNode::Settled { attempt: attempt(1, 1), verdict: Verdict::Recorded });
    worker.tick(RESEND_MS);
    assert_eq!(results(&worker.drain()), []);
}

#[test]
fn a_report_lists_all_that_is_held_and_kept_and_the_newest_answer_seen() {
    let mut worker = worker(4);
    worker.heard(dispatch(attempt(1, 1)));
    worker.heard(dispatch(attempt(2, 1)));
    worker.ended(attempt(2, 1), done());
    worker.heard(answered(7, &[attempt(1, 1)]));
    worker.drain();
    worker.tick(REPORT_MS);
    let outputs = worker.drain();
    let [Output::Send(ToMaster::Report(report))] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(
        (report.echo, &report.held[..], &report.kept[..]),
        (7, &[attempt(1, 1)][..], &[attempt(2, 1)][..])
    );
}

fn submit(job: u128) -> Request {
    Request::Submit {
        job: JobId(job),
        spec: Arc::new(submit::defaults("echo")),
        key: None,
        fingerprint: [0; 32],
    }
}

fn sent(outputs: &[GatewayOutput]) -> Vec<(u64, u64)> {
    let forward = |output: &GatewayOutput| match output {
        GatewayOutput::Send(ToMaster::Forward(forward)) => Some((forward.number, forward.floor)),
        _ => None,
    };
    outputs.iter().filter_map(forward).collect()
}

#[test]
fn a_request_waits_for_a_leader_and_goes_to_the_next_one_under_the_same_number() {
    let mut gateway = Gateway::new();
    gateway.ask(10, submit(1)).unwrap();
    assert_eq!(gateway.drain(), []);
    gateway.follow(Some(ANNA));
    assert_eq!(sent(&gateway.drain()), [(1, 1)]);
    gateway.follow(None);
    gateway.follow(Some(ANNA));
    assert_eq!(sent(&gateway.drain()), [(1, 1)]);
}

#[test]
fn not_leader_is_no_answer_for_the_user() {
    let mut gateway = Gateway::new();
    gateway.follow(Some(ANNA));
    gateway.ask(10, submit(1)).unwrap();
    gateway.drain();
    gateway.answered(1, Answer::Refused(Refusal::NotLeader));
    assert_eq!(gateway.drain(), []);
    gateway.tick(50);
    assert_eq!(sent(&gateway.drain()), [(1, 1)]);
}

#[test]
fn a_lead_to_be_handed_to_anybody_is_asked_of_one_leader() {
    let mut gateway = Gateway::new();
    gateway.follow(Some(ANNA));
    gateway.ask(10, Request::Transfer { to: None }).unwrap();
    gateway.ask(11, Request::Transfer { to: Some(CARL) }).unwrap();
    gateway.drain();
    gateway.follow(None);
    gateway.follow(Some(ANNA));
    assert_eq!(sent(&gateway.drain()), [(1, 1), (2, 1)], "the first session may have carried nothing");
    gateway.follow(Some(BERT));
    let told = gateway.drain();
    let done = GatewayOutput::Tell { ticket: 10, told: Told::Answer(Answer::Done) };
    assert_eq!((&told[0], told.len()), (&done, 2), "another leads, and keeps the lead");
    assert_eq!(sent(&told), [(2, 2)], "Carl does not lead yet");
}

#[test]
fn a_lead_to_be_handed_on_is_asked_of_the_next_if_the_first_had_it_no_longer() {
    let mut gateway = Gateway::new();
    gateway.follow(Some(ANNA));
    gateway.ask(10, Request::Transfer { to: None }).unwrap();
    gateway.drain();
    gateway.answered(1, Answer::Refused(Refusal::NotLeader));
    gateway.follow(Some(BERT));
    assert_eq!(sent(&gateway.drain()), [(1, 1)]);
}

#[test]
fn the_first_answer_counts_and_the_floor_rises_past_it() {
    let mut gateway = Gateway::new();
    gateway.follow(Some(ANNA));
    gateway.ask(10, submit(1)).unwrap();
    gateway.ask(11, submit(2)).unwrap();
    gateway.drain();
    let accepted = Answer::Accepted { job: JobId(1), replayed: false };
    gateway.answered(1, accepted.clone());
    gateway.answered(1, accepted.clone());
    assert_eq!(gateway.drain(), [GatewayOutput::Tell { ticket: 10, told: Told::Answer(accepted) }]);
    gateway.ask(12, submit(3)).unwrap();
    assert_eq!(sent(&gateway.drain()), [(3, 2)]);
}

#[test]
fn patience_ends_with_the_truth_about_what_may_have_happened() {
    let mut gateway = Gateway::new();
    gateway.ask(10, submit(1)).unwrap();
    gateway.tick(WRITE_PATIENCE_MS);
    assert_eq!(
        gateway.drain(),
        [GatewayOutput::Tell { ticket: 10, told: Told::NoQuorum { handed_over: false } }]
    );
    gateway.follow(Some(ANNA));
    gateway.ask(11, submit(2)).unwrap();
    gateway.drain();
    gateway.tick(WRITE_PATIENCE_MS);
    assert_eq!(
        gateway.drain(),
        [GatewayOutput::Tell { ticket: 11, told: Told::NoQuorum { handed_over: true } }]
    );
}

#[test]
fn an_attempt_that_is_asked_back_before_it_began_never_begins_here() {
    let mut worker = worker(1);
    let [first, second, third] = [attempt(1, 1), attempt(2, 1), attempt(3, 1)];
    [first, second, third].into_iter().for_each(|of| worker.heard(dispatch(of)));
    assert_eq!(worker.waiting().collect::<Vec<_>>(), [second, third]);
    worker.drain();
    // The first has begun: it stays.
    worker.heard(ToNode::Recall { attempts: vec![first, second] });
    let outputs = worker.drain();
    let report = outputs.iter().find_map(|output| match output {
        Output::Send(ToMaster::Report(report)) => Some((**report).clone()),
        _ => None,
    });
    let report = report.unwrap();
    assert_eq!((report.back, report.held), (vec![(second, LossCause::Unbegun)], vec![first, third]));
    assert_eq!(report.waiting, [third]);
    // A late repetition of its dispatch changes nothing.
    worker.heard(dispatch(second));
    worker.ended(first, done());
    assert_eq!(runs(&worker.drain()), [third]);
    worker.ended(third, done());
    assert_eq!(runs(&worker.drain()), []);
    // Once the leader has taken it back it is forgotten.
    worker.heard(answered(9, &[]));
    worker.tick(REPORT_MS);
    let back = worker.drain().into_iter().find_map(|output| match output {
        Output::Send(ToMaster::Report(report)) => Some(report.back),
        _ => None,
    });
    assert_eq!(back, Some(vec![]));
}

#[test]
fn what_waits_keeps_its_order_within_the_classes_that_can_begin() {
    let offer = Offer { slots: 1, classes: ["echo", "hash"].map(String::from).into(), ..Offer::default() };
    let mut worker = Worker::new(offer);
    worker.attach(worker::AttachedId(1), "lab");
    for (job, class) in [(1, "echo"), (2, "lab"), (3, "lab"), (4, "hash"), (5, "echo")] {
        let spec = Arc::new(submit::defaults(class));
        worker.heard(ToNode::Dispatch(Dispatch { attempt: attempt(job, 1), term: 1, spec }));
    }
    assert_eq!(worker.waiting().map(|of| of.job.0).collect::<Vec<_>>(), [3, 4, 5]);
    worker.drain();
    worker.ended(attempt(1, 1), done());
    assert_eq!(runs(&worker.drain()), [attempt(4, 1)], "what an attached worker is to do is passed by");
    worker.returned(worker::AttachedId(1), "lab", done());
    let handed = worker.drain().into_iter().filter(|output| matches!(output, Output::Hand { .. }));
    assert_eq!((handed.count(), worker.waiting().count()), (1, 1));
}

#[test]
fn a_report_tells_how_far_programs_say_they_are_and_never_of_too_many() {
    let mut worker = worker(4);
    let said = |job| Progress { attempt: attempt(job, 1), permille: 400, text: "two of five".to_string() };
    worker.progressed((1..=1_000).map(said).collect());
    worker.tick(REPORT_MS);
    let reported = |outputs: Vec<Output>| {
        let report = |output: Output| match output {
            Output::Send(ToMaster::Report(report)) => Some(report.progress),
            _ => None,
        };
        outputs.into_iter().filter_map(report).next_back().expect("it reports")
    };
    let told = reported(worker.drain());
    assert_eq!((told.len(), &told[0]), (PROGRESS_SHOWN, &said(1)));
    worker.progressed(Vec::new());
    worker.tick(REPORT_MS);
    assert_eq!(reported(worker.drain()), []);
}

/// What the last of these reports gives back.
fn given_back(outputs: &[Output]) -> Option<Vec<(AttemptRef, LossCause)>> {
    outputs.iter().rev().find_map(|output| match output {
        Output::Send(ToMaster::Report(report)) => Some(report.back.clone()),
        _ => None,
    })
}

#[test]
fn a_worker_that_rests_ends_what_it_runs_and_begins_nothing() {
    let mut worker = worker(1);
    let [runs_here, waits, comes] = [attempt(1, 1), attempt(2, 1), attempt(3, 1)];
    [runs_here, waits].into_iter().for_each(|of| worker.heard(dispatch(of)));
    worker.drain();
    worker.rest(true);
    assert_eq!(given_back(&worker.drain()), Some(vec![(waits, LossCause::Unbegun)]));
    assert!(worker.offer().draining);
    worker.ended(runs_here, done());
    // On its way before the leader knew: the slot is free, and it does not begin.
    worker.heard(dispatch(comes));
    assert_eq!(runs(&worker.drain()), []);
    worker.tick(REPORT_MS);
    let unbegun = [waits, comes].map(|of| (of, LossCause::Unbegun));
    assert_eq!(given_back(&worker.drain()), Some(unbegun.to_vec()));
    worker.rest(false);
    assert!(!worker.offer().draining);
    worker.heard(dispatch(attempt(4, 1)));
    assert_eq!(runs(&worker.drain()), [attempt(4, 1)]);
    // Whoever is about to end stays so, whatever is asked.
    worker.leave();
    worker.rest(true);
    worker.rest(false);
    assert!(worker.offer().draining);
}

#[test]
fn what_is_given_up_goes_back_unless_it_succeeds_in_the_last_moment() {
    let mut worker = worker(2);
    let [quick, slow] = [attempt(1, 1), attempt(2, 1)];
    [quick, slow].into_iter().for_each(|of| worker.heard(dispatch(of)));
    worker.leave();
    worker.drain();
    worker.give_up();
    let killed: Vec<AttemptRef> = worker
        .drain()
        .into_iter()
        .filter_map(|output| match output {
            Output::Kill(attempt) => Some(attempt),
            _ => None,
        })
        .collect();
    assert_eq!(killed, [quick, slow]);
    worker.ended(quick, done());
    assert!(worker.keeps_results() && !worker.gives_back(), "a success is a result");
    worker.ended(slow, Outcome::failure(protocol::Reason::Signal, "killed".into()));
    assert_eq!(given_back(&worker.drain()), Some(vec![(slow, LossCause::Abandoned)]));
    assert_eq!((worker.running(), worker.gives_back()), (0, true));
    worker.heard(answered(9, &[]));
    assert!(!worker.gives_back(), "the leader has taken it back");
}
