//! The stage's side of the lab's ports: what becomes of frames, without sockets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cast::{AttachedId, Input};
use protocol::{AttemptRef, Dispatch, JobId, Request, cbw, limits, submit};

use super::Lines;
use super::clients::{Asks, Clients};
use super::workers::Workers;
use crate::ask::Told;
use crate::ports::PeerId;

fn lines() -> (Lines, logdb::Log) {
    let log = logdb::Log::in_memory("n1");
    (Lines(log.clone()), log)
}

fn peer(name: &'static str) -> PeerId {
    PeerId(Bytes::from_static(name.as_bytes()))
}

fn asks(job: u128, text: &'static str, class: &str) -> Asks {
    let envelope = vec![Bytes::from_static(b"tag"), Bytes::new()];
    let ask = cbw::Ask { envelope, text: text.into(), class: Bytes::from(class.to_owned()) };
    Asks { peer: peer("c1"), job: JobId(job), ask }
}

fn clients() -> Clients {
    let mut clients = Clients::new(lines().0, BTreeSet::new());
    clients.opened(peer("c1"), "C_anna".into());
    clients
}

fn dispatch(job: u128) -> Dispatch {
    let attempt = AttemptRef { job: JobId(job), attempt: 1 };
    Dispatch { attempt, term: 1, spec: Arc::new(submit::defaults("B")) }
}

#[test]
fn a_strangers_request_is_a_job_that_only_open_nodes_may_run() {
    let Ok(Request::Submit { job, spec, .. }) = clients().asks(asks(7, "Hello", "B"), &BTreeSet::new())
    else {
        panic!("it is taken");
    };
    assert_eq!((job, &spec.payload[..], spec.submitter.as_str()), (JobId(7), &b"Hello"[..], "C_anna"));
    assert_eq!(spec.requires[protocol::LAB_HEADER], "B");
}

#[test]
fn what_is_refused_is_answered_with_the_envelope_and_the_reason() {
    let closed: BTreeSet<String> = ["sh".to_string()].into();
    let long = "x".repeat(limits::CLASS_BYTES + 1);
    for (class, reply) in
        [("sh", "ERROR forbidden class"), (long.as_str(), "ERROR class is longer than 200 bytes")]
    {
        let letter = clients().asks(asks(1, "Hello", class), &closed).expect_err("it is refused");
        assert_eq!(letter.frames, [Bytes::from("tag"), Bytes::new(), Bytes::from(reply)]);
    }
    let just = "x".repeat(limits::CLASS_BYTES);
    assert!(clients().asks(asks(1, "Hello", &just), &closed).is_ok());
}

#[test]
fn what_nobody_decided_is_asked_again_under_the_same_id_while_its_client_is_there() {
    let mut clients = clients();
    assert!(clients.asks(asks(7, "Hello", "B"), &BTreeSet::new()).is_ok());
    clients.asked(1, JobId(7));
    assert_eq!(clients.answered(1, &Told::NoQuorum { handed_over: true }), (true, None));
    let again = clients.take_undecided();
    assert!(matches!(&again[..], [(JobId(7), Request::Submit { job: JobId(7), .. })]));
    clients.asked(2, JobId(7));
    assert_eq!(clients.answered(2, &Told::NoQuorum { handed_over: true }), (true, None));
    clients.closed(&peer("c1"));
    assert!(clients.take_undecided().is_empty());
    assert_eq!(clients.answered(3, &Told::Busy), (false, None), "somebody else's ticket");
}

#[test]
fn a_trail_of_bridges_is_kept_and_named_to_a_worker_elsewhere() {
    let mut clients = Clients::new(lines().0, BTreeSet::new());
    clients.opened(peer("c1"), "WC_host_1~0a1b2c3d.ffffffff".into());
    let Ok(Request::Submit { spec, .. }) = clients.asks(asks(7, "Hello", "B"), &BTreeSet::new()) else {
        panic!("it is taken");
    };
    let dispatch = Dispatch { spec, ..dispatch(7) };
    assert_eq!(
        clients.name_for(&dispatch),
        Bytes::from("WC_host_1~0a1b2c3d.ffffffff"),
        "it is connected here"
    );
    clients.closed(&peer("c1"));
    let named = clients.name_for(&dispatch);
    assert_eq!(named, Bytes::from(format!("{}~0a1b2c3d.ffffffff", JobId(7))));
}

#[test]
fn a_worker_keeps_its_attempt_over_a_broken_connection_and_its_name_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let none = BTreeSet::new();
    let mut inputs = Vec::new();
    let mut workers = Workers::open(data.path(), lines().0);
    workers.opened(peer("w1"), "W_anna".into(), &mut inputs);
    workers.registers(&peer("w1"), "B".into(), &none, &mut inputs);
    assert!(matches!(&inputs[..], [Input::Attach { worker: AttachedId(1), class }] if class == "B"));
    let letter = workers.hand(AttachedId(1), &dispatch(7), "C_anna".into()).expect("a letter");
    assert_eq!(letter.frames, cbw::job("C_anna".into(), Bytes::new()));
    inputs.clear();
    workers.closed(&peer("w1"), &mut inputs);
    workers.opened(peer("w2"), "W_anna".into(), &mut inputs);
    workers.returns(&peer("w2"), &"C_anna".into(), "Done!".into(), "B".into(), &none, &mut inputs);
    let [Input::Left { .. }, Input::Returned { worker: AttachedId(1), outcome, .. }] = &inputs[..] else {
        panic!("{inputs:?}");
    };
    assert_eq!(outcome.output, "Done!");
    // The node starts anew; the worker waits and says nothing.
    inputs.clear();
    drop(workers);
    let mut workers = Workers::open(data.path(), lines().0);
    workers.opened(peer("w3"), "W_anna".into(), &mut inputs);
    assert!(matches!(&inputs[..], [Input::Attach { class, .. }] if class == "B"));
    let letter = workers.hand(AttachedId(1), &dispatch(8), "C_anna".into()).expect("a letter");
    let named = Bytes::from(JobId(8).to_string());
    assert_eq!(letter.frames, cbw::job(named, Bytes::new()), "a result of before must not fit this one");
    inputs.clear();
    workers.opened(peer("w4"), "W_anna".into(), &mut inputs);
    assert!(inputs.is_empty(), "a name registered once is one worker's");
}

#[test]
fn a_result_for_somebody_else_is_no_result_and_frees_the_worker() {
    let data = tempfile::tempdir().expect("a folder");
    let none = BTreeSet::new();
    let mut inputs = Vec::new();
    let mut workers = Workers::open(data.path(), lines().0);
    workers.opened(peer("w1"), Bytes::new(), &mut inputs);
    workers.registers(&peer("w1"), "B".into(), &none, &mut inputs);
    workers.hand(AttachedId(1), &dispatch(7), "C_anna".into()).expect("a letter");
    inputs.clear();
    workers.returns(&peer("w1"), &"C_bert".into(), "Done!".into(), "B".into(), &none, &mut inputs);
    assert!(matches!(&inputs[..], [Input::Attach { worker: AttachedId(1), .. }]));
}

#[test]
fn two_of_one_name_are_told_by_name_and_the_first_ones_job_is_offered_again() {
    let data = tempfile::tempdir().expect("a folder");
    let none = BTreeSet::new();
    let (lines, log) = lines();
    let mut inputs = Vec::new();
    let mut workers = Workers::open(data.path(), lines);
    for name in ["w1", "w2"] {
        workers.opened(peer(name), "Worker1".into(), &mut inputs);
    }
    workers.registers(&peer("w1"), "B".into(), &none, &mut inputs);
    workers.hand(AttachedId(1), &dispatch(7), "C_anna".into()).expect("a letter");
    inputs.clear();
    workers.registers(&peer("w2"), "B".into(), &none, &mut inputs);
    let first = Input::Left { worker: AttachedId(1) };
    assert!(
        matches!(
            &inputs[..],
            [Input::Left { worker: AttachedId(1) }, Input::Attach { worker: AttachedId(2), .. }]
        ),
        "{first:?} first: {inputs:?}"
    );
    let told =
        log.after(0, 100).iter().any(|line| line.message.contains("two peers call themselves Worker1"));
    assert!(told);
}

#[test]
fn a_closed_class_is_not_served_by_strangers() {
    let data = tempfile::tempdir().expect("a folder");
    let mut inputs = Vec::new();
    let mut workers = Workers::open(data.path(), lines().0);
    workers.opened(peer("w1"), "W_eve".into(), &mut inputs);
    workers.registers(&peer("w1"), "sh".into(), &["sh".to_string()].into(), &mut inputs);
    assert!(inputs.is_empty());
}
