//! Bridges in a row and in a ring.

use std::time::Duration;

use crate::broker::{Broker, Seen};
use crate::peers::{Bridge, Client, Worker, eventually, settings};

const WIDE: Duration = Duration::from_secs(120);

#[test]
fn a_chain_of_two_bridges_carries_a_request_and_its_trail() {
    let brokers = [Broker::start(WIDE), Broker::start(WIDE), Broker::start(WIDE)];
    let _worker = Worker::start("W_three", &brokers[2].workers(), "D", Duration::ZERO);
    let one = settings(&brokers[0].workers(), &brokers[1].clients(), &["D"], 2);
    let two = settings(&brokers[1].workers(), &brokers[2].clients(), &["D"], 2);
    let ids = (one.id(), two.id());
    let _bridges = [Bridge::start(one), Bridge::start(two)];
    let client = Client::new("C_one", &brokers[0].clients(), "D");
    for n in 0..10 {
        assert_eq!(client.ask(&format!("Hello {n}")), format!("Done! Hello {n}"));
    }
    let came_as = |broker: &Broker, end: String| {
        let names = broker.seen.clients();
        assert_eq!(names.len(), 10);
        assert!(
            names.iter().all(|name| name.starts_with("WC_testhost_") && name.ends_with(&end)),
            "{names:?}"
        );
    };
    came_as(&brokers[1], format!("~{}", ids.0));
    came_as(&brokers[2], format!("~{}.{}", ids.0, ids.1));
}

#[test]
fn a_ring_of_two_bridges_refuses_at_once_and_goes_on_serving() {
    let (a, b) = (Broker::start(WIDE), Broker::start(WIDE));
    let there = settings(&a.workers(), &b.clients(), &["D", "E"], 4);
    let back = settings(&b.workers(), &a.clients(), &["D", "E"], 4);
    let id = there.id();
    let (there, _back) = (Bridge::start(there), Bridge::start(back));
    for broker in [&a, &b] {
        eventually("both bridges serve", || broker.seen.waiting("D") == 4 && broker.seen.waiting("E") == 4);
    }
    let client = Client::new("C_one", &a.clients(), "D");
    for _ in 0..5 {
        assert_eq!(client.ask("Hello"), "ERROR loop");
    }
    // A request passes A twice and B once; nothing goes round and round.
    assert_eq!((Seen::count(&a.seen.requests), Seen::count(&b.seen.requests)), (10, 5));
    assert!(
        there.said().contains(&format!("refused as a loop: {id} is in the trail {id}.")),
        "{}",
        there.said()
    );
    // Each lane was freed; where a worker is, work is done.
    let _worker = Worker::start("W_b", &b.workers(), "E", Duration::ZERO);
    let client = Client::new("C_two", &a.clients(), "E");
    eventually("a request meets the worker", || client.ask("Hello") == "Done! Hello");
}

#[test]
fn a_ring_whose_lanes_are_all_taken_ends_by_patience() {
    let (a, b) = (Broker::start(WIDE), Broker::start(WIDE));
    let there = settings(&a.workers(), &b.clients(), &["D"], 1).patient(Duration::from_secs(1)).unwrap();
    let back = settings(&b.workers(), &a.clients(), &["D"], 1);
    let _bridges = [Bridge::start(there), Bridge::start(back)];
    eventually("both bridges serve", || a.seen.waiting("D") == 1 && b.seen.waiting("D") == 1);
    let client = Client::new("C_one", &a.clients(), "D");
    // With one lane the request that comes round finds nobody who could refuse it.
    assert_eq!(client.ask("Hello"), "ERROR patience");
    eventually("the one that came round is refused then", || Seen::count(&a.seen.replies) == 2);
    assert!(Seen::count(&a.seen.requests) <= 2 && Seen::count(&b.seen.requests) <= 2);
}

#[test]
fn a_request_with_eight_bridges_behind_it_goes_no_further() {
    let (a, b) = (Broker::start(WIDE), Broker::start(WIDE));
    let _worker = Worker::start("W_b", &b.workers(), "D", Duration::ZERO);
    let bridge = Bridge::start(settings(&a.workers(), &b.clients(), &["D"], 1));
    let trail = |hops: u32| (0..hops).map(|n| format!("{n:08x}")).collect::<Vec<_>>().join(".");
    let far = Client::new(&format!("WC_far~{}", trail(8)), &a.clients(), "D");
    assert_eq!(far.ask("Hello"), "ERROR hops");
    assert!(bridge.said().contains("has 8 bridges, at most 8"), "{}", bridge.said());
    let near = Client::new(&format!("WC_near~{}", trail(7)), &a.clients(), "D");
    assert_eq!(near.ask("Hello"), "Done! Hello");
    let name = Client::new("C_x~no-trail", &a.clients(), "D");
    assert_eq!(name.ask("Hello"), "Done! Hello");
}

#[test]
fn requests_by_many_roads_share_a_few_connections() {
    let (a, b) = (Broker::start(WIDE), Broker::start(WIDE));
    let _worker = Worker::start("W_b", &b.workers(), "D", Duration::ZERO);
    let _bridge = Bridge::start(settings(&a.workers(), &b.clients(), &["D"], 1));
    let roads: Vec<Client> = (0..5_u32)
        .map(|n| Client::new(&format!("WC_{n}~{n:08x}"), &a.clients(), "D"))
        .chain([Client::new("C_local", &a.clients(), "D")])
        .collect();
    for round in 0..3 {
        for (n, road) in roads.iter().enumerate() {
            assert_eq!(road.ask(&format!("{round} {n}")), format!("Done! {round} {n}"));
        }
    }
    assert_eq!(Seen::count(&b.seen.requests), 18, "nothing was asked twice");
}
