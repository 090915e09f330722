//! What the lab's `worcli` does, and what it cannot.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Seen, WINDOW};
use crate::peers::{Bridge, Client, Worker, eventually, settings};

/// What the lab's worker takes.
const WORK: Duration = Duration::from_millis(1_000);
/// A window nothing here outlasts.
const WIDE: Duration = Duration::from_secs(120);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two brokers, a worker at the second, a bridge of one lane: as in the lab's exercise.
struct Chain {
    first: Broker,
    second: Broker,
    worker: Worker,
    bridge: Bridge,
}

fn chain(window: Duration, delay: Duration) -> Chain {
    let (first, second) = (Broker::start(window), Broker::start(WIDE));
    let worker = Worker::start("W_two", &second.workers(), "D", WORK);
    let settings = settings(&first.workers(), &second.clients(), &["D"], 1);
    let bridge = Bridge::start(settings.delayed(delay).unwrap());
    eventually("the bridge is a worker of the first broker", || first.seen.waiting("D") == 1);
    Chain { first, second, worker, bridge }
}

#[test]
fn a_delay_inside_the_lab_brokers_window_gives_each_request_its_reply() {
    let chain = chain(WINDOW, ms(200));
    let client = Client::new("C_one", &chain.first.clients(), "D");
    for n in 0..3 {
        let asked = Instant::now();
        assert_eq!(client.ask(&format!("Hello {n}")), format!("Done! Hello {n}"));
        assert!(asked.elapsed() >= WORK + ms(200), "the delay is there: {:?}", asked.elapsed());
    }
    assert_eq!(Seen::count(&chain.first.seen.dispatched), 3, "nothing was sent again");
    assert_eq!(chain.worker.jobs(), 3);
    assert!(!chain.first.seen.died.load(Ordering::Relaxed));
}

#[test]
fn a_delay_beyond_the_window_ends_the_labs_own_broker_and_the_bridge_serves_its_successor() {
    for delay in [1_200, 2_200] {
        let mut chain = chain(WINDOW, ms(delay));
        let client = Client::new("C_one", &chain.first.clients(), "D");
        client.send("Hello");
        eventually("the late answer ends the broker", || chain.first.seen.died.load(Ordering::Relaxed));
        assert_eq!(Seen::count(&chain.first.seen.expired), 1, "its window ended before, with {delay} ms");
        assert_eq!(chain.worker.jobs(), 1);
        drop(client);
        // Started again by its keeper, with a window that fits.
        let (clients, workers) = chain.first.ports();
        chain.first.kill();
        chain.first = Broker::on(clients, workers, WIDE);
        let client = Client::new("C_one", &chain.first.clients(), "D");
        assert_eq!(client.ask("again"), "Done! again");
        assert_eq!(Seen::count(&chain.first.seen.replies), 1);
    }
}

#[test]
fn a_first_broker_that_waits_longer_gets_one_reply_a_request_whatever_the_delay() {
    for delay in [200, 1_200, 2_200] {
        let chain = chain(WIDE, ms(delay));
        let client = Client::new("C_one", &chain.first.clients(), "D");
        assert_eq!(client.ask("Hello"), "Done! Hello");
        assert!(client.hears_nothing_for(ms(50)));
        let seen = &chain.first.seen;
        assert_eq!((Seen::count(&seen.dispatched), Seen::count(&seen.replies)), (1, 1));
        assert_eq!((chain.worker.jobs(), Seen::count(&chain.second.seen.requests)), (1, 1));
    }
}

#[test]
fn many_requests_of_several_classes_are_under_way_at_once_and_each_gets_its_own_reply() {
    let long = "ñ".repeat(100);
    let classes = ["length", "__proto__", "", long.as_str()];
    let (first, second) = (Broker::start(WIDE), Broker::start(WIDE));
    let mut workers = Vec::new();
    for (at, class) in classes.iter().enumerate() {
        for n in 0..4 {
            workers.push(Worker::start(&format!("W_{at}_{n}"), &second.workers(), class, ms(300)));
        }
    }
    let _bridge = Bridge::start(settings(&first.workers(), &second.clients(), &classes, 4));
    for class in classes {
        eventually("all lanes are workers", || first.seen.waiting(class) == 4);
        eventually("all workers wait", || second.seen.waiting(class) == 4);
    }
    let asked = Instant::now();
    std::thread::scope(|scope| {
        for (at, class) in classes.iter().enumerate() {
            for n in 0..4 {
                let url = first.clients();
                scope.spawn(move || {
                    let name = format!("C_{at}_{n}");
                    let client = Client::new(&name, &url, class);
                    for k in 0..5 {
                        assert_eq!(client.ask(&format!("{name} {k}")), format!("Done! {name} {k}"));
                    }
                });
            }
        }
    });
    // One after another it would be 80 × 300 ms = 24 s; sixteen at once make it 1.5 s.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert_eq!(workers.iter().map(Worker::jobs).sum::<usize>(), 80);
}

#[test]
fn told_to_end_it_finishes_what_is_under_way_and_takes_nothing_new() {
    let Chain { first, second: _second, worker, mut bridge } = chain(WIDE, ms(0));
    let client = Client::new("C_one", &first.clients(), "D");
    client.send("Hello");
    eventually("the worker has it", || worker.jobs() == 1);
    bridge.tell();
    assert_eq!(client.reply(), "Done! Hello");
    bridge.join();
    client.send("after the end");
    assert!(client.hears_nothing_for(ms(500)));
    assert_eq!(worker.jobs(), 1);
}
