use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gate::{Refusal, Rules};

use crate::harness::{Bench, GREETING, PATIENCE, Raw, ask, easy, frame, take};

/// What an attack may cost, in all.
const GROWTH: usize = 64 << 20;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Measures how much this process has grown since.
struct Measure {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

impl Measure {
    fn begin() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { before: resident_bytes(), _alone: alone }
    }

    fn check(&self) {
        let growth = resident_bytes().saturating_sub(self.before);
        assert!(growth < GROWTH, "it has grown by {growth} bytes");
    }
}

#[test]
fn one_message_of_five_thousand_frames_is_cut_off_and_costs_little() {
    let measure = Measure::begin();
    let bench = Bench::new(easy());
    let _echo = bench.echo();
    let part = frame(1, &vec![0; 60_000]);
    for _ in 0..10 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        let mut said = 0;
        while said < 5_000 && raw.say_while_taken(&part, PATIENCE) == part.len() {
            said += 1;
        }
        assert!(said < 5_000, "all was taken");
        measure.check();
    }
    assert_eq!(bench.refused(Refusal::MessageBytes), 10);
    let mut raw = Raw::introduced(bench.address(), "DEALER");
    raw.say_while_taken(&frame(1, b"").repeat(1_000_000), PATIENCE);
    raw.closed();
    assert_eq!(bench.refused(Refusal::MessageFrames), 1);
    ask(&bench.peer(zmq::REQ, "good"), "served?");
    measure.check();
}

#[test]
fn a_frame_announced_with_two_gib_is_cut_off_before_any_of_it_is_read() {
    let measure = Measure::begin();
    let bench = Bench::new(easy());
    let _echo = bench.echo();
    for _ in 0..50 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        raw.say(&[2, 0, 0, 0, 0, 0x80, 0, 0, 0]);
        raw.closed();
    }
    assert_eq!(bench.refused(Refusal::FrameBytes), 50);
    ask(&bench.peer(zmq::REQ, "good"), "served?");
    measure.check();
}

#[test]
fn a_program_that_takes_nothing_keeps_its_memory_whatever_is_sent() {
    let measure = Measure::begin();
    let bench = Bench::new(Rules { unread_bytes: 8 << 20, ..easy() });
    let router = bench.behind(zmq::ROUTER);
    let message = frame(0, &vec![1; 50_000]);
    let wave = message.repeat(400);
    let mut senders = Vec::new();
    let mut said = BTreeMap::new();
    for number in 1..=24 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        let (conn, _) = bench.record.opened(number);
        said.insert(conn, raw.say_while_taken(&wave, Duration::from_millis(100)) / message.len());
        senders.push((conn, raw));
        if number == 16 {
            bench.wait_counts("it is full", |counts| counts.unread_bytes > (8 << 20) - 50_000 * 16);
            // Whoever goes away and comes again finds it as full. Of these, what the gate had not read is lost.
            for (conn, _) in senders.drain(8..) {
                said.remove(&conn);
            }
        }
    }
    assert!(bench.gate().counts().unread_bytes <= 8 << 20);
    measure.check();
    // It is full, not dead: whoever is still there is heard to the end.
    let taker = bench.gate().taker();
    while said.values().any(|left| *left > 0) {
        let conn = take(&taker, &router.recv_multipart(0).expect("one of the messages"));
        if let Some(left) = said.get_mut(&conn) {
            *left = left.saturating_sub(1);
        }
    }
}

#[test]
fn a_peer_that_never_reads_costs_what_libzmq_may_queue_for_it() {
    let measure = Measure::begin();
    let bench = Bench::new(easy());
    let router = bench.context.socket(zmq::ROUTER).unwrap();
    router.set_linger(0).unwrap();
    router.set_rcvtimeo(20_000).unwrap();
    router.set_sndhwm(10).unwrap();
    router.set_router_mandatory(true).unwrap();
    router.bind(&bench.upstream.endpoint()).unwrap();
    let mut deaf = Raw::introduced(bench.address(), "DEALER");
    deaf.say(&frame(0, b"talk to me"));
    let id = router.recv_multipart(0).unwrap().swap_remove(0);
    let answer = vec![0; 100_000];
    let start = Instant::now();
    let mut sent = 0;
    // Until it is full and stays so for a while.
    let mut full = 0;
    while full < 100 {
        match router.send_multipart([&id, &answer], zmq::DONTWAIT) {
            Ok(()) => (sent, full) = (sent + 1, 0),
            Err(zmq::Error::EAGAIN) => {
                full += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(start.elapsed() < PATIENCE, "{sent} answers were taken");
    }
    measure.check();
    let peer = bench.peer(zmq::REQ, "reads");
    peer.send("hello", 0).unwrap();
    let message = router.recv_multipart(0).unwrap();
    router.send_multipart(&message, 0).unwrap();
    assert_eq!(peer.recv_string(0).unwrap().unwrap(), "hello");
}

#[test]
fn three_thousand_silent_connections_cost_little() {
    let measure = Measure::begin();
    let bench = Bench::new(easy());
    let _echo = bench.echo();
    let there: Vec<Raw> = (0..3_000)
        .map(|_| {
            let mut raw = Raw::connect(bench.address());
            raw.say(&GREETING[..30]);
            raw
        })
        .collect();
    bench.wait_counts("all are there", |counts| counts.connections >= 2_900);
    measure.check();
    ask(&bench.peer(zmq::REQ, "good"), "served?");
    drop(there);
}
