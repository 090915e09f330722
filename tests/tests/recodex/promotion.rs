//! The leader dies, and neither front ends nor workers at other nodes notice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::client::attempts;
use tests::eventually;
use tests::recodex::{Backend, Crew, FrontEnd, Hand};

use crate::{OK, told_once};

const JOBS: usize = 50;
const HEADERS: [&str; 2] = ["hwgroup=group1", "env=c"];

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("j{number}")).collect()
}

/// So many workers, in turn at these nodes, known to the first of them.
async fn crew_over(backend: &Backend, nodes: &[usize], workers: usize, work_ms: Option<u64>) -> Crew {
    let mut crew = Crew::new();
    for k in nodes.iter().cycle().take(workers) {
        let hand = Hand::of("group1", &backend.workers(*k));
        crew.join(match work_ms {
            Some(ms) => hand.taking(ms),
            None => hand,
        });
    }
    for k in nodes {
        backend.counts(*k, "worker-count", workers as u64).await;
    }
    crew
}

async fn another_leads(backend: &Backend, killed: usize) -> usize {
    eventually("another node leads", async || {
        let leader = backend.cluster.leader().await;
        (leader != killed).then_some(leader)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_running_jobs_end_once_each_when_the_leader_is_killed() {
    let mut backend = Backend::start(3).await;
    let (leader, others) = backend.leader_and_others().await;
    let crew = crew_over(&backend, &others, JOBS, None).await;
    let ids = ids(JOBS);
    for (number, id) in ids.iter().enumerate() {
        FrontEnd::accepted(&backend.clients(others[number % 2]), id, &HEADERS);
    }
    for id in &ids {
        crew.begins(id, 1).await;
    }
    backend.cluster.kill(leader);
    let began = Instant::now();
    crew.releases();
    let mut calls = 0;
    for id in &ids {
        assert_eq!(backend.notifier.hears(id).await, OK, "{id}");
    }
    println!("{JOBS} jobs were told {:?} after the leader's death", began.elapsed());
    backend.counts(others[0], "evaluated-jobs", JOBS as u64).await;
    let mut runs = 0;
    for id in &ids {
        let job = backend.ended(others[1], id).await;
        assert_eq!((attempts(&job, "succeeded"), &job["state"]), (1, &"succeeded".into()), "{job}");
        assert_eq!(told_once(&backend, id), OK);
        calls += backend.notifier.told(id).values().sum::<usize>();
        runs += crew.runs(id).len();
    }
    println!("{JOBS} jobs, {runs} runs, {calls} calls to the notifier");
    assert_eq!(runs, JOBS, "their workers and their workers' nodes live: nothing runs twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_ends_and_what_was_rejected_never_runs_when_the_leader_is_killed_between() {
    let mut backend = Backend::start(3).await;
    let (leader, others) = backend.leader_and_others().await;
    let crew = crew_over(&backend, &others, 6, Some(20)).await;
    let mut accepted = Vec::new();
    let mut rejected = Vec::new();
    let calls: Vec<_> = ids(200)
        .into_iter()
        .enumerate()
        .map(|(number, id)| {
            let call = FrontEnd::new(&backend.clients(others[number % 2]));
            let asked = Instant::now();
            call.asks(&id, &HEADERS);
            if number == 100 {
                // Some are accepted, some are on their way, the rest is asked while nobody leads.
                backend.cluster.kill(leader);
            }
            (call, id, asked)
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for (call, id, asked) in calls {
        let verdict = call.verdict(&id, asked);
        slowest = slowest.max(verdict.took);
        if verdict.rejected.is_none() { accepted.push(id) } else { rejected.push((id, verdict.rejected)) }
    }
    println!("{} accepted, {} rejected, the last read after {slowest:?}", accepted.len(), rejected.len());
    println!("reasons: {:?}", rejected.iter().map(|(_, why)| why).collect::<BTreeSet<_>>());
    another_leads(&backend, leader).await;
    // Asked last, so done after everything that was taken before.
    eventually("a new job is accepted", async || {
        static TRIES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let id = format!("last{}", TRIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let verdict = FrontEnd::eval(&backend.clients(others[0]), &id, &HEADERS);
        verdict.rejected.is_none().then_some(id)
    })
    .await;
    for id in &accepted {
        assert_eq!(backend.notifier.hears(id).await, OK, "{id} was accepted");
        let job = backend.ended(others[0], id).await;
        assert_eq!((attempts(&job, "succeeded"), told_once(&backend, id).as_str()), (1, OK), "{job}");
    }
    backend.counts(others[0], "queued-jobs", 0).await;
    backend.counts(others[0], "jobs-in-progress", 0).await;
    for (id, why) in &rejected {
        assert!(crew.runs(id).is_empty(), "{id} was rejected with {why:?} and ran");
        assert!(backend.notifier.told(id).is_empty(), "{id} was rejected and the notifier told of an end");
    }
    assert!(!accepted.is_empty(), "some were asked while the leader lived");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_counts_the_same_and_frozen_stays_frozen_over_a_promotion() {
    let mut backend = Backend::start(3).await;
    let (leader, others) = backend.leader_and_others().await;
    let crew = crew_over(&backend, &others, 2, Some(0)).await;
    for id in ids(3) {
        FrontEnd::accepted(&backend.clients(leader), &id, &HEADERS);
        assert_eq!(backend.notifier.hears(&id).await, OK);
    }
    for k in backend.cluster.all() {
        backend.counts(k, "evaluated-jobs", 3).await;
        backend.counts(k, "idle-worker-count", 2).await;
        let stats = backend.stats(k);
        assert_eq!(
            (stats["worker-count"], stats["is-frozen"], stats.len()),
            (2, 0, 7),
            "node {k}: {stats:?}"
        );
    }
    FrontEnd::freeze(&backend.clients(others[0]), true);
    backend.cluster.kill(leader);
    another_leads(&backend, leader).await;
    for k in &others {
        backend.counts(*k, "is-frozen", 1).await;
        backend.counts(*k, "evaluated-jobs", 3).await;
        let refused = FrontEnd::eval(&backend.clients(*k), &format!("frozen-{k}"), &HEADERS);
        assert_eq!(refused.rejected.as_deref(), Some("The broker is frozen."), "node {k}");
    }
    FrontEnd::freeze(&backend.clients(others[1]), false);
    backend.counts(others[0], "is-frozen", 0).await;
    FrontEnd::accepted(&backend.clients(others[0]), "thawed", &HEADERS);
    assert_eq!(backend.notifier.hears("thawed").await, OK);
    assert!(others.iter().all(|k| crew.runs(&format!("frozen-{k}")).is_empty()));
}
