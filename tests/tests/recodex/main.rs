//! Clusters as ReCodEx's programs see them: front ends, workers, the monitor and the notifier speak as they did to their own
//! broker, and notice nothing of what breaks.

mod bench;
mod lost;
mod malformed;
mod moved;
mod ordinary;
mod promotion;
mod quorum;
mod same_id;
mod transcript;

use tests::recodex::{Backend, Crew, Hand};

/// What one good call to the notifier says.
const OK: &str = "status=OK";

/// A crew of so many workers at node `k` that hold what they are given; all of them are registered.
async fn crew_at(backend: &Backend, k: usize, workers: usize) -> Crew {
    let mut crew = Crew::new();
    for _ in 0..workers {
        crew.join(Hand::of("group1", &backend.workers(k)));
    }
    backend.counts(k, "worker-count", workers as u64).await;
    crew
}

/// How it was told that this job ended: of one thing only, however often.
fn told_once(backend: &Backend, id: &str) -> String {
    let told = backend.notifier.told(id);
    assert_eq!(told.len(), 1, "{id}: never two different words: {told:?}");
    told.into_keys().next().expect("one")
}
