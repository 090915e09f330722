//! Beginnings and ends of connections.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gate::{Conn, Gate, GateError, Kind, Refusal, Rules, Told, Upstream};

use crate::harness::{Bench, Raw, ask, easy, frame};

#[test]
fn a_connection_is_told_open_before_a_message_of_it_can_arrive() {
    let bench = Bench::new(easy());
    let router = bench.behind(zmq::ROUTER);
    for number in 1..=100 {
        let mut raw = Raw::introduced(bench.address(), "DEALER");
        raw.say(&frame(0, b"hello"));
        let message = router.recv_multipart(0).unwrap();
        let conn = Conn::from_routing_id(&message[0]).unwrap();
        let told = bench.record.all();
        let opened = told.iter().any(|told| matches!(told, Told::Opened { conn: said, .. } if *said == conn));
        assert!(opened, "message {number} of {conn:?} came before it was told open");
    }
}

#[test]
fn every_end_of_an_opened_connection_is_told_once() {
    let mut bench = Bench::new(easy());
    let _echo = bench.echo();
    let peer = bench.peer(zmq::REQ, "closes");
    ask(&peer, "1");
    drop(peer);
    bench.record.closed(bench.record.opened(1).0);

    let killed = Raw::introduced(bench.address(), "DEALER");
    let (conn, _) = bench.record.opened(2);
    drop(killed);
    bench.record.closed(conn);

    let mut refused = Raw::introduced(bench.address(), "DEALER");
    let (conn, _) = bench.record.opened(3);
    refused.say(b"\xff\xff");
    refused.closed();
    bench.record.closed(conn);

    let open = Raw::introduced(bench.address(), "DEALER");
    let silent = Raw::connect(bench.address());
    let (conn, _) = bench.record.opened(4);
    bench.gate.take().unwrap().close();
    bench.record.closed(conn);
    open.closed();
    silent.closed();

    let told = bench.record.all();
    for nth in 1..=4 {
        let (conn, _) = bench.record.opened(nth);
        let closed = told.iter().filter(|told| **told == Told::Closed { conn }).count();
        assert_eq!(closed, 1, "connection {nth}");
    }
    let closed = told.iter().filter(|told| matches!(told, Told::Closed { .. })).count();
    assert_eq!(closed, 4, "{told:?}");
}

#[test]
fn when_the_program_closes_its_socket_its_peers_are_closed() {
    let bench = Bench::new(easy());
    let echo = bench.echo();
    let raw = Raw::introduced(bench.address(), "DEALER");
    let (conn, _) = bench.record.opened(1);
    ask(&bench.peer(zmq::DEALER, ""), "served");
    drop(echo);
    bench.record.closed(conn);
    raw.closed();
    bench.wait_counts("nobody left", |counts| counts.connections == 0);
}

#[test]
fn peers_come_back_by_themselves_when_a_gate_opens_again_on_its_port() {
    let mut bench = Bench::new(easy());
    let _echo = bench.echo();
    let peer = bench.peer(zmq::DEALER, "stays");
    let address = bench.address();
    for round in 1..=5 {
        let (conn, name) = bench.record.opened(round);
        assert_eq!(name, b"stays");
        bench.gate.take().unwrap().close();
        assert!(TcpListener::bind(address).is_ok(), "the address is free at once");
        bench.record.closed(conn);
        bench.open(&address.to_string());
    }
    let (_, name) = bench.record.opened(6);
    assert_eq!(name, b"stays");
    // The echo's taker is of the first gate; what it does not say now is far below the bound.
    ask(&peer, "served again");
}

#[test]
fn a_socket_that_is_bound_late_is_waited_for_and_one_that_never_is_is_named() {
    let bench = Bench::new(Rules { handshake: Duration::from_secs(2), ..easy() });
    Raw::introduced(bench.address(), "DEALER").closed();
    bench.record.refused(Refusal::Upstream);
    let peer = bench.peer(zmq::REQ, "patient");
    peer.send("hello", 0).unwrap();
    bench.wait_counts("it is connected", |counts| counts.connections > 0);
    let _echo = bench.echo();
    assert_eq!(peer.recv_string(0).unwrap().unwrap(), "hello");
}

/// Names the folder for the process that the test below starts, which is this program again.
const FOLDER: &str = "GATE_TEST_FOLDER";

#[test]
fn a_private_socket_of_another_process_is_left_alone_and_gets_no_peers() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        // A socket as it would be bound by somebody who does not ask before.
        let socket = std::path::Path::new(&folder).join("port.sock");
        let _ = std::fs::remove_file(&socket);
        let _bound = std::os::unix::net::UnixListener::bind(socket).unwrap();
        println!("bound");
        // Ends with its standard input.
        let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::in_folder(folder.path(), "port.sock").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let record = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&record);
    let told = move |what| told.lock().unwrap().push(what);
    let gate = Gate::open(runtime.handle(), "127.0.0.1:0", &upstream, easy(), told).unwrap();
    let name = "connections::a_private_socket_of_another_process_is_left_alone_and_gets_no_peers";
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(other.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("bound")));
    Raw::introduced(gate.address(), "DEALER").closed();
    let told = record.lock().unwrap().clone();
    assert!(matches!(told[..], [Told::Refused { why: Refusal::Upstream, .. }]), "{told:?}");
    let error = Upstream::in_folder(folder.path(), "port.sock").unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", other.id())), "{error}");
    assert!(folder.path().join("port.sock").exists());
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    Upstream::in_folder(folder.path(), "port.sock").expect("what it left behind does no harm");
}

#[test]
fn a_peer_that_keeps_the_rules_stays_however_long_it_is_silent() {
    let short = Duration::from_millis(200);
    let bench = Bench::new(Rules { handshake: Duration::from_secs(5), message: short, ..easy() });
    let _echo = bench.echo();
    let peer = bench.peer(zmq::REQ, "quiet");
    ask(&peer, "before");
    // Nothing must happen in this time, so there is nothing to wait for.
    std::thread::sleep(short * 5);
    ask(&peer, "after");
    let opened = bench.record.all().into_iter().filter(|told| matches!(told, Told::Opened { .. })).count();
    assert_eq!(opened, 1, "it was connected once");
}

#[test]
fn a_refusal_is_told_once_an_address_and_reason_and_counted_each_time() {
    let bench = Bench::new(Rules { kinds: &[Kind::Push], ..easy() });
    let _behind = bench.behind(zmq::PULL);
    for _ in 0..5 {
        Raw::introduced(bench.address(), "PAIR").closed();
    }
    Raw::introduced(bench.address(), "DEALER").closed();
    let mut http = Raw::connect(bench.address());
    http.say(b"GET / HTTP/1.1\r\n\r\n");
    http.closed();
    bench.record.refused(Refusal::Http);
    assert_eq!((bench.refused(Refusal::Kind), bench.refused(Refusal::Http)), (6, 1));
    let told = bench.record.all();
    let told: Vec<Refusal> = told.iter().filter_map(why).collect();
    assert_eq!(told, [Refusal::Kind, Refusal::Http]);
}

fn why(told: &Told) -> Option<Refusal> {
    match told {
        Told::Refused { why, .. } => Some(*why),
        _ => None,
    }
}

#[test]
fn peers_that_have_introduced_themselves_fill_a_port_and_the_next_is_refused() {
    let bench = Bench::new(Rules { connections: 10, connections_an_address: 3, ..easy() });
    let _behind = bench.behind(zmq::ROUTER);
    let mut there: Vec<Raw> = (0..3).map(|_| Raw::introduced(bench.address(), "DEALER")).collect();
    bench.record.opened(3);
    Raw::connect(bench.address()).closed();
    bench.record.refused(Refusal::ConnectionsAnAddress);
    there.clear();
    bench.wait_counts("all gone", |counts| counts.connections == 0);
    let _next = Raw::introduced(bench.address(), "DEALER");
    bench.record.opened(4);
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::in_folder(folder.path(), "port.sock").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for address in [taken.as_str(), "127.0.0.1", "nowhere.invalid:1", "127.0.0.1:notaport"] {
        let error = Gate::open(runtime.handle(), address, &upstream, easy(), |_| {}).unwrap_err();
        assert!(matches!(error, GateError::Bind { .. }) && error.to_string().contains(address), "{error}");
    }
    for address in ["tcp://127.0.0.1:*", "*:0", "tcp://*:*", "[::1]:0", "localhost:0"] {
        let gate = Gate::open(runtime.handle(), address, &upstream, easy(), |_| {}).unwrap();
        assert_ne!(gate.address().port(), 0, "{address}");
    }
}

#[test]
fn rules_that_no_message_could_keep_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::in_folder(folder.path(), "port.sock").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broken = [
        ("frame_bytes", Rules { frame_bytes: 0, ..easy() }),
        ("kinds", Rules { kinds: &[], ..easy() }),
        ("message_bytes", Rules { message_bytes: 1 << 20, unread_bytes: (4 << 20) - 1, ..easy() }),
    ];
    for (field, rules) in broken {
        let error = Gate::open(runtime.handle(), "127.0.0.1:0", &upstream, rules, |_| {}).unwrap_err();
        assert!(matches!(error, GateError::Rules { field: said, .. } if said == field), "{error}");
    }
}

#[test]
fn a_flood_of_silent_connections_does_not_shut_out_who_speaks() {
    let rules = Rules { connections: 200, connections_an_address: 100, ..easy() };
    let bench = Bench::new(rules);
    let _echo = bench.echo();
    let ended = Arc::new(AtomicBool::new(false));
    let (stop, address) = (Arc::clone(&ended), bench.address());
    let flood = std::thread::spawn(move || {
        let mut silent = std::collections::VecDeque::new();
        while !stop.load(Ordering::Relaxed) {
            // The gate may close when the test fails.
            let Ok(stream) = TcpStream::connect(address) else { return };
            silent.push_back(stream);
            if silent.len() > 300 {
                silent.pop_front();
            }
        }
    });
    bench.record.refused(Refusal::PushedOut);
    for round in 0..20 {
        ask(&bench.peer(zmq::REQ, ""), &format!("round {round}"));
    }
    ended.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    assert!(bench.refused(Refusal::PushedOut) > 0 && bench.refused(Refusal::ConnectionsAnAddress) == 0);
}
