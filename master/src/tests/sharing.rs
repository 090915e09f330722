//! Bounds that jobs share by their key: how many run at once, and how many start in a period.

use super::explaining::with_cluster;
use super::scene::*;
use crate::{Ledger, why};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::limits::{LIVENESS_MS, REPORT_MS};
use protocol::{AttemptRef, JobId, JobSpec, JobState, More, NodeId, Request, Share};

fn keyed(key: &str, concurrency: Option<u32>, rate: Option<(u32, u64)>) -> JobSpec {
    let share = Share { key: key.to_string(), concurrency, rate };
    JobSpec { more: More { limits: Some(share), ..More::default() }, ..spec("echo") }
}

fn running(ledger: &Ledger) -> Vec<JobId> {
    let attempts = ledger.busy_nodes().flat_map(|node| ledger.attempts_on(node));
    attempts.map(|(attempt, _)| attempt.job).collect()
}

fn text(scene: &Scene, job: JobId) -> std::string::String {
    let job = scene.ledger.job(job).unwrap();
    let why =
        with_cluster(scene, Some(scene.settings.me), |cluster| why(&job, &scene.ledger, cluster, 2_000_000));
    assert!(job.state != JobState::Queued || why.chosen.is_none(), "{why:?}");
    why.text
}

#[test]
fn no_more_of_a_key_run_than_it_allows_and_others_go_meanwhile() {
    let mut scene = Scene::with_slots(&[4, 4]);
    let ours: Vec<JobId> = (0..5).map(|_| scene.offer(keyed("shop", Some(2), None))).collect();
    let others = [scene.offer(keyed("farm", Some(1), None)), scene.offer(spec("echo"))];
    scene.turn();
    assert_eq!(running(&scene.ledger).len(), 4);
    assert!(others.iter().all(|job| scene.state(*job) == JobState::Running));
    assert_eq!(text(&scene, ours[4]), "waits: 2 of the key shop run, and at most 2 may");
    for (n, job) in ours.iter().enumerate() {
        let (node, attempt) = scene.holder(*job).unwrap_or_else(|| panic!("job {n} runs"));
        scene.finish(node, attempt, success("x"));
        let expected = (ours.len() - n - 1).min(2);
        assert_eq!(running(&scene.ledger).len() - others.len(), expected, "it goes on by the end of one");
    }
}

#[test]
fn a_cancelled_job_counts_until_its_worker_says_that_it_is_gone() {
    let mut scene = Scene::with_slots(&[4]);
    let [first, second] = [(); 2].map(|()| scene.submit(keyed("door", Some(1), None)));
    scene.ask(ANNA, Request::Cancel { job: first });
    assert_eq!((scene.state(first), scene.state(second)), (JobState::Cancelled, JobState::Queued));
    scene.pass(2 * REPORT_MS);
    assert_eq!(scene.state(second), JobState::Running, "and then goes by that");
}

#[test]
fn each_job_is_held_to_the_bounds_it_names() {
    let mut scene = Scene::with_slots(&[9]);
    let wide: Vec<JobId> = (0..3).map(|_| scene.submit(keyed("k", Some(3), None))).collect();
    let narrow = scene.submit(keyed("k", Some(2), None));
    for (n, job) in wide.iter().enumerate() {
        assert_eq!(scene.state(narrow) == JobState::Running, n >= 2, "after {n}");
        let (node, attempt) = scene.holder(*job).unwrap();
        scene.finish(node, attempt, success("x"));
    }
}

#[test]
fn a_lost_worker_frees_its_share_and_a_new_leader_goes_on_counting() {
    let mut scene = Scene::with_slots(&[2, 2]);
    let jobs: Vec<JobId> = (0..4).map(|_| scene.submit(keyed("k", Some(2), None))).collect();
    scene.promote();
    scene.pass(2 * REPORT_MS);
    assert_eq!(running(&scene.ledger), jobs[..2]);
    scene.workers.get_mut(&ANNA).unwrap().cut = true;
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    scene.pass(LIVENESS_MS + 2 * REPORT_MS);
    assert_eq!(running(&scene.ledger).len(), 0, "nobody is there");
    scene.workers.get_mut(&BERT).unwrap().cut = false;
    scene.pass(3 * REPORT_MS);
    assert_eq!(running(&scene.ledger), jobs[..2], "the same go again");
}

/// Cluster times at which attempts were committed.
fn starts(scene: &mut Scene, for_ms: u64, mut between: impl FnMut(&mut Scene, u64)) -> Vec<u64> {
    let mut started = BTreeMap::new();
    pass(scene, for_ms, |scene, tick| {
        between(scene, tick);
        note_starts(scene, &mut started);
    });
    let mut at: Vec<u64> = started.into_values().collect();
    at.sort_unstable();
    at
}

/// So much time goes by, with a look after each tick: at its end nobody knows any more when something began.
fn pass(scene: &mut Scene, for_ms: u64, mut look: impl FnMut(&mut Scene, u64)) {
    for tick in 0..for_ms / scene.settings.tick_ms {
        scene.pass(scene.settings.tick_ms);
        if tick % 5 == 4 {
            scene.report_all();
        }
        look(scene, tick);
    }
}

/// Attempts that run and did not before began now.
fn note_starts(scene: &Scene, started: &mut BTreeMap<AttemptRef, u64>) {
    for job in running(&scene.ledger) {
        let attempt = scene.ledger.job(job).unwrap().attempts.len() as u32;
        started.entry(AttemptRef { job, attempt }).or_insert(scene.ledger.clock_ms());
    }
}

fn most_in(period_ms: u64, at: &[u64]) -> usize {
    at.iter()
        .map(|from| at.iter().filter(|at| (*from..*from + period_ms).contains(at)).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn never_more_start_in_any_period_than_the_rate_says_also_under_new_leaders_and_all_go_in_good_time() {
    let mut scene = Scene::with_slots(&[40]);
    let last = (0..30).map(|_| scene.offer(keyed("k", None, Some((5, 1_000))))).last().unwrap();
    let at = starts(&mut scene, 7_000, |scene, tick| match tick {
        5 | 40 | 41 | 90 => scene.promote(),
        20 => scene.ledger = through_snapshot(&scene.ledger, Ledger::new()),
        _ => {}
    });
    assert_eq!(at.len(), 30, "{at:?}");
    assert_eq!(most_in(1_000, &at), 5, "{at:?}");
    // The sixth period begins after five of them, each a slice longer than it must be, and a look at the clock.
    assert!(at[29] - at[0] <= 5 * 1_100, "{at:?}");
    assert_eq!(scene.state(last), JobState::Running);
}

#[test]
fn why_names_a_rate_that_is_used_up_and_other_keys_go() {
    let mut scene = Scene::with_slots(&[40]);
    let jobs: Vec<JobId> = (0..3).map(|_| scene.offer(keyed("k", None, Some((2, 60_000))))).collect();
    let other = scene.offer(keyed("l", None, Some((2, 60_000))));
    scene.turn();
    assert_eq!(text(&scene, jobs[2]), "waits: 2 of the key k started within a minute, and at most 2 may");
    assert_eq!(scene.state(other), JobState::Running);
}

#[test]
fn what_a_snapshot_says_of_starts_is_read_back_and_nothing_is_said_where_nobody_named_a_rate() {
    let mut scene = Scene::with_slots(&[40]);
    scene.submit(keyed("k", Some(1), None));
    let without = scene.ledger.pieces().count();
    scene.submit(keyed("k", None, Some((2, 3_600_000))));
    scene.submit(keyed("l", None, Some((2, 1_000))));
    assert_eq!(scene.ledger.pieces().count(), without + 1);
    let back = through_snapshot(&scene.ledger, Ledger::new());
    assert!(back.pieces().eq(scene.ledger.pieces()));
}

#[derive(Clone, Debug)]
enum Step {
    Submit { key: u32, priority: u8, submitter: usize },
    End { which: usize },
    Cancel { which: usize },
    Report,
    Promote,
    Cut { which: u64, cut: bool },
    Pass,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0_u32..5, 0_u8..10, 0_usize..3)
            .prop_map(|(key, priority, submitter)| Step::Submit { key, priority, submitter }),
        6 => (0_usize..20).prop_map(|which| Step::End { which }),
        1 => (0_usize..20).prop_map(|which| Step::Cancel { which }),
        2 => Just(Step::Report),
        1 => Just(Step::Promote),
        1 => (1_u64..4, any::<bool>()).prop_map(|(which, cut)| Step::Cut { which, cut }),
        2 => Just(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// Key 0 is none; of key n, so many run at once, and of key 4 three start in a second.
fn of_key(key: u32) -> JobSpec {
    match key {
        0 => spec("echo"),
        4 => keyed("key 4", None, Some((3, 1_000))),
        _ => keyed(&std::format!("key {key}"), Some(key), None),
    }
}

fn by_key(ledger: &Ledger, jobs: impl Iterator<Item = JobId>) -> BTreeMap<std::string::String, u32> {
    let mut count = BTreeMap::new();
    for job in jobs {
        if let Some(share) = ledger.terms(job).and_then(|terms| terms.more.limits.as_ref()) {
            *count.entry(share.key.clone()).or_default() += 1;
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_whatever_happens_and_nothing_waits_that_may_go(steps in steps()) {
        let mut scene = Scene::with_slots(&[2, 2, 1]);
        let mut jobs: Vec<JobId> = Vec::new();
        let mut started: BTreeMap<AttemptRef, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Submit { key, priority, submitter } => {
                    let submitter = ["", "anna", "bert"][submitter].to_string();
                    jobs.push(scene.submit(JobSpec { priority, submitter, ..of_key(key) }));
                }
                Step::End { which } => {
                    let held: Vec<(NodeId, AttemptRef)> = scene
                        .workers
                        .iter()
                        .flat_map(|(id, worker)| worker.held.iter().map(|attempt| (*id, *attempt)))
                        .collect();
                    if let Some((node, attempt)) = held.get(which % held.len().max(1)) {
                        scene.finish(*node, *attempt, success("x"));
                    }
                }
                Step::Cancel { which } => {
                    if let Some(job) = jobs.get(which % jobs.len().max(1)) {
                        scene.ask(ANNA, Request::Cancel { job: *job });
                    }
                }
                Step::Report => scene.report_all(),
                Step::Promote => scene.promote(),
                Step::Cut { which, cut } => scene.workers.get_mut(&NodeId(which)).unwrap().cut = cut,
                Step::Pass => pass(&mut scene, 400, |scene, _| note_starts(scene, &mut started)),
            }
            note_starts(&scene, &mut started);
            let said = by_key(&scene.ledger, running(&scene.ledger).into_iter());
            for n in 1..4 {
                let key = std::format!("key {n}");
                let count = said.get(&key).copied().unwrap_or(0);
                prop_assert!(count <= n, "{count} of {key} run");
            }
        }
        let rated = |attempt: &&AttemptRef| {
            let share = scene.ledger.terms(attempt.job).and_then(|terms| terms.more.limits.clone());
            share.is_some_and(|share| share.rate.is_some())
        };
        let at: Vec<u64> = started.keys().filter(rated).map(|attempt| started[attempt]).collect();
        prop_assert!(most_in(1_000, &at) <= 3, "{at:?}");
        // Everybody is back and has been heard, and rates have recovered.
        scene.workers.values_mut().for_each(|worker| worker.cut = false);
        for id in [ANNA, BERT, CARL] {
            let kept: Vec<AttemptRef> = scene.workers[&id].kept.keys().copied().collect();
            kept.into_iter().for_each(|attempt| scene.bring(id, attempt));
        }
        scene.pass(LIVENESS_MS + 2_000);
        let held = by_key(&scene.ledger, scene.workers.values().flat_map(|worker| worker.held.iter().map(|held| held.job)));
        for n in 1..4 {
            let key = std::format!("key {n}");
            let count = held.get(&key).copied().unwrap_or(0);
            prop_assert!(count <= n, "{count} of {key} are held");
            let waits = jobs.iter().any(|job| {
                let share = scene.ledger.terms(*job).and_then(|terms| terms.more.limits.clone());
                scene.ledger.state(*job) == Some(JobState::Queued) && share.is_some_and(|share| share.key == key)
            });
            let free = scene.workers.values().any(|worker| worker.held.len() < worker.offer.slots as usize);
            let count = by_key(&scene.ledger, running(&scene.ledger).into_iter()).get(&key).copied().unwrap_or(0);
            prop_assert!(!(waits && free && count < n), "one of {key} waits though it may go: {count} run");
        }
    }
}
