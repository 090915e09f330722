//! Workers that connect anew while they are at work: their attempt is theirs.

use std::time::Duration;

use tests::client::attempts;
use tests::recodex::{Backend, Crew, FrontEnd, Hand, What};

use crate::{OK, crew_at, told_once};

const HEADERS: [&str; 1] = ["env=c"];
/// Longer than a connection without pings lives.
const LIVENESS_AND_MORE: Duration = Duration::from_millis(6_500);

/// The job ended well, with the one run there was.
async fn one_run(backend: &Backend, crew: &Crew, k: usize, id: &str) {
    assert_eq!(backend.notifier.hears(id).await, OK);
    let job = backend.ended(k, id).await;
    assert_eq!((attempts(&job, "succeeded"), &job["state"]), (1, &"succeeded".into()), "{job}");
    assert_eq!(crew.runs(id).len(), 1, "{id} was given once: {:?}", crew.noted());
    assert_eq!(told_once(backend, id), OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_that_connects_anew_to_its_node_keeps_its_attempt() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 1).await;
    FrontEnd::accepted(&backend.clients(1), "j", &HEADERS);
    let worker = crew.begins("j", 1).await.worker;
    crew.moves(worker, &backend.workers(1));
    crew.happens(What::Registered, "j", 1).await;
    // The original gives it the job once more when its old connection's time is over.
    tokio::time::sleep(LIVENESS_AND_MORE).await;
    let stats = backend.stats(1);
    assert_eq!((stats["jobs-in-progress"], stats["worker-count"]), (1, 1), "{stats:?}");
    crew.finishes(worker, "OK", "");
    one_run(&backend, &crew, 1, "j").await;
    // It takes the next one: it counts as free.
    FrontEnd::accepted(&backend.clients(1), "next", &HEADERS);
    crew.begins("next", 1).await;
    crew.releases();
    one_run(&backend, &crew, 1, "next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_to_another_node_takes_its_attempt_along_though_the_first_one_lives() {
    let backend = Backend::start(2).await;
    let crew = crew_at(&backend, 1, 1).await;
    FrontEnd::accepted(&backend.clients(2), "j", &HEADERS);
    let worker = crew.begins("j", 1).await.worker;
    crew.moves(worker, &backend.workers(2));
    crew.happens(What::Registered, "j", 1).await;
    // The first node gives up whom it had for the worker; the attempt is not its own any more.
    tokio::time::sleep(LIVENESS_AND_MORE).await;
    backend.counts(1, "worker-count", 1).await;
    crew.finishes(worker, "OK", "");
    one_run(&backend, &crew, 2, "j").await;
    let stats = backend.stats(1);
    assert_eq!((stats["evaluated-jobs"], stats["failed-jobs"]), (1, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_node_died_brings_its_result_to_another() {
    let mut backend = Backend::start(3).await;
    let (leader, others) = backend.leader_and_others().await;
    let [dying, living] = others[..] else { panic!("two follow") };
    let mut hand = Hand::of("group1", &backend.workers(dying));
    hand.urls.push(backend.workers(living));
    let mut crew = Crew::new();
    let worker = crew.join(hand);
    backend.counts(leader, "worker-count", 1).await;
    FrontEnd::accepted(&backend.clients(leader), "j", &HEADERS);
    crew.begins("j", 1).await;
    backend.cluster.kill(dying);
    // It finds out by itself: nobody answers its pings.
    crew.happens(What::Registered, "j", 1).await;
    backend.counts(leader, "jobs-in-progress", 1).await;
    crew.finishes(worker, "OK", "");
    one_run(&backend, &crew, living, "j").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_node_was_killed_and_started_again_brings_its_result_there() {
    for nodes in [1, 3] {
        let mut backend = Backend::start(nodes).await;
        let k = if nodes == 1 { 1 } else { backend.leader_and_others().await.1[0] };
        let crew = crew_at(&backend, k, 1).await;
        FrontEnd::accepted(&backend.clients(k), "j", &HEADERS);
        let worker = crew.begins("j", 1).await.worker;
        backend.cluster.kill(k);
        backend.cluster.restart(k);
        // The node knows nobody and asks who it is.
        crew.happens(What::Registered, "j", 1).await;
        backend.cluster.whole().await;
        crew.finishes(worker, "OK", "");
        one_run(&backend, &crew, k, "j").await;
        println!("{nodes} nodes: the result came through");
    }
}
