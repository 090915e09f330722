//! Brokers that are away, go away and come back.

use std::time::Duration;

use crate::broker::{Broker, Seen, free_port};
use crate::peers::{Bridge, Client, Worker, eventually, settings};

const WIDE: Duration = Duration::from_secs(120);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Ports nobody listens on, to start a broker there later.
fn later() -> (u16, u16) {
    (free_port(), free_port())
}

fn url(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

#[test]
fn brokers_may_come_after_the_bridge_and_it_offers_itself_when_it_leads_somewhere() {
    let (first_at, second_at) = (later(), later());
    let bridge = Bridge::start(settings(&url(first_at.1), &url(second_at.0), &["D"], 2));
    let first = Broker::on(first_at.0, first_at.1, WIDE);
    let own = Worker::start("W_own", &first.workers(), "D", Duration::ZERO);
    eventually("the first broker's own worker waits", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    assert_eq!(client.ask("Hello"), "Done! Hello", "the bridge is in nobody's way");
    assert_eq!(own.jobs(), 1);
    eventually("it alone waits there", || first.seen.waiting("D") == 1);
    drop(own);
    let second = Broker::on(second_at.0, second_at.1, WIDE);
    let there = Worker::start("W_there", &second.workers(), "D", Duration::ZERO);
    eventually("the bridge offers itself", || first.seen.waiting("D") == 3);
    assert!(bridge.said().contains("has us as its worker"), "{}", bridge.said());
    // The worker that ended without a word is still first in the queue of a broker that asks nobody how he is.
    client.send("into the void");
    eventually("he has it", || Seen::count(&first.seen.requests) == 2);
    let other = Client::new("C_two", &first.clients(), "D");
    assert_eq!(other.ask("Hello"), "Done! Hello");
    assert_eq!(there.jobs(), 1);
}

#[test]
fn a_second_broker_that_comes_back_is_asked_again_what_it_lost() {
    let (first, mut second) = (Broker::start(WIDE), Broker::start(WIDE));
    let bridge = Bridge::start(settings(&first.workers(), &second.clients(), &["D"], 1));
    eventually("the bridge serves", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    client.send("Hello");
    eventually("the second broker has the request", || Seen::count(&second.seen.requests) == 1);
    let (clients, workers) = second.ports();
    let name_before = second.seen.clients().remove(0);
    second.kill();
    eventually("the bridge sees that", || bridge.said().contains("is away"));
    let second = Broker::on(clients, workers, WIDE);
    let _worker = Worker::start("W_two", &second.workers(), "D", Duration::ZERO);
    assert_eq!(client.reply(), "Done! Hello");
    assert_eq!(Seen::count(&second.seen.requests), 1, "asked once more, not more often");
    assert_eq!(client.ask("and on"), "Done! and on");
    assert_eq!(Seen::count(&first.seen.replies), 2);
    assert!(!second.seen.clients().contains(&name_before), "under a new name");
}

#[test]
fn a_request_that_ends_its_broker_each_time_is_not_asked_for_ever() {
    let (first, mut second) = (Broker::start(WIDE), Broker::start(WIDE));
    let _bridge = Bridge::start(settings(&first.workers(), &second.clients(), &["D"], 1));
    eventually("the bridge serves", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    client.send("poison");
    let (clients, workers) = second.ports();
    for _ in 0..3 {
        eventually("the request is there", || Seen::count(&second.seen.requests) == 1);
        second.kill();
        second = Broker::on(clients, workers, WIDE);
    }
    assert_eq!(client.reply(), "ERROR lost");
    assert_eq!(Seen::count(&second.seen.requests), 0);
}

#[test]
fn a_silent_second_broker_ends_in_error_patience_and_its_late_reply_meets_nobody() {
    let (first, second) = (Broker::start(WIDE), Broker::start(WIDE));
    let settings = settings(&first.workers(), &second.clients(), &["D"], 1);
    let _bridge = Bridge::start(settings.patient(ms(4_000)).unwrap());
    eventually("the bridge serves", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    assert_eq!(client.ask("nobody does this"), "ERROR patience");
    assert_eq!(Seen::count(&second.seen.requests), 1, "a slow one is not asked twice");
    client.send("new");
    eventually("the second broker has both", || Seen::count(&second.seen.requests) == 2);
    // Now somebody does: first the old request, whose reply comes while the new one is waited for.
    let worker = Worker::start("W_two", &second.workers(), "D", Duration::ZERO);
    assert_eq!(client.reply(), "Done! new");
    assert_eq!((worker.jobs(), Seen::count(&second.seen.replies)), (2, 2));
}

#[test]
fn a_second_broker_that_stays_away_ends_in_error_patience() {
    let (first, mut second) = (Broker::start(WIDE), Broker::start(WIDE));
    let settings = settings(&first.workers(), &second.clients(), &["D"], 1);
    let _bridge = Bridge::start(settings.patient(ms(500)).unwrap());
    eventually("the bridge serves", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    client.send("Hello");
    eventually("the second broker has the request", || Seen::count(&second.seen.requests) == 1);
    second.kill();
    assert_eq!(client.reply(), "ERROR patience");
}

#[test]
fn a_first_broker_that_comes_back_finds_its_worker_again_and_gets_no_answer_of_before() {
    let (mut first, second) = (Broker::start(WIDE), Broker::start(WIDE));
    let bridge = Bridge::start(settings(&first.workers(), &second.clients(), &["D"], 1));
    eventually("the bridge serves", || first.seen.waiting("D") == 1);
    let client = Client::new("C_one", &first.clients(), "D");
    client.send("before");
    eventually("the second broker has the request", || Seen::count(&second.seen.requests) == 1);
    let (clients, workers) = first.ports();
    first.kill();
    drop(client);
    eventually("the bridge sees that", || bridge.said().contains("has us no more"));
    let first = Broker::on(clients, workers, WIDE);
    eventually("the new broker has its worker", || first.seen.waiting("D") == 1);
    let worker = Worker::start("W_two", &second.workers(), "D", Duration::ZERO);
    let client = Client::new("C_one", &first.clients(), "D");
    assert_eq!(client.ask("after"), "Done! after");
    assert_eq!(worker.jobs(), 2);
    // An answer nobody waits for would have ended this broker.
    let seen = &first.seen;
    assert!(!seen.died.load(std::sync::atomic::Ordering::Relaxed) && Seen::count(&seen.replies) == 1);
}

/// Looks for a second whether the bridge does something although nothing happens.
fn sleeps(bridge: &Bridge, when: &str) {
    // What it was just told of may still be under way.
    std::thread::sleep(ms(1_500));
    let before = bridge.ticks();
    std::thread::sleep(ms(1_000));
    let used = bridge.ticks() - before;
    assert!(used < 30, "{when}: {used} of 100 ticks, a thread that never sleeps uses about 100");
}

#[test]
fn a_bridge_with_nothing_to_do_sleeps_whoever_is_away() {
    let (first_at, second_at) = (later(), later());
    let settings = settings(&url(first_at.1), &url(second_at.0), &["D"], 3);
    let bridge = Bridge::start(settings);
    sleeps(&bridge, "nobody is there");
    let mut first = Broker::on(first_at.0, first_at.1, WIDE);
    let mut second = Broker::on(second_at.0, second_at.1, WIDE);
    eventually("the bridge serves", || first.seen.waiting("D") == 3);
    sleeps(&bridge, "both are there");
    let one = Client::new("C_one", &first.clients(), "D");
    let other = Client::new("WC_far~00000000", &first.clients(), "D");
    one.send("Hello");
    other.send("Hello");
    eventually("the requests are there", || Seen::count(&second.seen.requests) == 2);
    sleeps(&bridge, "two requests wait for their replies");
    let worker = Worker::start("W_two", &second.workers(), "D", Duration::ZERO);
    assert_eq!((one.reply(), other.reply()), ("Done! Hello".to_string(), "Done! Hello".to_string()));
    drop(worker);
    one.send("again");
    eventually("the request is there", || Seen::count(&second.seen.requests) == 3);
    second.kill();
    sleeps(&bridge, "the second is away with a request, and the connection of another trail with it");
    first.kill();
    sleeps(&bridge, "nobody is there any more");
    bridge.tell();
    let _second = Broker::on(second_at.0, second_at.1, WIDE);
    drop(bridge);
}
