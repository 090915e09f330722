//! Workers that are lost with a job, jobs that fail too often, and what is said too late.

use std::time::Duration;

use tests::client::{attempts, job};
use tests::recodex::{Backend, Crew, FrontEnd, Hand, What};

use crate::{OK, crew_at};

/// Four pings of a second that may be missed, and a second more.
const MOVED: Duration = Duration::from_secs(5);
const HEADERS: [&str; 2] = ["hwgroup=group1", "env=c"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_workers_job_is_with_another_when_its_pings_are_missed() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 2).await;
    for (id, dies) in [("stands-still", false), ("dies", true)] {
        FrontEnd::accepted(&backend.clients(1), id, &HEADERS);
        let first = crew.begins(id, 1).await.worker;
        // Its last sign of life was before this, so what is measured is less than what it took.
        let lost = std::time::Instant::now();
        if dies {
            crew.dies(first);
        } else {
            crew.stands_still(first, true);
        }
        let second = crew.begins(id, 2).await;
        let took = second.at.duration_since(lost);
        println!("{id}: with another worker after {took:?}");
        assert!(took <= MOVED && second.worker != first, "{id}: after {took:?}, with {}", second.worker);
        backend.monitor.hears(id, &["ABORTED"]).await;
        crew.finishes(second.worker, "OK", "");
        assert_eq!(backend.notifier.hears(id).await, OK);
        assert_eq!(attempts(&backend.ended(1, id).await, "succeeded"), 1);
        if !dies {
            crew.stands_still(first, false);
            crew.finishes(first, "OK", "");
            backend.counts(1, "idle-worker-count", 2).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_registers_and_says_nothing_more_is_lost_too() {
    let backend = Backend::start(1).await;
    let mut crew = Crew::new();
    let mute = crew.join(Hand::of("group1", &backend.workers(1)));
    crew.happens(What::Registered, "", 1).await;
    crew.stands_still(mute, true);
    backend.counts(1, "worker-count", 1).await;
    FrontEnd::accepted(&backend.clients(1), "j", &HEADERS);
    crew.join(Hand::of("group1", &backend.workers(1)).taking(0));
    assert_eq!(backend.notifier.hears("j").await, OK);
    backend.counts(1, "worker-count", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_end_a_job_and_the_notifier_is_told_once_although_it_fails_at_first() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 3).await;
    backend.notifier.fails(2);
    FrontEnd::accepted(&backend.clients(1), "j", &HEADERS);
    // Two are lost with it, the third one's disk is full.
    for nth in 1..=2 {
        let worker = crew.begins("j", nth).await.worker;
        crew.stands_still(worker, true);
    }
    let third = crew.begins("j", 3).await.worker;
    crew.finishes(third, "INTERNAL_ERROR", "disk full");
    let why =
        "message=Job was reassigned too many (2) times. Last failure message was: disk full&status=FAILED";
    assert_eq!(backend.notifier.hears("j").await, why);
    assert_eq!(backend.ended(1, "j").await["state"], "failed");
    backend.monitor.hears("j", &["FAILED"]).await;
    // Whatever would be told again is told after this one.
    FrontEnd::accepted(&backend.clients(1), "next", &HEADERS);
    let worker = crew.begins("next", 1).await.worker;
    crew.finishes(worker, "OK", "");
    assert_eq!(backend.notifier.hears("next").await, OK);
    assert_eq!(backend.notifier.told("j"), [(why.to_string(), 1)].into(), "once, on one node that lives");
    let refused = backend.notifier.calls().iter().filter(|call| call.answer == 500).count();
    assert_eq!((refused, crew.runs("j").len()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_done_gives_one_result_and_is_told_once() {
    let backend = Backend::start(1).await;
    let crew = crew_at(&backend, 1, 2).await;
    for (id, late_is_first) in [("late-first", true), ("late-last", false)] {
        FrontEnd::accepted(&backend.clients(1), id, &HEADERS);
        let late = crew.begins(id, 1).await.worker;
        crew.stands_still(late, true);
        let second = crew.begins(id, 2).await.worker;
        let wakes = || {
            crew.stands_still(late, false);
            crew.finishes(late, "OK", "");
        };
        if late_is_first {
            wakes();
            assert_eq!(backend.notifier.hears(id).await, OK);
            crew.finishes(second, "FAILED", "what nobody wants to know any more");
        } else {
            crew.finishes(second, "OK", "");
            assert_eq!(backend.notifier.hears(id).await, OK);
            wakes();
        }
        backend.counts(1, "idle-worker-count", 2).await;
        let job = backend.ended(1, id).await;
        assert_eq!((attempts(&job, "succeeded"), &job["state"]), (1, &"succeeded".into()), "{job}");
    }
    // Whatever the late ones caused would have been told before this.
    FrontEnd::accepted(&backend.clients(1), "next", &HEADERS);
    let worker = crew.begins("next", 1).await.worker;
    crew.finishes(worker, "OK", "");
    backend.notifier.hears("next").await;
    for id in ["late-first", "late-last"] {
        assert_eq!(backend.notifier.told(id), [(OK.to_string(), 1)].into(), "{id}");
        assert_eq!(crew.runs(id).len(), 2, "{id}");
    }
    // An ordinary job runs beside all this.
    let echo = backend.cluster.client(1).run(&job("echo", "hello")).await;
    assert_eq!(echo["state"], "succeeded");
}
