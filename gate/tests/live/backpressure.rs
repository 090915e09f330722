//! A program that does not keep up: its peers wait, and nothing is lost.

use std::time::Duration;

use gate::{Refusal, Rules};

use crate::harness::{Bench, Raw, easy, frame, take};

const UNREAD: usize = 1 << 20;

fn tight() -> Rules {
    Rules { unread_bytes: UNREAD, message: Duration::from_secs(1), ..easy() }
}

fn numbered(number: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(1_000 + number % 3_000, 7);
    body
}

#[test]
fn a_sender_waits_while_nothing_is_taken_and_then_all_arrives_in_order() {
    const MESSAGES: usize = 20_000;
    let rules = tight();
    let bench = Bench::new(rules.clone());
    let router = bench.behind(zmq::ROUTER);
    let address = bench.address();
    let sender = std::thread::spawn(move || {
        let mut raw = Raw::introduced(address, "DEALER");
        for number in 0..MESSAGES {
            raw.say(&frame(0, &numbered(number)));
        }
        raw
    });
    bench.wait_counts("a quarter is held", |counts| counts.unread_bytes == UNREAD / 4);
    // Longer than a message may take: it is the program's time, not the sender's.
    let held = bench.gate().counts().unread_bytes;
    std::thread::sleep(rules.message * 2);
    assert_eq!(bench.gate().counts().unread_bytes, held, "it grows no more");
    assert!(held <= UNREAD / 4 && !sender.is_finished());
    let taker = bench.gate().taker();
    for number in 0..MESSAGES {
        let message = router.recv_multipart(0).expect("the next message");
        take(&taker, &message);
        assert!(message[1] == numbered(number), "message {number}");
        assert!(bench.gate().counts().unread_bytes <= UNREAD / 4);
    }
    sender.join().unwrap();
    assert_eq!(bench.refused(Refusal::SlowMessage), 0);
}

#[test]
fn all_senders_together_hold_what_is_allowed_and_each_gets_its_turn() {
    const MESSAGES: usize = 1_000;
    let bench = Bench::new(tight());
    let router = bench.behind(zmq::ROUTER);
    let address = bench.address();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut raw = Raw::introduced(address, "DEALER");
                for number in 0..MESSAGES {
                    raw.say(&frame(0, &numbered(number)));
                }
                raw
            })
        })
        .collect();
    bench.wait_counts("all of it is held", |counts| counts.unread_bytes > UNREAD - 40_000);
    let taker = bench.gate().taker();
    let mut next = std::collections::BTreeMap::new();
    for _ in 0..8 * MESSAGES {
        let message = router.recv_multipart(0).expect("the next message");
        let conn = take(&taker, &message);
        let number = next.entry(conn).or_insert(0);
        assert!(message[1] == numbered(*number), "message {number} of {conn:?}");
        *number += 1;
        assert!(bench.gate().counts().unread_bytes <= UNREAD);
    }
    assert!(next.len() == 8 && next.values().all(|count| *count == MESSAGES), "{next:?}");
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn one_sender_that_fills_its_share_leaves_room_for_others() {
    let bench = Bench::new(tight());
    let router = bench.behind(zmq::ROUTER);
    let mut greedy = Raw::introduced(bench.address(), "DEALER");
    let (greedy_conn, _) = bench.record.opened(1);
    greedy.say_while_taken(&frame(0, &[0; 60_000]).repeat(1_000), Duration::from_millis(300));
    let good = bench.peer(zmq::REQ, "good");
    good.send("served?", 0).unwrap();
    let (good_conn, _) = bench.record.opened(2);
    let taker = bench.gate().taker();
    // The program takes from the good one only.
    loop {
        let message = router.recv_multipart(0).expect("the good peer's message");
        if gate::Conn::from_routing_id(&message[0]) == Some(good_conn) {
            take(&taker, &message);
            break;
        }
        assert_eq!(gate::Conn::from_routing_id(&message[0]), Some(greedy_conn));
    }
}

#[test]
fn what_an_ended_peer_has_sent_counts_until_it_is_taken() {
    let bench = Bench::new(tight());
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    let (conn, _) = bench.record.opened(1);
    let whole = frame(0, &[1; 60_000]).repeat(3);
    raw.say(&[&whole[..], &frame(0, &[2; 60_000])[..30_000]].concat());
    bench.wait_counts("all of it has come", |counts| counts.bytes == 3 * 60_000 + 29_991);
    drop(raw);
    bench.record.closed(conn);
    bench.wait_counts("the part is given back", |counts| counts.unread_bytes == 180_000);
    assert_eq!(bench.gate().counts().connections, 1, "its seat is taken as long as it holds something");
    let taker = bench.gate().taker();
    for left in [2, 1, 0] {
        let message = router.recv_multipart(0).expect("a whole message of the ended peer");
        assert!(message[1] == [1; 60_000]);
        take(&taker, &message);
        assert_eq!(bench.gate().counts().unread_bytes, left * 60_000);
    }
    bench.wait_counts("its seat is free", |counts| counts.connections == 0);
}

#[test]
fn a_message_as_large_as_a_share_is_completed_although_no_byte_more_may_be_held() {
    let rules = Rules { unread_bytes: 4 * easy().message_bytes, message: Duration::from_secs(10), ..easy() };
    let bench = Bench::new(rules.clone());
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    let part = frame(1, &vec![3; rules.frame_bytes]);
    let ping = frame(4, b"\x04PING\0\0");
    raw.say(&part.repeat(rules.message_bytes / rules.frame_bytes));
    bench.wait_counts("its share is full", |counts| counts.unread_bytes == rules.message_bytes);
    raw.say(&[ping, frame(1, b""), frame(0, b"")].concat());
    let message = router.recv_multipart(0).expect("the whole message");
    assert_eq!(message.len(), 1 + rules.message_bytes / rules.frame_bytes + 2);
    take(&bench.gate().taker(), &message);
    bench.wait_counts("all taken", |counts| counts.unread_bytes == 0);
}

#[test]
fn the_time_in_which_the_program_takes_nothing_does_not_count_for_a_message_that_has_begun() {
    let rules = Rules { message: Duration::from_secs(2), ..tight() };
    let bench = Bench::new(rules.clone());
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    let last = frame(0, &[2; 60_000]);
    raw.say(&frame(0, &[1; 60_000]).repeat(4));
    // Begins, and finds its share full before all is read that is there.
    raw.say(&last[..50_000]);
    bench.wait_counts("its share is full", |counts| counts.unread_bytes == UNREAD / 4);
    std::thread::sleep(rules.message * 2);
    let taker = bench.gate().taker();
    for _ in 0..4 {
        take(&taker, &router.recv_multipart(0).unwrap());
    }
    bench.wait_counts("the rest is read", |counts| counts.bytes == 4 * 60_000 + 50_000 - 9);
    raw.say(&last[50_000..]);
    assert!(router.recv_multipart(0).expect("the message that had begun")[1] == [2; 60_000]);
}

#[test]
fn what_a_peer_has_sent_before_it_was_killed_arrives_although_it_cannot_be_answered() {
    let bench = Bench::new(tight());
    let router = bench.behind(zmq::ROUTER);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    raw.say(&frame(0, &[1; 60_000]).repeat(4));
    // Little more than the gate reads, so that the system has room for it.
    raw.say(&frame(0, &[2; 12_000]).repeat(2));
    bench.wait_counts("its share is full", |counts| counts.unread_bytes == UNREAD / 4);
    raw.handed_over();
    // It has not read what libzmq said, so this is a reset, and the next answer cannot be written.
    drop(raw);
    let mut first = router.recv_multipart(0).unwrap();
    router.send_multipart([&first[0][..], b"for nobody"], 0).unwrap();
    // In this time the answer fails; there is no event to wait for.
    std::thread::sleep(Duration::from_millis(300));
    let taker = bench.gate().taker();
    for (byte, bytes) in [(1, 60_000), (1, 60_000), (1, 60_000), (1, 60_000), (2, 12_000), (2, 12_000)] {
        take(&taker, &first);
        assert!(first[1] == vec![byte; bytes]);
        if bench.gate().counts().unread_bytes == 0 {
            break;
        }
        first = router.recv_multipart(0).expect("the next of the killed peer's messages");
    }
    bench.wait_counts("all of it has come and was taken", |counts| {
        counts.bytes == 264_000 && counts.unread_bytes == 0 && counts.connections == 0
    });
}
