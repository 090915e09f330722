//! Members whose ledgers differ: who has to stop.

use super::electing::wish;
use super::scene::*;
use crate::Output;
use alloc::vec::Vec;
use protocol::limits::REPORT_MS;
use protocol::{Checkpoint, NodeId};

const AT: u64 = 999;

fn checkpoint(digest: u64) -> Option<Checkpoint> {
    Some(Checkpoint { index: AT, digest })
}

/// anna leads bert and carl; what each found at the same checkpoint, if it has come so far.
fn compared(anna: u64, bert: Option<u64>, carl: Option<u64>) -> Scene {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    scene.settings.me = ANNA;
    scene.promote();
    wish(&mut scene, &[ANNA, BERT, CARL], &[]);
    scene.master.passed(Checkpoint { index: AT, digest: anna });
    for (id, digest) in [(BERT, bert), (CARL, carl)] {
        scene.workers.get_mut(&id).unwrap().checkpoint = digest.and_then(checkpoint);
    }
    scene.said.clear();
    scene.pass(4 * REPORT_MS);
    scene
}

fn told_to_stop(scene: &Scene) -> Vec<NodeId> {
    scene.workers.iter().filter(|(_, worker)| worker.odd == Some(AT)).map(|(id, _)| *id).collect()
}

#[test]
fn whoever_differs_from_a_majority_has_to_stop() {
    let scene = compared(7, Some(7), Some(8));
    assert_eq!(told_to_stop(&scene), [CARL]);
    assert_eq!(scene.said, [Output::Differs { node: CARL, index: AT }], "said once");
}

#[test]
fn a_leader_that_differs_from_a_majority_stops_itself() {
    let scene = compared(7, Some(8), Some(8));
    assert_eq!(told_to_stop(&scene), []);
    assert!(scene.said.contains(&Output::Odd { index: AT }));
}

#[test]
fn where_no_majority_is_known_nobody_stops() {
    let scene = compared(7, None, Some(8));
    assert_eq!(told_to_stop(&scene), []);
    assert_eq!(scene.said, [Output::Differs { node: CARL, index: AT }]);
}

#[test]
fn equal_ledgers_are_nothing_to_speak_of() {
    let scene = compared(7, Some(7), Some(7));
    assert_eq!((told_to_stop(&scene), scene.said.len()), (Vec::new(), 0));
}
