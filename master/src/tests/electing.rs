//! Who votes: each rule of the electorate, and to whom the lead goes.

use super::scene::*;
use crate::limits::CHANGE_PAUSE_MS;
use crate::{Configuration, Output};
use alloc::vec::Vec;
use protocol::limits::{LIVENESS_MS, REPORT_MS};
use protocol::{Answer, Member, NodeId, Refusal, Request};

/// Voters and learners that the leader asks for.
pub(super) type Wish = Option<(Vec<NodeId>, Vec<NodeId>)>;

/// These vote, those learn; whoever is heard has caught up.
pub(super) fn standing(voters: &[NodeId], learners: &[NodeId], heard: &[NodeId]) -> Configuration {
    let heard: alloc::collections::BTreeSet<NodeId> = heard.iter().copied().collect();
    let (voters, learners) = (voters.to_vec(), learners.to_vec());
    Configuration { voters, learners, joint: false, caught_up: heard.clone(), keeps_up: heard.clone(), heard }
}

/// What the leader wants after hearing who votes and who learns, everybody in sync.
pub(super) fn wish(scene: &mut Scene, voters: &[NodeId], learners: &[NodeId]) -> Wish {
    let all: Vec<NodeId> = voters.iter().chain(learners).copied().collect();
    let now = standing(voters, learners, &all);
    wish_of(scene, &now)
}

/// What the leader wants after hearing this.
pub(super) fn wish_of(scene: &mut Scene, now: &Configuration) -> Wish {
    scene.master.configuration(&scene.ledger, now);
    scene.master.drain().into_iter().find_map(|output| match output {
        Output::Members { voters, learners } => Some((voters, learners)),
        _ => None,
    })
}

fn ids(numbers: core::ops::RangeInclusive<u64>) -> Vec<NodeId> {
    numbers.map(NodeId).collect()
}

/// A leader (one of the workers, number 1) among so many members.
fn led(nodes: usize, voters: usize) -> Scene {
    let mut scene = Scene::with_slots(&std::vec![1; nodes]);
    (scene.settings.me, scene.settings.voters) = (ANNA, voters);
    scene.promote();
    scene.pass(500);
    scene
}

/// Lets time pass while these are heard and the others are not; the last thing the leader wanted meanwhile.
fn pass(scene: &mut Scene, ms: u64, now: &Configuration) -> Wish {
    let mut last = None;
    for tick in 0..ms / scene.settings.tick_ms {
        scene.pass(scene.settings.tick_ms);
        if (tick * scene.settings.tick_ms).is_multiple_of(REPORT_MS) {
            scene.report_all();
        }
        last = wish_of(scene, now).or(last);
    }
    last
}

#[test]
fn voters_grow_from_one_to_three_when_two_learners_are_in_sync() {
    let mut scene = led(3, 3);
    assert_eq!(
        wish(&mut scene, &[ANNA], &[]),
        Some(([ANNA].into(), [BERT, CARL].into())),
        "members learn first"
    );
    let now = standing(&[ANNA], &[BERT, CARL], &[ANNA, BERT]);
    assert_eq!(wish_of(&mut scene, &now), None, "never an even number");
    let now = standing(&[ANNA], &[BERT, CARL], &[ANNA, BERT, CARL]);
    assert_eq!(wish_of(&mut scene, &Configuration { joint: true, ..now.clone() }), None, "none while joint");
    assert_eq!(wish_of(&mut scene, &now), Some(([ANNA, BERT, CARL].into(), [].into())));
    assert_eq!(wish_of(&mut scene, &now), None, "said once a second");
    scene.pass(1_000);
    assert!(wish_of(&mut scene, &now).is_some());
    assert_eq!(wish(&mut scene, &[ANNA, BERT, CARL], &[]), None);
}

#[test]
fn five_voters_are_reached_by_way_of_three() {
    let mut scene = led(5, 5);
    let ids = ids(1..=5);
    assert_eq!(wish(&mut scene, &ids[..1], &ids[1..]), Some((ids[..3].to_vec(), ids[3..].to_vec())));
    assert_eq!(wish(&mut scene, &ids[..3], &ids[3..]), Some((ids.clone(), [].into())));
}

#[test]
fn a_voter_silent_for_long_enough_is_replaced_by_a_learner_in_one_change() {
    let mut scene = led(4, 3);
    let (voters, replace_after_ms) = ([ANNA, BERT, CARL], scene.settings.replace_after_ms);
    assert_eq!(wish(&mut scene, &voters, &[DORA]), None);
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    let now = standing(&voters, &[DORA], &[ANNA, CARL, DORA]);
    assert_eq!(pass(&mut scene, replace_after_ms - 50, &now), None, "not yet");
    let heard_again = standing(&voters, &[DORA], &[ANNA, BERT, CARL, DORA]);
    assert_eq!(wish_of(&mut scene, &heard_again), None);
    assert_eq!(pass(&mut scene, replace_after_ms - 50, &now), None, "silence begins anew");
    let wished = ([ANNA, CARL, DORA].into(), [BERT].into());
    assert_eq!(pass(&mut scene, 50, &now), Some(wished), "it stays as a learner");
}

#[test]
fn without_a_sound_learner_a_silent_voter_stays() {
    let mut scene = led(4, 3);
    let voters = [ANNA, BERT, CARL];
    let now = standing(&voters, &[DORA], &[ANNA, CARL]);
    assert_eq!(pass(&mut scene, 30_000, &now), None, "the learner is silent too");
    let heard = standing(&voters, &[DORA], &[ANNA, CARL, DORA]);
    let behind = Configuration { caught_up: [ANNA, CARL].into(), ..heard.clone() };
    assert_eq!(wish_of(&mut scene, &behind), None, "the learner is behind");
    scene.workers.get_mut(&DORA).unwrap().offer.draining = true;
    scene.pass(250);
    assert_eq!(wish_of(&mut scene, &heard), None, "the learner is about to leave");
    scene.workers.get_mut(&DORA).unwrap().offer.draining = false;
    scene.pass(250);
    assert!(wish_of(&mut scene, &heard).is_some());
}

#[test]
fn two_of_five_voters_lost_without_a_learner_leave_three() {
    let mut scene = led(5, 5);
    let five = ids(1..=5);
    let one_lost = standing(&five, &[], &five[..4]);
    assert_eq!(pass(&mut scene, 30_000, &one_lost), None, "never an even number");
    let two_lost = standing(&five, &[], &five[..3]);
    let replace_after_ms = scene.settings.replace_after_ms;
    let wished = pass(&mut scene, replace_after_ms, &two_lost);
    assert_eq!(wished, Some((ids(1..=3), ids(4..=5))));
}

#[test]
fn of_three_voters_with_two_lost_nobody_is_taken() {
    let mut scene = led(3, 3);
    let now = standing(&[ANNA, BERT, CARL], &[], &[ANNA]);
    assert_eq!(pass(&mut scene, 30_000, &now), None);
}

#[test]
fn after_a_change_there_is_a_pause_unless_one_more_loss_would_stop_all() {
    let mut scene = led(8, 5);
    let (all, replace_after_ms) = (ids(1..=8), scene.settings.replace_after_ms);
    let five_lost = standing(&all[..5], &all[5..], &all[..4]);
    let heard = |config: Configuration| Configuration {
        heard: config.heard.iter().copied().chain(ids(6..=8)).collect(),
        caught_up: config.caught_up.iter().copied().chain(ids(6..=8)).collect(),
        ..config
    };
    // Silence and pauses begin with the first look, a tick later.
    let wished = pass(&mut scene, replace_after_ms + 50, &heard(five_lost));
    let now_voting = [1, 2, 3, 4, 6].map(NodeId);
    assert_eq!(wished.map(|(voters, _)| voters), Some(now_voting.to_vec()));
    // The next one goes: four of five are left, which stand one loss more.
    let learners = [5, 7, 8].map(NodeId);
    let four_lost = heard(standing(&now_voting, &learners, &all[..3]));
    assert_eq!(pass(&mut scene, CHANGE_PAUSE_MS, &four_lost), None);
    assert_eq!(
        pass(&mut scene, 50, &four_lost).map(|(voters, _)| voters),
        Some([1, 2, 3, 6, 7].map(NodeId).into())
    );
    // Two more at once: another loss would be the end, so nobody waits.
    let learners = [4, 5, 8].map(NodeId);
    let two_lost = heard(standing(&[1, 2, 3, 6, 7].map(NodeId), &learners, &all[..1]));
    let wished = pass(&mut scene, replace_after_ms, &two_lost);
    assert_eq!(wished.map(|(voters, _)| voters), Some([1, 3, 6, 7, 8].map(NodeId).into()));
}

#[test]
fn silence_is_the_leaders_to_count_and_begins_with_its_lead_and_after_its_own_lag() {
    let mut scene = led(4, 3);
    let replace_after_ms = scene.settings.replace_after_ms;
    let now = standing(&[ANNA, BERT, CARL], &[DORA], &[ANNA, CARL, DORA]);
    assert_eq!(pass(&mut scene, replace_after_ms - 50, &now), None);
    scene.promote();
    scene.pass(500);
    assert_eq!(pass(&mut scene, replace_after_ms - 50, &now), None, "another leader begins anew");
    scene.master.resumed();
    assert_eq!(pass(&mut scene, replace_after_ms - 50, &now), None, "it was the leader that heard nothing");
    assert!(pass(&mut scene, 50, &now).is_some());
}

#[test]
fn a_voter_that_is_no_member_any_more_is_replaced_at_once() {
    let mut scene = led(4, 3);
    let leave = protocol::Command::Configure(protocol::Change::Leave(CARL));
    scene.apply(&protocol::Entry { clock_ms: 0, wall_ms: 0, term: 5, commands: [leave].into() });
    let now = standing(&[ANNA, BERT, CARL], &[DORA], &[ANNA, BERT, DORA]);
    assert_eq!(wish_of(&mut scene, &now), Some(([ANNA, BERT, DORA].into(), [].into())));
}

#[test]
fn the_lead_goes_to_a_voter_that_is_here_and_has_caught_up() {
    let mut scene = led(4, 3);
    wish(&mut scene, &[ANNA, BERT, CARL], &[DORA]);
    let ask = |scene: &mut Scene, to| scene.ask(ANNA, Request::Transfer { to });
    assert!(matches!(ask(&mut scene, Some(DORA)), Some(Answer::Refused(Refusal::Impossible(_)))));
    assert_eq!(ask(&mut scene, Some(ANNA)), Some(Answer::Done), "it leads");
    assert_eq!(ask(&mut scene, None), Some(Answer::Done));
    assert_eq!(scene.said, [Output::Transfer { to: [BERT, CARL].into() }]);
    scene.workers.get_mut(&CARL).unwrap().offer.draining = true;
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    scene.pass(LIVENESS_MS);
    for to in [None, Some(BERT), Some(CARL)] {
        let number = scene.forward(ANNA, Request::Transfer { to });
        scene.pass(LIVENESS_MS - 50);
        assert_eq!(scene.workers[&ANNA].answers.get(&number), None, "{to:?}: somebody may become fit yet");
        scene.pass(50);
        let answer = scene.workers[&ANNA].answers.get(&number);
        assert!(matches!(answer, Some(Answer::Refused(Refusal::NotNow(_)))), "{to:?}: {answer:?}");
    }
    wish(&mut scene, &[ANNA, BERT, CARL], &[DORA]);
    let number = scene.forward(ANNA, Request::Transfer { to: Some(CARL) });
    scene.workers.get_mut(&CARL).unwrap().offer.draining = false;
    scene.pass(500);
    assert_eq!(scene.workers[&ANNA].answers.get(&number), Some(&Answer::Done), "it is fit now");
}

#[test]
fn a_cluster_of_two_has_one_voter() {
    let mut scene = led(2, 3);
    assert_eq!(wish(&mut scene, &[ANNA], &[BERT]), None);
    let newcomer = Member { name: "zoe".into(), ..member(NodeId(7), 1) };
    scene.workers.insert(NodeId(7), Worker::new(1));
    assert_eq!(scene.ask(NodeId(7), Request::Join(newcomer)), Some(Answer::Done));
    scene.pass(250);
    assert_eq!(wish(&mut scene, &[ANNA], &[BERT]), Some(([ANNA].into(), [BERT, NodeId(7)].into())));
    let all = [ANNA, BERT, NodeId(7)];
    assert_eq!(wish(&mut scene, &[ANNA], &[BERT, NodeId(7)]), Some((all.into(), [].into())));
}
