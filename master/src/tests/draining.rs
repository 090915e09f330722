//! Nodes that get no new attempts because somebody asked.

use alloc::vec::Vec;

use super::scene::{ANNA, BERT, Book, Scene, is_void, member, spec, success, through_snapshot};
use crate::Ledger;
use protocol::limits::REPORT_MS;
use protocol::{Answer, Boot, Change, Command, JobId, JobState, NodeId, Refusal, Request};

fn drain(node: NodeId, draining: bool) -> Request {
    Request::Drain { node, draining }
}

#[test]
fn a_drained_node_ends_what_it_has_and_gets_nothing_new_under_any_leader() {
    let mut scene = Scene::with_slots(&[4, 4]);
    let jobs: Vec<_> = (0..4).map(|_| scene.submit(spec("echo"))).collect();
    assert_eq!(scene.held(), [2, 2]);
    assert_eq!(scene.ask(BERT, drain(ANNA, true)), Some(Answer::Done));
    assert_eq!(scene.ask(BERT, drain(ANNA, true)), Some(Answer::Done), "it is so already");
    for _ in 0..3 {
        scene.submit(spec("echo"));
    }
    assert_eq!(scene.held(), [2, 4], "bert is full, the last one waits");
    scene.promote();
    scene.pass(REPORT_MS);
    for job in jobs {
        let (node, attempt) = scene.holder(job).unwrap();
        scene.finish(node, attempt, success("x"));
        assert_eq!(scene.state(job), JobState::Succeeded);
    }
    scene.pass(REPORT_MS);
    assert_eq!(scene.held(), [0, 3], "what waited went to bert as well");
    assert_eq!(scene.ask(ANNA, drain(ANNA, false)), Some(Answer::Done));
    scene.pass(2 * REPORT_MS);
    scene.submit(spec("echo"));
    assert_eq!(scene.held(), [1, 3]);
}

#[test]
fn who_is_no_member_is_not_drained() {
    let mut scene = Scene::with_slots(&[4]);
    let refused = scene.ask(ANNA, drain(NodeId(77), true));
    assert!(matches!(refused, Some(Answer::Refused(Refusal::Impossible(_)))), "{refused:?}");
}

#[test]
fn a_drain_holds_over_restarts_and_snapshots_until_the_node_leaves() {
    let mut book = Book::new();
    let change = |draining| Command::Configure(Change::Drain { node: ANNA, draining });
    assert!(!is_void(&book.one(change(true))));
    assert!(is_void(&book.one(change(true))), "no news");
    book.one(Command::Configure(Change::Member(member(ANNA, 2))));
    assert!(book.ledger.is_draining(ANNA));
    let restored = through_snapshot(&book.ledger, Ledger::new());
    assert!(restored.is_draining(ANNA) && restored.digest() == book.ledger.digest());
    book.submit(1, spec("echo"));
    let assign = Command::Assign { job: JobId(1), attempt: 1, node: ANNA, boot: Boot(2) };
    assert!(is_void(&book.one(assign.clone())), "an assignment that was on its way does nothing");
    assert!(!is_void(&book.one(change(false))));
    assert!(!is_void(&book.one(assign)));
    book.one(change(true));
    book.one(Command::Configure(Change::Leave(ANNA)));
    assert!(!book.ledger.is_draining(ANNA));
    assert!(is_void(&book.one(change(true))));
}
