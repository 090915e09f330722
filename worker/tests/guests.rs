//! Workers of ReCodEx at one node: who gets what, who is lost, what counts.

use protocol::limits::REPORT_MS;
use protocol::recodex::{self, Headers};
use protocol::{AttemptRef, Dispatch, JobId, LossCause, Offer, Outcome, Report, ToMaster, ToNode};
use std::sync::Arc;
use worker::{AtWork, GuestId, Output, Worker};

const LIVE_MS: u64 = 4_000;
const ONE: GuestId = GuestId(1);
const TWO: GuestId = GuestId(2);

fn worker() -> Worker {
    let mut worker = Worker::new(Offer::default()).with_guests(LIVE_MS, false);
    worker.follow(true);
    worker.drain();
    worker
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.entry((*name).to_owned()).or_default().insert((*value).to_owned());
    }
    headers
}

fn dispatch(job: u128, wanted: &[(&str, &str)]) -> Dispatch {
    let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let spec = recodex::job(format!("j{job}"), wanted, &[], true, 3);
    Dispatch { attempt: AttemptRef { job: JobId(job), attempt: 1 }, term: 1, spec: Arc::new(spec) }
}

fn give(worker: &mut Worker, dispatch: &Dispatch) -> Vec<GuestId> {
    worker.heard(ToNode::Dispatch(dispatch.clone()));
    handed(worker)
}

fn handed(worker: &mut Worker) -> Vec<GuestId> {
    let outputs = worker.drain().into_iter();
    let guests = outputs.filter_map(|output| match output {
        Output::HandGuest { guest, .. } => Some(guest),
        _ => None,
    });
    guests.collect()
}

/// Lets a report go out and brings it, with who was lost by then.
fn report(worker: &mut Worker) -> (Report, Vec<(GuestId, Option<AttemptRef>)>) {
    worker.tick(REPORT_MS);
    let (mut last, mut gone) = (None, Vec::new());
    for output in worker.drain() {
        match output {
            Output::Send(ToMaster::Report(report)) => last = Some(*report),
            Output::GuestGone { guest, attempt } => gone.push((guest, attempt)),
            _ => {}
        }
    }
    (last.unwrap_or_else(|| unreachable!("a report each period")), gone)
}

fn results(worker: &mut Worker) -> Vec<AttemptRef> {
    let outputs = worker.drain().into_iter();
    let results = outputs.filter_map(|output| match output {
        Output::Send(ToMaster::Result { attempt, .. }) => Some(attempt),
        _ => None,
    });
    results.collect()
}

fn good() -> Outcome {
    recodex::outcome("OK", "").unwrap_or_else(|| unreachable!("a known status"))
}

#[test]
fn workers_of_the_same_headers_are_one_pool_and_the_first_that_registered_gets_the_job() {
    let mut worker = worker();
    let able = headers(&[("env", "c"), ("env", "go"), ("threads", "8")]);
    assert!(worker.welcome(ONE, &able, AtWork::Nothing, false));
    assert!(worker.welcome(TWO, &headers(&[("env", "c")]), AtWork::Nothing, false));
    assert!(worker.welcome(GuestId(3), &headers(&[("env", "c")]), AtWork::Nothing, false));
    let offered: Vec<u32> = worker.offer().pools.values().map(|pool| pool.workers).collect();
    assert_eq!(offered, [1, 2]);
    worker.drain();
    assert_eq!(give(&mut worker, &dispatch(1, &[("env", "c")])), [ONE]);
    assert_eq!(give(&mut worker, &dispatch(2, &[("env", "c")])), [TWO]);
    assert_eq!(give(&mut worker, &dispatch(3, &[("env", "c")])), [GuestId(3)]);
    // The next one waits, and the first to be free has it; what nobody here could have goes back.
    assert_eq!(give(&mut worker, &dispatch(4, &[("env", "c")])), []);
    assert_eq!(give(&mut worker, &dispatch(5, &[("env", "rust")])), []);
    let (said, _) = report(&mut worker);
    assert_eq!((said.waiting.len(), said.pools.len()), (1, 3));
    assert_eq!(said.back, [(dispatch(5, &[]).attempt, LossCause::Unbegun)]);
    worker.guest_done(TWO, good());
    assert_eq!(handed(&mut worker), [TWO]);
}

#[test]
fn a_silent_worker_is_lost_with_its_job_and_one_that_pings_is_not() {
    let mut worker = worker();
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Nothing, false);
    worker.welcome(TWO, &headers(&[("env", "go")]), AtWork::Nothing, false);
    let given = dispatch(1, &[("env", "c")]);
    give(&mut worker, &given);
    let mut lost = Vec::new();
    for _ in 0..LIVE_MS / REPORT_MS {
        worker.guest_heard(TWO);
        let (said, gone) = report(&mut worker);
        lost.extend(gone);
        assert_eq!(said.back.is_empty(), lost.is_empty());
    }
    // One that registered and said nothing more is lost like any other.
    assert_eq!(lost, [(ONE, Some(given.attempt))]);
    let (said, _) = report(&mut worker);
    assert_eq!(
        (said.back, said.held, said.offer.pools.len()),
        (vec![(given.attempt, LossCause::Left)], vec![], 1)
    );
    // What it brings after all is a result of the attempt it had.
    worker.late_done(given.attempt, good(), false);
    assert_eq!(results(&mut worker), [given.attempt]);
    assert_eq!(report(&mut worker).0.kept, [given.attempt]);
}

#[test]
fn a_worker_that_reconnects_keeps_its_attempt_and_the_one_it_was_is_no_more() {
    let mut worker = worker();
    let able = headers(&[("env", "c")]);
    worker.welcome(ONE, &able, AtWork::Nothing, false);
    let given = dispatch(1, &[("env", "c")]);
    assert_eq!(give(&mut worker, &given), [ONE]);
    worker.guest_left(ONE);
    assert_eq!(worker.held().collect::<Vec<_>>(), [given.attempt], "it may come back");
    worker.welcome(TWO, &able, AtWork::Attempt(given.attempt), false);
    assert_eq!(worker.offer().pools.values().map(|pool| pool.workers).sum::<u32>(), 1);
    worker.drain();
    // The leader, in doubt, sends it again: it is there already.
    assert_eq!(give(&mut worker, &given), []);
    for _ in 0..2 * LIVE_MS / REPORT_MS {
        worker.guest_heard(TWO);
        let (said, gone) = report(&mut worker);
        assert_eq!((gone, said.back, said.held), (vec![], vec![], vec![given.attempt]));
    }
    worker.guest_done(ONE, good());
    assert_eq!(results(&mut worker), [], "the old one has nothing");
    worker.guest_done(TWO, good());
    assert_eq!(results(&mut worker), [given.attempt]);
    assert_eq!(give(&mut worker, &dispatch(2, &[("env", "c")])), [TWO]);
}

#[test]
fn a_free_worker_whose_connection_is_gone_gets_nothing() {
    let mut worker = worker();
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Nothing, false);
    worker.guest_left(ONE);
    assert!(worker.offer().pools.is_empty());
    worker.drain();
    assert_eq!(give(&mut worker, &dispatch(1, &[("env", "c")])), []);
    assert_eq!(report(&mut worker).0.back.len(), 1);
}

#[test]
fn who_registers_again_with_other_headers_can_do_both_and_keeps_what_it_has() {
    let mut worker = worker();
    worker.welcome(ONE, &headers(&[("env", "c"), ("threads", "8")]), AtWork::Nothing, false);
    let given = dispatch(1, &[("env", "c")]);
    give(&mut worker, &given);
    worker.welcome(ONE, &headers(&[("env", "go")]), AtWork::Nothing, false);
    assert_eq!(worker.held().collect::<Vec<_>>(), [given.attempt]);
    let pools: Vec<_> = worker.offer().pools.values().cloned().collect();
    let both = headers(&[("env", "c"), ("env", "go"), ("threads", "8")]);
    assert_eq!(pools, [recodex::Pool { workers: 1, headers: both }]);
    worker.drain();
    worker.guest_done(ONE, good());
    assert_eq!(give(&mut worker, &dispatch(2, &[("env", "go")])), [ONE]);
}

#[test]
fn what_a_worker_brings_that_came_from_elsewhere_waits_until_the_ledger_knows() {
    let mut worker = worker();
    let attempt = dispatch(1, &[]).attempt;
    assert!(worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Attempt(attempt), true));
    assert_eq!(report(&mut worker).0.held, [attempt]);
    worker.guest_done(ONE, good());
    assert_eq!(results(&mut worker), []);
    // Neither a new leader nor time makes it hasty.
    worker.follow(true);
    worker.tick(10 * REPORT_MS);
    assert_eq!(results(&mut worker), []);
    worker.adopted(attempt);
    assert_eq!(results(&mut worker), [attempt]);
}

#[test]
fn who_is_at_work_at_something_unknown_gets_nothing_until_it_is_done() {
    let mut worker = worker();
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Unknown, false);
    assert_eq!(worker.offer().pools.len(), 1);
    worker.drain();
    assert_eq!(give(&mut worker, &dispatch(1, &[("env", "c")])), []);
    worker.guest_done(ONE, good());
    assert_eq!(handed(&mut worker), [ONE]);
}

/// The attempt of a job waits for the very worker that is at work at it: it is not given to it when it is done.
#[test]
fn what_waits_is_not_begun_after_a_worker_brought_it() {
    let mut worker = worker();
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Unknown, false);
    worker.drain();
    let waits = dispatch(1, &[("env", "c")]);
    assert_eq!(give(&mut worker, &waits), []);
    assert_eq!(worker.away_with(waits.attempt.job), Some(waits.attempt));
    worker.late_done(waits.attempt, good(), false);
    worker.guest_done(ONE, good());
    assert_eq!(handed(&mut worker), []);
}

#[test]
fn with_a_queue_for_each_they_get_jobs_in_turn_which_stay_with_them_until_they_are_lost() {
    let mut worker = worker().with_guests(LIVE_MS, true);
    for guest in [ONE, TWO] {
        worker.welcome(guest, &headers(&[("env", "c")]), AtWork::Nothing, false);
    }
    worker.drain();
    let jobs: Vec<Dispatch> = (1..=5).map(|job| dispatch(job, &[("env", "c")])).collect();
    let given: Vec<GuestId> = jobs.iter().flat_map(|job| give(&mut worker, job)).collect();
    assert_eq!(given, [ONE, TWO]);
    // The fourth is the second one's: it goes there, though the third is older.
    worker.guest_done(TWO, good());
    assert_eq!(handed(&mut worker), [TWO]);
    worker.guest_done(TWO, good());
    assert_eq!(handed(&mut worker), [], "the third and the fifth are the other's");
    // With that one lost they are anybody's.
    let mut all = Vec::new();
    for _ in 0..LIVE_MS / REPORT_MS {
        worker.guest_heard(TWO);
        worker.tick(REPORT_MS);
        all.extend(handed(&mut worker));
    }
    assert_eq!(all, [TWO]);
    worker.guest_done(TWO, good());
    assert_eq!(handed(&mut worker), [TWO]);
}

/// A leader of a node that was started anew gave the job out again before it heard that a worker still had it.
#[test]
fn the_next_attempt_of_a_job_is_not_begun_once_a_worker_brought_a_success_of_it() {
    let mut worker = worker();
    let first = dispatch(1, &[("env", "c")]);
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Attempt(first.attempt), false);
    worker.drain();
    let second = |job| {
        let given = dispatch(job, &[("env", "c")]);
        Dispatch { attempt: AttemptRef { attempt: 2, ..given.attempt }, ..given }
    };
    assert_eq!(give(&mut worker, &second(1)), []);
    assert_eq!(give(&mut worker, &second(2)), []);
    worker.guest_done(ONE, good());
    assert_eq!(handed(&mut worker), [ONE], "the other job");
    assert_eq!(report(&mut worker).0.held, [second(2).attempt]);
}

/// Found by a pretended history: an attempt that was adopted when its worker had gone again was begun by another one.
#[test]
fn what_is_adopted_too_late_goes_back() {
    let mut worker = worker();
    let given = dispatch(1, &[("env", "c")]);
    worker.welcome(ONE, &headers(&[("env", "c")]), AtWork::Attempt(given.attempt), true);
    worker.tick(LIVE_MS);
    worker.drain();
    worker.adopted(given.attempt);
    assert_eq!(report(&mut worker).0.back, [(given.attempt, LossCause::Left)]);
    worker.welcome(TWO, &headers(&[("env", "c")]), AtWork::Nothing, false);
    assert_eq!(give(&mut worker, &given), []);
}
