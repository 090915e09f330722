//! Voters that run out of disk or memory.

use super::scene::*;
use crate::{DiskBounds, Output};
use alloc::vec::Vec;
use protocol::limits::{DISK_LOW_BYTES, REPORT_MS};
use protocol::{Answer, JobState, Load, NodeId, Refusal, Request};

const VOTERS: [NodeId; 3] = [ANNA, BERT, CARL];

/// Anna, bert and carl vote, and anna leads.
fn scene() -> Scene {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    scene.settings.me = ANNA;
    scene.promote();
    let now = super::electing::standing(&VOTERS, &[], &VOTERS);
    scene.master.configuration(&scene.ledger, &now);
    scene.pass(2 * REPORT_MS);
    scene.said.clear();
    scene
}

/// Those have less room than they should, all others have enough.
fn short(scene: &mut Scene, of_disk: &[NodeId]) {
    for (id, worker) in &mut scene.workers {
        worker.load.disk_free_bytes = if of_disk.contains(id) { DISK_LOW_BYTES - 1 } else { 8 << 30 };
    }
    scene.report_all();
}

fn refused(scene: &mut Scene) -> Option<alloc::string::String> {
    let (_, request) = scene.request(spec("echo"));
    match scene.ask(BERT, request) {
        Some(Answer::Refused(Refusal::Short(what))) => Some(what),
        Some(Answer::Accepted { .. }) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nearly_full_is_less_than_both_bounds() {
    let bounds = DiskBounds { low_bytes: 512 << 20, low_percent: 10 };
    let of = |free: u64, total: u64| Load {
        disk_free_bytes: free << 20,
        disk_total_bytes: total << 20,
        ..Load::default()
    };
    assert!(!bounds.are_broken_by(&of(0, 0)), "a node that does not say is not short");
    assert!(bounds.are_broken_by(&of(99, 1_000)) && !bounds.are_broken_by(&of(101, 1_000)));
    assert!(bounds.are_broken_by(&of(511, 100_000)) && !bounds.are_broken_by(&of(512, 100_000)));
}

#[test]
fn new_jobs_are_refused_by_name_while_a_majority_of_disks_is_nearly_full() {
    let mut scene = scene();
    short(&mut scene, &[CARL]);
    assert_eq!(refused(&mut scene), None, "a majority has room");
    short(&mut scene, &[BERT, CARL]);
    let what = refused(&mut scene).expect("two of three are short");
    assert!(what.contains("bert has 511 MiB free of 16384 MiB") && what.contains("carl"), "{what}");
    assert!(!what.contains("anna"), "{what}");
    short(&mut scene, &[]);
    assert_eq!(refused(&mut scene), None, "there is room again");
}

#[test]
fn what_ends_or_takes_back_jobs_passes_while_disks_are_nearly_full() {
    let mut scene = scene();
    let jobs: Vec<_> = (0..4).map(|_| scene.submit(spec("echo"))).collect();
    short(&mut scene, &VOTERS);
    assert!(refused(&mut scene).is_some());
    let (job, (node, attempt)) = jobs.iter().find_map(|job| Some((*job, scene.holder(*job)?))).unwrap();
    scene.finish(node, attempt, success("done"));
    assert_eq!(scene.state(job), JobState::Succeeded);
    let waits = *jobs.iter().find(|job| scene.state(**job) == JobState::Queued).unwrap_or(&jobs[3]);
    assert_eq!(scene.ask(BERT, Request::Cancel { job: waits }), Some(Answer::Done));
    let (job, (node, _)) = jobs.iter().find_map(|job| Some((*job, scene.holder(*job)?))).unwrap();
    scene.workers.get_mut(&node).unwrap().cut = true;
    scene.pass(protocol::limits::LIVENESS_MS + 2 * REPORT_MS);
    assert!(scene.ledger.job(job).unwrap().attempts[0].state != protocol::AttemptState::Running);
}

#[test]
fn a_repeat_hears_its_answer_while_disks_are_nearly_full() {
    let mut scene = scene();
    let (job, request) = scene.request(spec("echo"));
    let number = scene.forward(BERT, request.clone());
    scene.turn();
    short(&mut scene, &VOTERS);
    scene.workers.get_mut(&BERT).unwrap().answers.clear();
    scene.forward_again(BERT, number, request);
    scene.turn();
    assert_eq!(scene.workers[&BERT].answers[&number], Answer::Accepted { job, replayed: false });
}

#[test]
fn new_jobs_are_refused_while_open_ones_take_a_quarter_of_the_smallest_memory() {
    let mut scene = scene();
    scene.workers.get_mut(&CARL).unwrap().load.memory_total_bytes = 1;
    scene.report_all();
    assert_eq!(refused(&mut scene), None, "no job is there yet");
    let what = refused(&mut scene).expect("one is too many for one byte");
    assert!(what.contains("memory of carl"), "{what}");
}

#[test]
fn a_leader_on_a_nearly_full_disk_hands_over_to_the_voter_with_the_most_room() {
    let mut scene = scene();
    scene.workers.get_mut(&BERT).unwrap().load.disk_total_bytes = 64 << 30;
    short(&mut scene, &[ANNA]);
    scene.workers.get_mut(&BERT).unwrap().load.disk_free_bytes = 60 << 30;
    scene.report_all();
    scene.said.clear();
    scene.pass(crate::limits::REMIND_MS + REPORT_MS);
    let to = scene.said.iter().find_map(|said| match said {
        Output::Transfer { to } => to.first().copied(),
        _ => None,
    });
    assert_eq!(to, Some(BERT));
}

#[test]
fn a_leader_stays_when_nobody_has_more_room() {
    let mut scene = scene();
    short(&mut scene, &VOTERS);
    scene.said.clear();
    scene.pass(2 * crate::limits::REMIND_MS);
    assert!(!scene.said.iter().any(|said| matches!(said, Output::Transfer { .. })));
}

#[test]
fn a_leader_that_is_held_assigns_nothing_and_takes_jobs_all_the_same() {
    let mut scene = scene();
    scene.master.hold(true);
    let job = scene.submit(spec("echo"));
    assert_eq!(scene.state(job), JobState::Queued);
    scene.master.hold(false);
    scene.turn();
    assert_eq!(scene.state(job), JobState::Running);
}
