//! The measures themselves: against bare brokers, which need nothing.

use bench::bare::Bare;
use bench::lab::{Load, measure};
use bench::recodex;

#[test]
fn every_request_gets_its_own_answer_from_the_bare_broker() {
    let bare = Bare::start().unwrap();
    let load = Load { requests: 500, outstanding: 32, workers: 3, bytes: 10 };
    let measured = measure(bare.ends(), load).unwrap();
    assert_eq!(measured.answers, 500);
    assert!(measured.p50_us <= measured.p99_us);
    assert!(measured.per_second > 0);
}

#[test]
fn every_evaluation_is_done_once_by_workers_of_the_bare_broker_and_pings_are_answered_meanwhile() {
    let bare = recodex::bare::Bare::start().unwrap();
    let load = recodex::Load { evaluations: 2_000, outstanding: 100, workers: 40 };
    let measured = recodex::measure(bare.doors(), load).unwrap();
    assert_eq!((measured.evaluations, measured.repeated), (2_000, 0));
    assert!(measured.per_second > 0, "{measured:?}");
}
