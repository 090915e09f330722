//! One id twice, and the two ways to queue: in one queue, or in one of each worker.

use std::collections::{BTreeMap, BTreeSet};

use tests::Plan;
use tests::recodex::{Backend, Crew, FrontEnd, Hand};

use crate::{OK, crew_at};

const HEADERS: [&str; 1] = ["env=c"];

#[tokio::test(flavor = "multi_thread")]
async fn an_id_asked_twice_is_one_job_while_it_is_open_and_a_new_one_afterwards() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 2).await;
    let url = backend.clients(1);
    FrontEnd::accepted(&url, "j", &HEADERS);
    let first = crew.begins("j", 1).await.worker;
    FrontEnd::accepted(&url, "j", &HEADERS);
    // One that waits would have gone to the other worker before this one.
    FrontEnd::accepted(&url, "other", &HEADERS);
    crew.begins("other", 1).await;
    assert_eq!((crew.runs("j").len(), backend.jobs(1, "j").await.len()), (1, 1));
    crew.finishes(first, "OK", "");
    assert_eq!(backend.notifier.hears("j").await, OK);
    backend.counts(1, "idle-worker-count", 1).await;
    FrontEnd::accepted(&url, "j", &HEADERS);
    crew.begins("j", 2).await;
    crew.releases();
    backend.counts(1, "evaluated-jobs", 3).await;
    assert_eq!(backend.notifier.hears("other").await, OK);
    tests::eventually("both are told", async || {
        (backend.notifier.told("j") == BTreeMap::from([(OK.to_string(), 2)])).then_some(())
    })
    .await;
    assert_eq!(backend.jobs(1, "j").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_queue_for_each_worker_those_of_one_node_have_their_own_too() {
    let backend = Backend::with(Plan::of(1), |config| config.queue_manager = "multi").await;
    let crew = crew_at(&backend, 1, 2).await;
    for id in ["a", "b", "c", "d"] {
        FrontEnd::accepted(&backend.clients(1), id, &HEADERS);
    }
    let (of_a, of_b) = (crew.begins("a", 1).await.worker, crew.begins("b", 1).await.worker);
    assert_ne!(of_a, of_b, "in turn");
    crew.finishes(of_b, "OK", "");
    assert_eq!(crew.begins("d", 1).await.worker, of_b);
    crew.finishes(of_b, "OK", "");
    backend.counts(1, "evaluated-jobs", 2).await;
    assert!(crew.runs("c").is_empty(), "it waits for its own worker");
    crew.finishes(of_a, "OK", "");
    assert_eq!(crew.begins("c", 1).await.worker, of_a);
    crew.finishes(of_a, "OK", "");
    backend.counts(1, "evaluated-jobs", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_queue_for_each_worker_jobs_go_round_the_nodes_and_stay_there() {
    let backend = Backend::with(Plan::of(2), |config| config.queue_manager = "multi").await;
    let mut crew = Crew::new();
    let [one, other] = [1, 2].map(|k| crew.join(Hand::of("group1", &backend.workers(k))));
    backend.counts(1, "worker-count", 2).await;
    for id in ["a", "b", "c", "d"] {
        FrontEnd::accepted(&backend.clients(1), id, &HEADERS);
    }
    let (of_a, of_b) = (crew.begins("a", 1).await.worker, crew.begins("b", 1).await.worker);
    assert_eq!(BTreeSet::from([of_a, of_b]), BTreeSet::from([one, other]), "in turn");
    crew.finishes(of_b, "OK", "");
    assert_eq!(crew.begins("d", 1).await.worker, of_b);
    crew.finishes(of_b, "OK", "");
    // With one queue it would have been given this one together with the count.
    backend.counts(1, "evaluated-jobs", 2).await;
    assert!(crew.runs("c").is_empty(), "it waits where it is");
    crew.finishes(of_a, "OK", "");
    assert_eq!(crew.begins("c", 1).await.worker, of_a);
    crew.finishes(of_a, "OK", "");
    backend.counts(1, "evaluated-jobs", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_queue_a_free_worker_takes_the_oldest_job() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 2).await;
    for id in ["a", "b", "c", "d"] {
        FrontEnd::accepted(&backend.clients(1), id, &HEADERS);
    }
    let of_b = crew.begins("b", 1).await.worker;
    for next in ["c", "d"] {
        crew.finishes(of_b, "OK", "");
        assert_eq!(crew.begins(next, 1).await.worker, of_b);
    }
    crew.releases();
    backend.counts(1, "evaluated-jobs", 4).await;
}
