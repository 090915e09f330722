//! What a shipper does while nobody takes its lines; the way to a real store is shown beside the store.

use super::*;
use crate::record::Level;

#[test]
fn an_endpoint_that_is_none_is_named() {
    let log = Log::in_memory("n1");
    let (_keep, stopped) = watch::channel(false);
    let error = Shipper::start(&log, "database:9995", stopped).unwrap_err().to_string();
    assert!(error.starts_with("shipping the log to database:9995: "), "{error}");
}

#[test]
fn without_a_store_recording_does_not_wait_and_the_end_comes_within_its_patience() {
    let log = Log::in_memory("n1");
    log.set_number(1);
    let (_keep, stopped) = watch::channel(false);
    // A port that is bound by us and never answers as ZeroMQ: connected, yet nobody takes a line.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shipper = Shipper::start(&log, &format!("tcp://{}", silent.local_addr().unwrap()), stopped).unwrap();
    let begun = Instant::now();
    for _ in 0..50_000 {
        log.record(Level::Info, "test", None, "a line");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(log.last() - log.first() + 1, limits::RING_LINES as u64, "the ring bounds what waits");
    let begun = Instant::now();
    shipper.end(Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
