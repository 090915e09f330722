//! Messages come through as they were sent, and each connection is known apart.

use std::collections::BTreeSet;

use gate::{Conn, Kind, Refusal, Told};

use crate::harness::{Bench, Raw, ask, easy, frame, take};

#[test]
fn this_libzmq_has_private_sockets() {
    assert_eq!(zmq::has("ipc"), Some(true));
}

#[test]
fn req_and_dealer_are_answered_with_and_without_identity() {
    let bench = Bench::new(easy());
    let _echo = bench.echo();
    for (nth, (kind, name)) in
        [(zmq::REQ, "C_host"), (zmq::REQ, ""), (zmq::DEALER, "D_host"), (zmq::DEALER, "")]
            .into_iter()
            .enumerate()
    {
        let peer = bench.peer(kind, name);
        for round in 0..20 {
            ask(&peer, &format!("{name} {round}"));
        }
        assert_eq!(bench.record.opened(nth + 1).1, name.as_bytes(), "its true name is told");
    }
    let kinds: Vec<Kind> = bench.record.all().iter().filter_map(kind).collect();
    assert_eq!(kinds, [Kind::Req, Kind::Req, Kind::Dealer, Kind::Dealer]);
}

fn kind(told: &Told) -> Option<Kind> {
    match told {
        Told::Opened { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[test]
fn two_peers_of_one_identity_are_both_served_and_told_apart() {
    let bench = Bench::new(easy());
    let router = bench.behind(zmq::ROUTER);
    let peers = [bench.peer(zmq::DEALER, "Worker1"), bench.peer(zmq::DEALER, "Worker1")];
    for (number, peer) in peers.iter().enumerate() {
        peer.send(&format!("from {number}"), 0).unwrap();
    }
    let heard: Vec<Vec<Vec<u8>>> = peers.iter().map(|_| router.recv_multipart(0).unwrap()).collect();
    let conns: BTreeSet<Conn> = heard.iter().map(|message| take(&bench.gate().taker(), message)).collect();
    let told: BTreeSet<Conn> = [bench.record.opened(1), bench.record.opened(2)]
        .into_iter()
        .map(|(conn, name)| {
            assert_eq!(name, b"Worker1");
            conn
        })
        .collect();
    assert_eq!((conns.len(), conns), (2, told));
    for message in &heard {
        router.send_multipart(message, 0).unwrap();
    }
    for (number, peer) in peers.iter().enumerate() {
        assert_eq!(peer.recv_string(0).unwrap().unwrap(), format!("from {number}"), "each its own answer");
    }
}

#[test]
fn many_requests_in_flight_are_answered_in_order() {
    let bench = Bench::new(easy());
    let _echo = bench.echo();
    let peers: Vec<zmq::Socket> = (0..8).map(|_| bench.peer(zmq::DEALER, "")).collect();
    for round in 0..500 {
        for (number, peer) in peers.iter().enumerate() {
            let body = vec![u8::try_from(number).unwrap(); round * 7];
            peer.send_multipart([b"tag", &b""[..], &round.to_be_bytes(), &body], 0).unwrap();
        }
    }
    for (number, peer) in peers.iter().enumerate() {
        for round in 0_usize..500 {
            let answer = peer.recv_multipart(0).unwrap();
            let body = vec![u8::try_from(number).unwrap(); round * 7];
            assert_eq!(answer, [&b"tag"[..], b"", &round.to_be_bytes(), &body], "{number}, {round}");
        }
    }
    bench.wait_counts("all taken", |counts| counts.unread_bytes == 0);
}

#[test]
fn the_largest_message_that_is_allowed_comes_through_whole() {
    let rules = easy();
    let bench = Bench::new(rules.clone());
    let _echo = bench.echo();
    let peer = bench.peer(zmq::DEALER, "");
    let frames = rules.message_bytes / rules.frame_bytes;
    let mut message: Vec<Vec<u8>> =
        (0..frames).map(|n| vec![u8::try_from(n).unwrap(); rules.frame_bytes]).collect();
    message.resize(rules.message_frames, Vec::new());
    for _ in 0..20 {
        peer.send_multipart(&message, 0).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(peer.recv_multipart(0).unwrap(), message);
    }
}

#[test]
fn a_message_over_a_bound_closes_its_sender_and_nothing_of_it_arrives() {
    for (why, extra) in [(Refusal::FrameBytes, 1), (Refusal::MessageBytes, 0), (Refusal::MessageFrames, 0)] {
        let rules = easy();
        let bench = Bench::new(rules.clone());
        let router = bench.behind(zmq::ROUTER);
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        let (frames, bytes) = match why {
            Refusal::FrameBytes => (1, rules.frame_bytes + extra),
            Refusal::MessageBytes => (rules.message_bytes / rules.frame_bytes + 1, rules.frame_bytes),
            _ => (rules.message_frames + 1, 1),
        };
        let (conn, _) = bench.record.opened(1);
        raw.say(&frame(0, b"good"));
        assert_eq!(router.recv_multipart(0).unwrap()[1..], [b"good"]);
        let bad = frame(1, &vec![0; bytes]).repeat(frames);
        // It may be closed before it has said it all.
        raw.say_while_taken(&bad, crate::harness::PATIENCE);
        raw.closed();
        bench.record.refused(why);
        bench.record.closed(conn);
        ask_router(&bench, &router);
    }
}

/// The next that the ROUTER hears is what a good peer says.
fn ask_router(bench: &Bench, router: &zmq::Socket) {
    let good = bench.peer(zmq::REQ, "good");
    good.send("served?", 0).unwrap();
    let message = router.recv_multipart(0).unwrap();
    assert_eq!(message[1..], [&b""[..], b"served?"]);
    router.send_multipart(&message, 0).unwrap();
    assert_eq!(good.recv_string(0).unwrap().unwrap(), "served?");
}

#[test]
fn heartbeats_pass_in_both_directions() {
    let bench = Bench::new(easy());
    let router = bench.context.socket(zmq::ROUTER).unwrap();
    router.set_heartbeat_ivl(20).unwrap();
    router.set_heartbeat_timeout(10_000).unwrap();
    router.set_linger(0).unwrap();
    router.set_rcvtimeo(20_000).unwrap();
    router.bind(&bench.upstream.endpoint()).unwrap();
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    let mut greeting = [0; 64];
    std::io::Read::read_exact(&mut raw.stream, &mut greeting).unwrap();
    raw.say(&frame(4, b"\x04PING\0\x00mine"));
    // READY, then PINGs of libzmq and a PONG with our context, in whatever order.
    let mut pings = 0;
    let mut pongs = 0;
    while pings < 3 || pongs < 1 {
        for body in raw.hear(1) {
            pings += usize::from(body.starts_with(b"\x04PING"));
            pongs += usize::from(body == b"\x04PONGmine");
        }
    }
    raw.say(&frame(1, b"a"));
    raw.say(&frame(4, b"\x04PING\0\0"));
    raw.say(&frame(0, b"b"));
    assert_eq!(
        router.recv_multipart(0).unwrap()[1..],
        [b"a", b"b"],
        "a PING between frames belongs to no message"
    );
}
