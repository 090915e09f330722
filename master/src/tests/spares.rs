//! Spare attempts: who is sent one ahead of a free slot, and who gives one back.

use super::scene::*;
use crate::limits::{SPARE_MS, SPARES};
use alloc::vec::Vec;
use protocol::limits::REPORT_MS;
use protocol::{AttemptRef, JobId, JobState, LossCause, NodeId};

/// Lets a worker end what it holds, so many times: its pace is known then.
fn hurry(scene: &mut Scene, id: NodeId, times: usize) {
    for _ in 0..times {
        let Some(attempt) = scene.workers[&id].held.first().copied() else { return };
        scene.finish(id, attempt, success("x"));
    }
}

fn waiting(scene: &Scene) -> Vec<usize> {
    scene.workers.values().map(|worker| worker.waiting.len()).collect()
}

fn one(slots: &[u32], jobs: usize) -> Scene {
    let mut scene = Scene::with_slots(slots);
    for _ in 0..jobs {
        scene.offer(spec("echo"));
    }
    scene.turn();
    scene
}

#[test]
fn a_worker_of_unknown_pace_gets_no_more_than_it_has_slots() {
    let scene = one(&[2, 1], 20);
    assert_eq!((scene.held(), waiting(&scene)), ([2, 1].into(), [0, 0].into()));
}

#[test]
fn a_quick_worker_is_sent_as_many_ahead_as_it_ends_in_the_time_of_a_commit_and_never_more_than_the_bound() {
    let mut scene = one(&[1], 2_900);
    let ended = 2 * REPORT_MS / SPARE_MS;
    hurry(&mut scene, ANNA, ended as usize);
    assert_eq!((scene.held(), waiting(&scene)), ([1].into(), [2].into()));
    assert_eq!(scene.master.roster(&scene.ledger)[0].running, 1, "what waits does not run");
    hurry(&mut scene, ANNA, 2_540);
    assert_eq!(waiting(&scene), [SPARES as usize], "never_over_capacity");
    scene.pass(3 * REPORT_MS);
    hurry(&mut scene, ANNA, 300);
    assert!(waiting(&scene)[0] < 40, "a pace of long ago counts no more");
}

#[test]
fn a_free_slot_anywhere_comes_before_any_spare() {
    let mut scene = one(&[1, 0], 200);
    hurry(&mut scene, ANNA, 100);
    assert!(waiting(&scene)[0] >= 9);
    scene.workers.get_mut(&BERT).unwrap().offer.slots = 4;
    scene.report(BERT);
    assert_eq!((scene.held(), waiting(&scene)[1]), ([1, 4].into(), 0));
}

#[test]
fn a_quick_class_lets_no_other_class_wait_behind_it() {
    let mut scene = one(&[1], 100);
    hurry(&mut scene, ANNA, 99);
    let other = scene.submit(spec("sleep"));
    assert_eq!(scene.state(other), JobState::Queued);
}

#[test]
fn a_spare_that_waits_goes_to_whoever_could_begin_it_and_counts_as_no_loss() {
    let mut scene = one(&[1, 0], 100);
    hurry(&mut scene, ANNA, 91);
    let late: Vec<AttemptRef> = scene.workers[&ANNA].waiting.clone();
    assert_eq!(late.len(), 8, "all that is left");
    scene.workers.get_mut(&BERT).unwrap().offer.slots = 3;
    scene.report(BERT);
    scene.pass(REPORT_MS);
    // The worker gives them back with its next report.
    scene.pass(REPORT_MS);
    assert_eq!(scene.held(), [1, 3], "queue_moves");
    let moved: Vec<JobId> = scene.workers[&BERT].held.iter().map(|attempt| attempt.job).collect();
    assert!(moved.iter().all(|job| late.iter().any(|attempt| attempt.job == *job)));
    let job = scene.ledger.job(moved[0]).unwrap();
    assert_eq!((job.attempts.len(), job.lost, job.failures), (2, 0, 0));
    assert!(scene.workers[&BERT].held.iter().all(|attempt| attempt.attempt == 2));
}

#[test]
fn spares_stay_where_nobody_else_could_begin_them() {
    let mut scene = one(&[1, 1], 200);
    hurry(&mut scene, ANNA, 150);
    let before = scene.workers[&ANNA].waiting.clone();
    assert!(!before.is_empty());
    scene.pass(4 * REPORT_MS);
    assert_eq!(scene.workers[&ANNA].waiting, before);
}

#[test]
fn spares_of_a_lost_worker_are_taken_back_like_any_attempt() {
    let mut scene = one(&[1, 1], 60);
    hurry(&mut scene, ANNA, 45);
    let spares = scene.workers[&ANNA].waiting.clone();
    assert!(!spares.is_empty());
    scene.workers.get_mut(&ANNA).unwrap().cut = true;
    scene.pass(protocol::limits::LIVENESS_MS + 2 * REPORT_MS);
    for spare in spares {
        let job = scene.ledger.job(spare.job).unwrap();
        assert!(job.lost == 1 && job.state != JobState::Scheduled, "{:?}", job.state);
    }
}

#[test]
fn what_was_begun_meanwhile_is_not_given_back() {
    let mut scene = one(&[1, 0], 60);
    hurry(&mut scene, ANNA, 50);
    scene.workers.get_mut(&BERT).unwrap().offer.slots = 9;
    // Everything begins before the leader's word arrives.
    scene.pass(SPARE_PASS_MS);
    scene.workers.get_mut(&ANNA).unwrap().offer.slots = 50;
    scene.report(ANNA);
    scene.report(BERT);
    scene.pass(2 * REPORT_MS);
    let taken_back = scene
        .ledger
        .facts_after(0)
        .filter(|fact| matches!(fact.what, protocol::What::Requeued { cause: LossCause::Unbegun, .. }));
    assert_eq!(taken_back.count(), 0);
}

/// Longer than a spare may wait, shorter than a report takes to come.
const SPARE_PASS_MS: u64 = 200;
