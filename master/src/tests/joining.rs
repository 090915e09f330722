//! Who becomes a member, and whose a name is.

use super::electing::{standing, wish, wish_of};
use super::scene::*;
use crate::{Configuration, Ledger, Master};
use protocol::limits::LIVENESS_MS;
use protocol::{Answer, JobState, Member, NodeId, Refusal, Request};

#[test]
fn a_node_joins_and_is_told_so_when_it_is() {
    let mut scene = Scene::with_slots(&[1]);
    scene.workers.insert(DORA, Worker::new(1));
    assert_eq!(scene.ask(DORA, Request::Join(member(DORA, 1))), Some(Answer::Done));
    assert_eq!(scene.ledger.member(DORA).map(|known| known.number), Some(2));
    let applied = scene.ledger.applied();
    assert_eq!(scene.ask(DORA, Request::Join(member(DORA, 1))), Some(Answer::Done));
    assert_eq!(scene.ledger.applied(), applied, "nothing to record");
}

#[test]
fn a_name_belongs_to_its_bearer_while_that_is_alive() {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    wish(&mut scene, &[NodeId(9), ANNA, CARL], &[BERT]);
    scene.workers.insert(DORA, Worker::new(1));
    let as_bert = Request::Join(Member { name: "bert".into(), ..member(DORA, 1) });
    let taken = Some(Answer::Refused(Refusal::NameTaken { name: "bert".into() }));
    assert_eq!(scene.ask(DORA, as_bert.clone()), taken);
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    scene.pass(LIVENESS_MS);
    assert_eq!(scene.ask(DORA, as_bert), Some(Answer::Done));
    assert_eq!(scene.ledger.member_named("bert").map(|known| known.id), Some(DORA));
    assert!(scene.ledger.member(BERT).is_none());
}

#[test]
fn a_silent_voter_keeps_its_name_until_it_may_be_replaced_and_votes_on_until_it_is() {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    let voters = [NodeId(9), ANNA, CARL];
    wish(&mut scene, &voters, &[BERT]);
    scene.workers.insert(DORA, Worker::new(1));
    scene.workers.get_mut(&CARL).unwrap().cut = true;
    scene.pass(scene.settings.replace_after_ms - 50);
    let as_carl = Request::Join(Member { name: "carl".into(), ..member(DORA, 1) });
    assert!(matches!(scene.ask(DORA, as_carl.clone()), Some(Answer::Refused(Refusal::NotNow(_)))));
    scene.pass(50);
    assert_eq!(scene.ask(DORA, as_carl), Some(Answer::Done));
    // The retired one is still counted on: with the others alone there would be an even number of voters.
    let heard = [NodeId(9), ANNA, DORA];
    let now = standing(&voters, &[DORA], &heard);
    let behind = Configuration { caught_up: [NodeId(9), ANNA].into(), ..now.clone() };
    assert_eq!(wish_of(&mut scene, &behind), Some(([ANNA, CARL, NodeId(9)].into(), [BERT, DORA].into())));
    scene.pass(50);
    let now = Configuration { learners: [BERT, DORA].into(), ..now };
    assert_eq!(wish_of(&mut scene, &now), Some(([ANNA, DORA, NodeId(9)].into(), [BERT].into())));
}

#[test]
fn what_ran_on_a_retired_node_runs_elsewhere() {
    let mut scene = Scene::with_slots(&[1, 1]);
    wish(&mut scene, &[NodeId(9)], &[ANNA, BERT]);
    let job = scene.submit(spec("echo"));
    let (node, _) = scene.holder(job).unwrap();
    let leave = protocol::Command::Configure(protocol::Change::Leave(node));
    let entry = protocol::Entry { clock_ms: 0, wall_ms: 0, term: 5, commands: [leave].into() };
    scene.apply(&entry);
    scene.turn();
    assert_eq!(scene.state(job), JobState::Running);
    assert_ne!(scene.ledger.job(job).unwrap().attempts[1].node, node);
}

#[test]
fn the_cluster_opens_once_the_expected_voters_are_in_sync() {
    let scene = Scene::with_slots(&[1]);
    let settings = crate::Settings { expect: 3, ..scene.settings };
    let mut ledger = Ledger::new();
    let mut master = Master::take_over(settings.clone(), &ledger, 1);
    let voters = [ANNA, BERT, CARL];
    master.configuration(&ledger, &standing(&voters[..1], &[], &voters));
    assert_eq!(master.proposal(&ledger, 0), None);
    master.configuration(&ledger, &standing(&voters, &[], &[ANNA, BERT]));
    assert_eq!(master.proposal(&ledger, 0), None);
    master.configuration(&ledger, &standing(&voters, &[], &voters));
    let entry = master.proposal(&ledger, 0).unwrap();
    let effects = ledger.apply(1, &entry);
    master.applied(&ledger, &effects);
    assert!(ledger.is_open());
    master.configuration(&ledger, &standing(&voters, &[], &voters));
    assert_eq!(master.proposal(&ledger, 0), None, "open for good");
    let alone =
        Master::take_over(crate::Settings { expect: 1, ..settings }, &Ledger::new(), 1).proposal(&ledger, 0);
    assert!(alone.is_some(), "one that expects nobody else opens at once");
}

#[test]
fn while_it_starts_jobs_are_refused_and_joins_are_not() {
    let mut scene = Scene::with_slots(&[1]);
    scene.ledger = Ledger::new();
    scene.settings.expect = 3;
    scene.promote();
    let (_, request) = scene.request(spec("echo"));
    assert_eq!(scene.ask(ANNA, request), Some(Answer::Refused(Refusal::Starting)));
    assert_eq!(scene.ledger.applied(), 0, "not proposed");
    assert_eq!(scene.ask(ANNA, Request::Join(member(ANNA, 1))), Some(Answer::Done));
    assert_eq!(scene.ledger.member(ANNA).map(|known| known.number), Some(1));
}
