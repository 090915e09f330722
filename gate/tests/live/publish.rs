//! SUB before an XPUB, PUSH before a PULL.

use std::net::Shutdown;
use std::time::Instant;

use gate::{Kind, Refusal, Rules};

use crate::harness::{Bench, GREETING, Raw, easy, frame, ready};

fn subscribers() -> Rules {
    Rules { kinds: &[Kind::Sub, Kind::Xsub], unread_bytes: usize::MAX, ..easy() }
}

#[test]
fn subscriptions_in_both_forms_reach_the_publisher_and_news_come_back() {
    let bench = Bench::new(subscribers());
    let publisher = bench.behind(zmq::XPUB);
    let subscriber = bench.peer(zmq::SUB, "");
    subscriber.set_subscribe(b"info/").unwrap();
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01info/", "libzmq's own form is a command here");

    // ZMTP 3.0 says it by a message.
    let mut old = Raw::connect(bench.address());
    let mut greeting = GREETING;
    greeting[11] = 0;
    old.say(&[&greeting[..], &ready("SUB"), &frame(0, b"\x01job/")].concat());
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01job/");
    let mut newer = Raw::introduced(bench.address(), "SUB");
    newer.say(&frame(4, b"\x09SUBSCRIBEleader"));
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01leader");

    for topic in ["info/common/a", "job/echo", "leader"] {
        publisher.send_multipart([topic, "{}"], 0).unwrap();
    }
    assert_eq!(subscriber.recv_multipart(0).unwrap(), [&b"info/common/a"[..], b"{}"]);
    let mut heard = [0; 64];
    for (raw, topic) in [(&mut old, b"job/echo".to_vec()), (&mut newer, b"leader".to_vec())] {
        std::io::Read::read_exact(&mut raw.stream, &mut heard).unwrap();
        let bodies = raw.hear(3);
        assert_eq!(bodies.into_iter().skip(1).collect::<Vec<_>>(), [topic, b"{}".to_vec()], "after READY");
    }

    subscriber.set_unsubscribe(b"info/").unwrap();
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\0info/");
    newer.say(&frame(4, b"\x06CANCELleader"));
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\0leader");
    drop(old);
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\0job/", "an ended subscriber's topics end");
}

#[test]
fn a_subscriber_has_as_many_topics_as_allowed() {
    let bench = Bench::new(subscribers());
    let publisher = bench.behind(zmq::XPUB);
    let mut raw = Raw::introduced(bench.address(), "XSUB");
    for round in 0..3 {
        for topic in 0..16 {
            raw.say(&frame(0, format!("\u{1}{round} {topic}").as_bytes()));
            assert_eq!(publisher.recv_string(0).unwrap().unwrap(), format!("\u{1}{round} {topic}"));
        }
        for topic in 0..16 {
            raw.say(&frame(0, format!("\0{round} {topic}").as_bytes()));
            assert_eq!(publisher.recv_string(0).unwrap().unwrap(), format!("\0{round} {topic}"));
        }
    }
    for topic in 0..=16 {
        raw.say(&frame(0, format!("\u{1}last {topic}").as_bytes()));
    }
    raw.closed();
    bench.record.refused(Refusal::Subscriptions);
}

#[test]
fn what_is_pushed_arrives_in_order_although_its_sender_left_and_nobody_read_yet() {
    const LINES: usize = 20_000;
    let bench = Bench::new(Rules { kinds: &[Kind::Push], unread_bytes: usize::MAX, ..easy() });
    let pull = bench.context.socket(zmq::PULL).unwrap();
    // So that libzmq stops reading early, and the rest waits before it.
    pull.set_rcvhwm(10).unwrap();
    pull.set_rcvtimeo(20_000).unwrap();
    pull.bind(&bench.upstream.endpoint()).unwrap();
    let mut raw = Raw::introduced(bench.address(), "PUSH");
    let (conn, _) = bench.record.opened(1);
    let lines: Vec<u8> = (0..LINES).flat_map(|n| [&[0, 8][..], &n.to_be_bytes()].concat()).collect();
    raw.say(&lines);
    // Ends without a reset, which would take along what the gate had not read.
    raw.stream.shutdown(Shutdown::Write).unwrap();
    let ended = std::thread::spawn(move || raw.closed());
    let closed = bench.record.clone();
    let seen_closed = std::thread::spawn(move || closed.closed(conn));
    for n in 0..LINES {
        assert_eq!(pull.recv_bytes(0).expect("the next line"), n.to_be_bytes());
    }
    seen_closed.join().unwrap();
    ended.join().unwrap();
    bench.wait_counts("all gone", |counts| counts.connections == 0);
}

#[test]
fn a_real_pusher_is_heard_and_any_other_kind_is_not() {
    let bench = Bench::new(Rules { kinds: &[Kind::Push], unread_bytes: usize::MAX, ..easy() });
    let pull = bench.behind(zmq::PULL);
    let pair = bench.peer(zmq::PAIR, "");
    bench.record.refused(Refusal::Kind);
    let push = bench.peer(zmq::PUSH, "");
    for n in 0..1_000 {
        push.send(&format!("line {n}"), 0).unwrap();
    }
    for n in 0..1_000 {
        assert_eq!(pull.recv_string(0).unwrap().unwrap(), format!("line {n}"));
    }
    drop(pair);
}

#[test]
fn subscriptions_that_change_too_fast_are_slowed_down_and_none_is_lost() {
    let changes = 2 * usize::try_from(gate::limits::SUBSCRIPTION_CHANGES).unwrap() + 2_000;
    let bench = Bench::new(subscribers());
    let publisher = bench.behind(zmq::XPUB);
    let mut raw = Raw::introduced(bench.address(), "SUB");
    bench.record.opened(1);
    let start = Instant::now();
    let sender = std::thread::spawn(move || {
        raw.say(&[frame(0, b"\x01t"), frame(0, b"\0t")].concat().repeat(changes / 2));
        raw
    });
    for number in 0..changes {
        let expected: &[u8] = if number % 2 == 0 { b"\x01t" } else { b"\0t" };
        assert_eq!(publisher.recv_bytes(0).unwrap(), expected, "change {number}");
    }
    assert!(start.elapsed() >= gate::limits::SUBSCRIPTION_SPAN, "{:?}", start.elapsed());
    drop(sender.join().unwrap());
}
