//! What is said about where a job stands: true sentences, one for each situation.

use super::scene::*;
use crate::{Cluster, Policy, RunsJobs, Why, warning, why};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use protocol::limits::{LIVENESS_MS, REPORT_MS};
use protocol::{JobId, JobSpec, More, NodeId, Offer};

const NAMES: [&str; 5] = ["nobody", "anna", "bert", "carl", "dora"];

/// A look at the cluster as a leader tells it.
pub(super) fn with_cluster<T>(
    scene: &Scene,
    leader: Option<NodeId>,
    look: impl FnOnce(&Cluster<'_>) -> T,
) -> T {
    let roster = scene.master.roster(&scene.ledger);
    let name = |id: NodeId| NAMES[id.0 as usize].to_string();
    look(&Cluster { roster: &roster, leader, runs_jobs: RunsJobs::Auto, policy: Policy::Single, name: &name })
}

fn explain(scene: &Scene, job: JobId) -> Why {
    let job = scene.ledger.job(job).unwrap();
    with_cluster(scene, Some(scene.settings.me), |cluster| why(&job, &scene.ledger, cluster, 2_000_000))
}

fn text(scene: &Scene, job: JobId) -> String {
    explain(scene, job).text
}

fn codes(why: &Why) -> Vec<Vec<&str>> {
    why.nodes.iter().map(|node| node.reasons.iter().map(|reason| reason.code).collect()).collect()
}

fn requiring(pairs: &[(&str, &str)]) -> JobSpec {
    let requires = pairs.iter().map(|(name, wanted)| (name.to_string(), wanted.to_string())).collect();
    JobSpec { requires, ..spec("echo") }
}

fn asking(name: &str, milli: u64) -> JobSpec {
    let resources = [(name.to_string(), milli)].into();
    JobSpec { more: More { resources, ..More::default() }, ..spec("echo") }
}

#[test]
fn every_choice_and_every_refusal_is_explained() {
    let mut scene = Scene::with_slots(&[1, 1, 1]);
    scene.settings.me = CARL;
    scene.promote();
    scene.workers.get_mut(&BERT).unwrap().offer = Offer { draining: true, ..Offer::default() };
    scene.workers.get_mut(&CARL).unwrap().load.cpu_used_milli = 2_000;
    scene.pass(2 * REPORT_MS);
    let first = scene.submit(spec("echo"));
    let second = scene.submit(spec("echo"));
    let third = scene.submit(spec("quantum"));
    let running = explain(&scene, first);
    assert_eq!(running.chosen, Some(ANNA));
    assert_eq!(running.text, "runs on anna because it is the only present node that could run it");
    assert_eq!(
        codes(&running),
        [["runs"].to_vec(), ["draining", "class", "slots"].to_vec(), ["master"].to_vec()]
    );
    assert!(running.nodes[0].fits && !running.nodes[1].fits);
    let waiting = explain(&scene, second);
    assert_eq!(waiting.text, "waits: only anna could run it, and there 1 of 1 slots are in use");
    assert_eq!(codes(&waiting)[2], ["master"], "the leader leaves it to anna");
    let unknown = explain(&scene, third);
    assert_eq!(
        (unknown.chosen, unknown.text.as_str()),
        (None, "waits: no present node serves class quantum")
    );
    assert_eq!(codes(&unknown)[0], ["class", "slots"]);
    assert!(unknown.nodes.iter().all(|node| !node.fits));
    let (node, attempt): (NodeId, _) = scene.holder(first).unwrap();
    scene.finish(node, attempt, success("x"));
    assert_eq!(text(&scene, first), "is succeeded");
}

#[test]
fn a_job_in_each_situation_gets_its_own_true_sentence() {
    let mut scene = Scene::with_slots(&[2, 2]);
    for (id, site) in [(ANNA, "a"), (BERT, "b")] {
        let offer = &mut scene.workers.get_mut(&id).unwrap().offer;
        offer.headers.insert("site".into(), [site.to_string()].into());
        offer.resources.insert("gpu".into(), id.0 * 1_000);
    }
    scene.workers.get_mut(&BERT).unwrap().offer.headers.insert("env".into(), ["c".to_string()].into());
    scene.pass(REPORT_MS);
    let table = [
        (spec("knit"), "no present node serves class knit"),
        (requiring(&[("site", "c|d")]), "no present node that serves class echo carries the header site=c|d"),
        (requiring(&[("tpu", "*")]), "no present node that serves class echo carries any header tpu"),
        (
            requiring(&[("site", "a"), ("env", "c")]),
            "no present node that serves class echo and carries what it requires has a slot",
        ),
        (
            JobSpec { cpu_milli: 16_500, ..spec("echo") },
            "it asks for 16.5 cores, and no present node that serves class echo has more than 4",
        ),
        (
            JobSpec { memory_bytes: 9 << 30, ..requiring(&[("site", "*")]) },
            "it asks for 9GiB of memory, and no present node that serves class echo and carries what it requires has more \
             than 8GiB",
        ),
        (
            asking("gpu", 2_500),
            "it asks for 2.5 gpu, and no present node that serves class echo has more than 2",
        ),
        (
            asking("licence", 1),
            "it asks for 0.001 licence, and no present node that serves class echo has more than 0",
        ),
    ];
    for (spec, sentence) in table {
        let warned = with_cluster(&scene, Some(NodeId(9)), |cluster| warning(&spec, cluster));
        let job = scene.submit(spec);
        assert_eq!(text(&scene, job), alloc::format!("waits: {sentence}"));
        assert_eq!(warned, Some(alloc::format!("no present node could ever run this job: {sentence}")));
    }
}

#[test]
fn what_only_has_to_become_free_is_named_and_changes_to_where_it_runs() {
    let mut scene = Scene::with_slots(&[2, 1]);
    for id in [ANNA, BERT] {
        scene.workers.get_mut(&id).unwrap().offer.resources.insert("gpu".into(), 1_000);
    }
    scene.pass(REPORT_MS);
    let holders = [0, 1].map(|_| scene.submit(asking("gpu", 750)));
    let waits = scene.submit(asking("gpu", 500));
    assert_eq!(
        text(&scene, waits),
        "waits: none of the 2 nodes that could run it has room: anna: 0.25 of 1 gpu left, 0.5 asked for; bert: 1 of 1 \
         slots are in use"
    );
    assert_eq!(with_cluster(&scene, Some(NodeId(9)), |cluster| warning(&asking("gpu", 500), cluster)), None);
    scene.workers.get_mut(&BERT).unwrap().offer.slots = 2;
    scene.pass(REPORT_MS);
    assert_eq!(
        text(&scene, waits),
        "waits: asks for 0.5 gpu, and of the 2 nodes that could run it none has more left than 0.25"
    );
    let (node, attempt) = scene.holder(holders[1]).unwrap();
    scene.finish(node, attempt, success("x"));
    let now = explain(&scene, waits);
    assert_eq!(now.chosen, Some(BERT));
    assert_eq!(
        now.text,
        "runs on bert because only it had room when attempt 1 was given out; 2 nodes could run \
         it, scores now: bert 62, anna 262"
    );
    let rest: Vec<JobId> = (0..3).map(|_| scene.submit(spec("echo"))).collect();
    assert_eq!(text(&scene, rest[2]), "waits: all 4 slots of the 2 nodes that could run it are in use");
}

#[test]
fn who_is_silent_or_draining_or_leads_nobody_is_named() {
    let mut scene = Scene::with_slots(&[1, 1]);
    scene.workers.get_mut(&ANNA).unwrap().offer.draining = true;
    scene.pass(REPORT_MS);
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    scene.pass(LIVENESS_MS + REPORT_MS);
    let job = scene.submit(spec("echo"));
    assert_eq!(text(&scene, job), "waits: only anna (draining) and bert (silent) could run it");
    let job = scene.ledger.job(job).unwrap();
    let leaderless = with_cluster(&scene, None, |cluster| why(&job, &scene.ledger, cluster, 0));
    assert_eq!((leaderless.chosen, leaderless.text.as_str()), (None, "waits: the cluster has no leader now"));
}

#[test]
fn a_pause_says_after_what_and_how_long() {
    let mut scene = Scene::with_slots(&[1]);
    let job = scene.submit(JobSpec { retry_base_ms: 4_000, ..spec("echo") });
    let (node, attempt) = scene.holder(job).unwrap();
    scene.finish(node, attempt, failure());
    // The scene's entries all bear the wall time 2,000,000.
    assert_eq!(
        text(&scene, job),
        "waits: attempt 1 failed (exit), and the pause before the next one ends in 3.1s"
    );
    let known = scene.ledger.job(job).unwrap();
    let at = |wall_ms| {
        with_cluster(&scene, Some(NodeId(9)), |cluster| why(&known, &scene.ledger, cluster, wall_ms).text)
    };
    assert!(at(2_002_350).ends_with("ends in 0.8s"), "{}", at(2_002_350));
    assert!(at(2_004_000).ends_with("before the next one is over"));
}

#[test]
fn of_a_member_that_has_not_spoken_nothing_is_claimed() {
    let mut scene = Scene::with_slots(&[1, 1]);
    scene.promote();
    let job = scene.submit(spec("knit"));
    scene.report(ANNA);
    assert_eq!(text(&scene, job), "waits: no other node could run it, and not heard yet is what bert can do");
    assert_eq!(with_cluster(&scene, Some(NodeId(9)), |cluster| warning(&spec("knit"), cluster)), None);
    assert_eq!(codes(&explain(&scene, job))[1], ["unknown", "class", "slots"]);
}
