//! Without a majority nothing is promised.

use std::time::Duration;

use tests::eventually;
use tests::recodex::{Backend, Crew, FrontEnd, Hand};

use crate::OK;

/// What the front end waits for a verdict.
const VERDICT: Duration = Duration::from_millis(1_000);
const HEADERS: [&str; 1] = ["env=c"];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_an_eval_is_rejected_within_the_second_and_never_runs() {
    let mut backend = Backend::start(3).await;
    let mut crew = Crew::new();
    crew.join(Hand::of("group1", &backend.workers(1)).taking(0));
    backend.counts(1, "worker-count", 1).await;
    FrontEnd::accepted(&backend.clients(1), "before", &HEADERS);
    assert_eq!(backend.notifier.hears("before").await, OK);
    for k in [2, 3] {
        backend.cluster.kill(k);
    }
    let rejected: Vec<String> = (0..8).map(|number| format!("lost-{number}")).collect();
    for id in &rejected {
        let verdict = FrontEnd::eval(&backend.clients(1), id, &HEADERS);
        println!("{id}: {:?} after {:?}", verdict.rejected, verdict.took);
        assert!(verdict.rejected.is_some(), "{id}: nobody could promise it");
        assert!(verdict.took <= VERDICT, "{id}: after {:?}", verdict.took);
    }
    for k in [2, 3] {
        backend.cluster.restart(k);
    }
    backend.cluster.whole().await;
    let mut tries = 0;
    let last = eventually("an eval is accepted again", async || {
        tries += 1;
        let id = format!("again-{tries}");
        FrontEnd::eval(&backend.clients(1), &id, &HEADERS).rejected.is_none().then_some(id)
    })
    .await;
    assert_eq!(backend.notifier.hears(&last).await, OK);
    // The worker is free and nothing waits: what could still run has run.
    for (what, many) in [("queued-jobs", 0), ("jobs-in-progress", 0), ("idle-worker-count", 1)] {
        backend.counts(1, what, many).await;
    }
    for id in &rejected {
        assert!(crew.runs(id).is_empty(), "{id} was rejected and ran");
        assert!(backend.notifier.told(id).is_empty(), "{id} was rejected and an end of it told");
    }
    // One of them may be asked again: it is a new job.
    FrontEnd::accepted(&backend.clients(2), &rejected[0], &HEADERS);
    assert_eq!(backend.notifier.hears(&rejected[0]).await, OK);
}
