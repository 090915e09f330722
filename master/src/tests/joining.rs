//! Who becomes a member, and who votes.

use super::scene::*;
use crate::{Ledger, Master, Output};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use protocol::limits::LIVENESS_MS;
use protocol::{Answer, JobState, Member, NodeId, Refusal, Request};

/// What the leader wants after hearing who votes and who learns, everybody in sync.
fn wish(scene: &mut Scene, voters: &[NodeId], learners: &[NodeId]) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
    let all: BTreeSet<NodeId> = voters.iter().chain(learners).copied().collect();
    scene.master.configuration(&scene.ledger, voters, learners, false, &all);
    scene.master.drain().into_iter().find_map(|output| match output {
        Output::Members { voters, learners } => Some((voters, learners)),
        _ => None,
    })
}

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
fn a_name_belongs_to_its_bearer_while_that_is_alive_or_votes() {
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
    scene.workers.get_mut(&CARL).unwrap().cut = true;
    scene.pass(LIVENESS_MS);
    let as_carl = Request::Join(Member { name: "carl".into(), ..member(DORA, 1) });
    assert!(
        matches!(scene.ask(DORA, as_carl), Some(Answer::Refused(Refusal::NameTaken { .. }))),
        "carl votes"
    );
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
fn voters_grow_from_one_to_three_when_two_learners_are_in_sync() {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    assert_eq!(
        wish(&mut scene, &[ANNA], &[]),
        Some(([ANNA].into(), [BERT, CARL].into())),
        "members learn first"
    );
    let only_bert = BTreeSet::from([ANNA, BERT]);
    scene.master.configuration(&scene.ledger, &[ANNA], &[BERT, CARL], false, &only_bert);
    assert!(scene.master.drain().is_empty(), "never an even number");
    let all = BTreeSet::from([ANNA, BERT, CARL]);
    scene.master.configuration(&scene.ledger, &[ANNA], &[BERT, CARL], true, &all);
    assert!(scene.master.drain().is_empty(), "none while joint");
    assert_eq!(wish(&mut scene, &[ANNA], &[BERT, CARL]), Some(([ANNA, BERT, CARL].into(), [].into())));
    assert_eq!(wish(&mut scene, &[ANNA], &[BERT, CARL]), None, "said once a second");
    scene.pass(1_000);
    assert!(wish(&mut scene, &[ANNA], &[BERT, CARL]).is_some());
    assert_eq!(wish(&mut scene, &[ANNA, BERT, CARL], &[]), None);
}

#[test]
fn five_voters_are_reached_by_way_of_three() {
    let mut scene = Scene::with_slots(&[1, 1, 1, 1, 1]);
    scene.settings.voters = 5;
    scene.promote();
    let ids: Vec<NodeId> = (1..=5).map(NodeId).collect();
    assert_eq!(wish(&mut scene, &ids[..1], &ids[1..]), Some((ids[..3].to_vec(), ids[3..].to_vec())));
    assert_eq!(wish(&mut scene, &ids[..3], &ids[3..]), Some((ids.clone(), [].into())));
}

#[test]
fn the_cluster_opens_once_the_expected_voters_are_in_sync() {
    let scene = Scene::with_slots(&[1]);
    let settings = crate::Settings { expect: 3, ..scene.settings };
    let mut ledger = Ledger::new();
    let mut master = Master::take_over(settings.clone(), &ledger, 1);
    let voters = [ANNA, BERT, CARL];
    master.configuration(&ledger, &voters[..1], &[], false, &voters.into());
    assert_eq!(master.proposal(&ledger, 0), None);
    master.configuration(&ledger, &voters, &[], false, &[ANNA, BERT].into());
    assert_eq!(master.proposal(&ledger, 0), None);
    master.configuration(&ledger, &voters, &[], false, &voters.into());
    let entry = master.proposal(&ledger, 0).unwrap();
    let effects = ledger.apply(1, &entry);
    master.applied(&ledger, &effects);
    assert!(ledger.is_open());
    master.configuration(&ledger, &voters, &[], false, &voters.into());
    assert_eq!(master.proposal(&ledger, 0), None, "open for good");
    let alone =
        Master::take_over(crate::Settings { expect: 1, ..settings }, &Ledger::new(), 1).proposal(&ledger, 0);
    assert!(alone.is_some(), "one that expects nobody else opens at once");
}

#[test]
fn only_a_voter_is_handed_the_lead() {
    let mut scene = Scene::with_slots(&[1, 1]);
    wish(&mut scene, &[ANNA], &[BERT]);
    let refused = scene.ask(ANNA, Request::Transfer { to: Some(BERT) });
    assert!(matches!(refused, Some(Answer::Refused(Refusal::Impossible(_)))));
    assert_eq!(scene.ask(ANNA, Request::Transfer { to: Some(ANNA) }), Some(Answer::Done));
    assert!(scene.said.contains(&Output::Transfer { to: Some(ANNA) }));
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
