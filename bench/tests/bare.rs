//! The measure itself: against the bare broker, which needs nothing.

use bench::bare::Bare;
use bench::lab::{Load, measure};

#[test]
fn every_request_gets_its_own_answer_from_the_bare_broker() {
    let bare = Bare::start().unwrap();
    let load = Load { requests: 500, outstanding: 32, workers: 3, bytes: 10 };
    let measured = measure(bare.ends(), load).unwrap();
    assert_eq!(measured.answers, 500);
    assert!(measured.p50_us <= measured.p99_us);
    assert!(measured.per_second > 0);
}
