//! Which node gets a job, and what is said about it.

use super::scene::*;
use crate::{Output, RunsJobs};
use alloc::string::ToString;
use alloc::vec::Vec;
use protocol::limits::REPORT_MS;
use protocol::{JobSpec, JobState};

#[test]
fn a_burst_spreads_evenly_over_idle_workers() {
    for (jobs, each) in [(12, [4, 4, 4]), (6, [2, 2, 2])] {
        let mut at_once = Scene::with_slots(&[4, 4, 4]);
        for _ in 0..jobs {
            at_once.offer(spec("sleep"));
        }
        at_once.turn();
        assert_eq!(at_once.held(), each, "{jobs} in one entry");
        let mut one_by_one = Scene::with_slots(&[4, 4, 4]);
        for (place, id) in [ANNA, BERT, CARL].into_iter().enumerate() {
            one_by_one.workers.get_mut(&id).unwrap().load.cpu_used_milli = 20 * place as u32;
        }
        for _ in 0..jobs {
            one_by_one.pass(REPORT_MS);
            one_by_one.submit(spec("sleep"));
        }
        assert_eq!(
            one_by_one.held(),
            each,
            "{jobs} with reports in between, and a little noise in the loads"
        );
    }
}

#[test]
fn a_busy_node_is_avoided() {
    let mut scene = Scene::with_slots(&[4, 4, 4]);
    scene.workers.get_mut(&BERT).unwrap().load.cpu_used_milli = 3_900;
    scene.pass(REPORT_MS);
    for _ in 0..6 {
        scene.submit(spec("sleep"));
    }
    assert_eq!(scene.held(), [3, 0, 3]);
    for _ in 0..4 {
        scene.submit(spec("sleep"));
    }
    assert_eq!(scene.held(), [4, 2, 4], "but it is not left idle while jobs wait");
    let Some(Output::Loads { looked }) = scene.said.first() else { panic!("what was looked at is told") };
    assert_eq!(looked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ANNA, BERT, CARL]);
}

#[test]
fn never_over_capacity_and_queue_moves() {
    let mut scene = Scene::with_slots(&[2, 1]);
    let jobs: Vec<_> = (0..40).map(|_| scene.submit(spec("echo"))).collect();
    for round in 0..200 {
        // The pretended worker asserts its own capacity.
        let held = scene.workers.iter().find_map(|(id, w)| w.held.first().map(|attempt| (*id, *attempt)));
        let Some((id, attempt)) = held else { break };
        scene.finish(id, attempt, success("x"));
        if round % 7 == 0 {
            scene.pass(REPORT_MS);
        }
    }
    assert!(jobs.into_iter().all(|job| scene.state(job) == JobState::Succeeded));
}

#[test]
fn reservations_are_kept_even_where_slots_are_free() {
    let mut scene = Scene::with_slots(&[4]);
    let reserving = |cpu_milli, memory_bytes| JobSpec { cpu_milli, memory_bytes, ..spec("echo") };
    let first = scene.submit(reserving(3_000, 0));
    let waits = scene.submit(reserving(2_000, 0));
    let small = scene.submit(reserving(1_000, 8 << 30));
    let memory = scene.submit(reserving(0, 1));
    assert_eq!(
        [waits, small, memory].map(|job| scene.state(job)),
        [JobState::Queued, JobState::Running, JobState::Queued]
    );
    for job in [first, small] {
        let (node, attempt) = scene.holder(job).unwrap();
        scene.finish(node, attempt, success("x"));
    }
    assert_eq!([waits, memory].map(|job| scene.state(job)), [JobState::Running, JobState::Running]);
}

#[test]
fn a_draining_node_gets_nothing_new() {
    let mut scene = Scene::with_slots(&[4, 4]);
    scene.workers.get_mut(&ANNA).unwrap().offer.draining = true;
    scene.pass(REPORT_MS);
    for _ in 0..3 {
        scene.submit(spec("echo"));
    }
    assert_eq!(scene.held(), [0, 3]);
}

#[test]
fn of_several_values_of_a_header_one_that_fits_is_enough() {
    let has = [("cores", "8"), ("site", "a"), ("site", "b")];
    for (name, wanted, fits) in
        [("site", "b", true), ("site", "c|d", false), ("cores", ">=8", true), ("gpu", "*", false)]
    {
        let mut scene = Scene::with_slots(&[4]);
        let headers = &mut scene.workers.get_mut(&ANNA).unwrap().offer.headers;
        for (name, value) in has {
            headers.entry(name.into()).or_default().insert(value.into());
        }
        scene.pass(REPORT_MS);
        let requires = [(name.into(), wanted.into())].into();
        let job = scene.submit(JobSpec { requires, ..spec("echo") });
        assert_eq!(scene.state(job) == JobState::Running, fits, "{name}: {wanted}");
    }
}

#[test]
fn resources_are_held_from_the_assignment_until_the_worker_says_that_the_attempt_is_gone() {
    let mut scene = Scene::with_slots(&[4]);
    scene.workers.get_mut(&ANNA).unwrap().offer.resources.insert("gpu".into(), 1_000);
    scene.pass(REPORT_MS);
    let asking = |milli| {
        let resources = [("gpu".into(), milli)].into();
        JobSpec { more: protocol::More { resources, ..Default::default() }, ..spec("echo") }
    };
    let [half, most, other_half] = [500, 600, 500].map(|milli| scene.submit(asking(milli)));
    let never = scene.submit(asking(1_001));
    let states = |scene: &Scene| [half, most, other_half, never].map(|job| scene.state(job));
    assert_eq!(states(&scene), [JobState::Running, JobState::Queued, JobState::Running, JobState::Queued]);
    scene.promote();
    scene.pass(2 * REPORT_MS);
    assert_eq!(scene.state(most), JobState::Queued, "a new leader counts what the ledger has there");
    scene.ask(ANNA, protocol::Request::Cancel { job: half });
    let (node, attempt) = scene.holder(other_half).unwrap();
    scene.finish(node, attempt, success("x"));
    assert_eq!(scene.state(most), JobState::Queued, "cancelled, and not gone yet");
    scene.pass(2 * REPORT_MS);
    assert_eq!((scene.state(most), scene.state(never)), (JobState::Running, JobState::Queued));
}

#[test]
fn a_node_where_work_waits_for_memory_or_a_processor_is_avoided() {
    for (cpu, memory) in [(1_000, 0), (0, 200)] {
        let mut scene = Scene::with_slots(&[4, 4]);
        let load = &mut scene.workers.get_mut(&ANNA).unwrap().load;
        (load.cpu_pressure_permille, load.memory_pressure_permille) = (cpu, memory);
        scene.pass(REPORT_MS);
        scene.submit(spec("echo"));
        assert_eq!(scene.held(), [0, 1], "{cpu} {memory}");
    }
}

#[test]
fn the_leader_runs_jobs_only_as_it_is_told() {
    for (runs_jobs, on_others, alone) in [
        (RunsJobs::Auto, [0, 2], [1, 0]),
        (RunsJobs::Always, [1, 1], [1, 0]),
        (RunsJobs::Never, [0, 2], [0, 0]),
    ] {
        let mut scene = Scene::with_slots(&[4, 4]);
        (scene.settings.me, scene.settings.runs_jobs) = (ANNA, runs_jobs);
        scene.promote();
        scene.pass(2 * REPORT_MS);
        for _ in 0..2 {
            scene.submit(spec("echo"));
        }
        assert_eq!(scene.held(), on_others, "{runs_jobs:?}, both serve it");
        let mut scene = Scene::with_slots(&[4, 4]);
        (scene.settings.me, scene.settings.runs_jobs) = (ANNA, runs_jobs);
        scene.workers.get_mut(&BERT).unwrap().offer.classes.clear();
        scene.promote();
        scene.pass(2 * REPORT_MS);
        scene.submit(spec("echo"));
        assert_eq!(scene.held(), alone, "{runs_jobs:?}, only the leader serves it");
    }
}

#[test]
fn priority_goes_first() {
    let mut scene = Scene::with_slots(&[1]);
    let running = scene.submit(spec("echo"));
    let low = scene.submit(spec("echo"));
    let high = scene.submit(JobSpec { priority: 9, ..spec("echo") });
    let (node, attempt) = scene.holder(running).unwrap();
    scene.finish(node, attempt, success("x"));
    assert_eq!((scene.state(high), scene.state(low)), (JobState::Running, JobState::Queued));
}

#[test]
fn work_that_cannot_be_placed_does_not_hold_up_the_rest() {
    let mut scene = Scene::with_slots(&[1]);
    for n in 0..1_000 {
        scene.offer(JobSpec { priority: 9, ..spec(&std::format!("nobody serves {n}")) });
    }
    scene.turn();
    let job = scene.submit(spec("echo"));
    scene.pass(1_000);
    assert_eq!(scene.state(job), JobState::Running, "queue_moves");
}

#[test]
fn a_new_leader_leaves_a_job_to_a_member_that_has_not_spoken_to_it_yet() {
    let mut scene = Scene::with_slots(&[4, 4]);
    scene.settings.me = ANNA;
    scene.promote();
    let job = scene.submit(spec("echo"));
    scene.report(ANNA);
    scene.turn();
    assert_eq!(scene.holder(job), None, "the leader alone has spoken: the other may want it");
    scene.report(BERT);
    scene.turn();
    assert_eq!(scene.holder(job).map(|(node, _)| node), Some(BERT));
}

#[test]
fn a_new_leader_runs_a_job_itself_when_the_other_member_stays_silent() {
    let mut scene = Scene::with_slots(&[4, 4]);
    scene.settings.me = ANNA;
    scene.workers.get_mut(&BERT).unwrap().cut = true;
    scene.promote();
    let job = scene.submit(spec("echo"));
    scene.pass(protocol::limits::LIVENESS_MS + REPORT_MS);
    assert_eq!(scene.holder(job).map(|(node, _)| node), Some(ANNA));
}

#[test]
fn how_far_an_attempt_says_it_is_is_in_the_roster_until_it_says_nothing() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let job = scene.submit(spec("sleep"));
    let (node, attempt) = scene.holder(job).expect("it runs");
    let said = protocol::Progress { attempt, permille: 400, text: "two of five".to_string() };
    let shown = |scene: &Scene| {
        let roster = scene.master.roster(&scene.ledger);
        roster.into_iter().flat_map(|line| line.progress).collect::<Vec<_>>()
    };
    scene.workers.get_mut(&node).unwrap().progress = alloc::vec![said.clone(); 1_000];
    scene.report(node);
    assert_eq!(shown(&scene), alloc::vec![said; protocol::limits::PROGRESS_SHOWN], "and never more");
    scene.workers.get_mut(&node).unwrap().progress.clear();
    scene.report(node);
    assert_eq!(shown(&scene), []);
}
