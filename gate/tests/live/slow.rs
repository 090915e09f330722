//! Peers that take their time.

use std::time::{Duration, Instant};

use gate::{Refusal, Rules};

use crate::harness::{Bench, GREETING, PATIENCE, Raw, ask, easy, frame, take};

#[test]
fn a_thousand_silent_or_chatting_connections_are_closed_in_time_and_a_good_peer_is_served_meanwhile() {
    let handshake = Duration::from_secs(3);
    let bench = Bench::new(Rules { handshake, ..easy() });
    let _echo = bench.echo();
    let start = Instant::now();
    let mut there = Vec::new();
    for number in 0..1_000 {
        let mut raw = Raw::connect(bench.address());
        match number % 4 {
            0 => {}
            1 => raw.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            2 => raw.say(&GREETING[..40]),
            _ => raw.say(&GREETING),
        }
        there.push(raw);
    }
    let peer = bench.peer(zmq::REQ, "good");
    for round in 0..50 {
        ask(&peer, &format!("{round}"));
    }
    for raw in there {
        raw.closed();
    }
    assert!(start.elapsed() < handshake * 10, "{:?}", start.elapsed());
    bench.wait_counts("one left", |counts| counts.connections == 1);
    assert_eq!((bench.refused(Refusal::Http), bench.refused(Refusal::SlowHandshake)), (250, 750));
    ask(&peer, "and afterwards");
}

#[test]
fn a_message_that_drips_is_cut_off_although_something_always_comes() {
    let bench = Bench::new(Rules { message: Duration::from_secs(1), ..easy() });
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    bench.record.opened(1);
    raw.say(&frame(0, b"quick"));
    assert_eq!(router.recv_multipart(0).unwrap()[1..], [b"quick"]);
    raw.say(&frame(0, &[0; 60_000])[..9]);
    let start = Instant::now();
    while raw.say_while_taken(&[0], PATIENCE) == 1 {
        assert!(start.elapsed() < PATIENCE, "it goes on dripping");
        std::thread::sleep(Duration::from_millis(20));
    }
    bench.record.refused(Refusal::SlowMessage);
}

#[test]
fn many_messages_take_as_long_as_they_like_when_each_is_quick() {
    let message = Duration::from_secs(2);
    let bench = Bench::new(Rules { message, ..easy() });
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    let whole = frame(0, b"0123456789");
    raw.say(&whole[..15]);
    let start = Instant::now();
    // There is always one that has begun, but never the same for long.
    while start.elapsed() < message * 2 {
        raw.say(&[&whole[15..], &whole[..15]].concat());
        assert_eq!(router.recv_multipart(0).unwrap()[1], b"0123456789");
    }
    assert_eq!(bench.refused(Refusal::SlowMessage), 0);
}

#[test]
fn slow_senders_that_fill_the_half_of_unfinished_messages_free_it_by_their_own_time() {
    let rules = Rules { unread_bytes: 1 << 20, message: Duration::from_secs(5), ..easy() };
    let bench = Bench::new(rules);
    let router = bench.behind(zmq::ROUTER);
    let part = [frame(1, &[0; 64 << 10]), frame(1, &[0; 64 << 10]), frame(1, &[0; 64 << 10])].concat();
    let mut slow = Vec::new();
    for number in 1..=4 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        bench.record.opened(number);
        raw.say(&part);
        slow.push(raw);
    }
    bench.wait_counts("half of it held", |counts| counts.unread_bytes == 512 << 10);
    let good = bench.peer(zmq::REQ, "good");
    good.send("served?", 0).unwrap();
    let message = router.recv_multipart(0).expect("the good peer is heard in the end");
    assert_eq!(message[1..], [&b""[..], b"served?"]);
    take(&bench.gate().taker(), &message);
    for raw in slow {
        raw.closed();
    }
    bench.wait_counts("all given back", |counts| counts.unread_bytes == 0);
    assert_eq!(bench.refused(Refusal::SlowMessage), 4);
}

#[test]
fn senders_that_keep_each_other_from_completing_anything_are_ended_by_their_time() {
    let rules = Rules { unread_bytes: 1 << 20, message: Duration::from_secs(5), ..easy() };
    let bench = Bench::new(rules);
    let router = bench.behind(zmq::ROUTER);
    let part = frame(1, &[0; 64 << 10]);
    let mut slow = Vec::new();
    for number in 1..=4 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        bench.record.opened(number);
        raw.say(&part.repeat(2));
        slow.push(raw);
    }
    bench.wait_counts("half of it held", |counts| counts.unread_bytes == 512 << 10);
    // Each has more to say, and none of it can be read.
    for raw in &mut slow {
        raw.say(&part);
    }
    let good = bench.peer(zmq::REQ, "good");
    good.send("served?", 0).unwrap();
    let message = router.recv_multipart(0).expect("the good peer is heard in the end");
    assert_eq!(message[1..], [&b""[..], b"served?"]);
    for raw in slow {
        raw.closed();
    }
    assert_eq!(bench.refused(Refusal::SlowMessage), 4);
}
