//! Bytes that are no ZeroMQ, no message, or too much of one: the node serves on and does not grow.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use tests::{Cluster, Lab, Plan, eventually};

use crate::{echoes, replies};

/// What a node may grow by, whatever strangers send.
const GROWTH_BYTES: u64 = 64 << 20;
/// Connections of each kind to each port.
const TIMES: usize = 20;

/// Kinds of what strangers send.
const KINDS: usize = 8;

/// A greeting of ZMTP 3.0, mechanism NULL.
fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes
}

/// The handshake's command of a REQ socket.
fn ready() -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0\x03REQ".to_vec();
    body.extend(b"\x08Identity\0\0\0\x04evil");
    let mut bytes = vec![4, u8::try_from(body.len()).expect("a short command")];
    bytes.extend(body);
    bytes
}

/// Bytes without any sense, the same in every run.
fn garbage(seed: usize, count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed as u64);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// What a stranger sends on one connection: kind by kind.
fn sent(kind: usize, seed: usize) -> Vec<u8> {
    let handshake = || [greeting(), ready()].concat();
    match kind {
        0 => b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
        1 => garbage(seed, 64 << 10),
        2 => [greeting(), garbage(seed, 64 << 10)].concat(),
        3 => [handshake(), garbage(seed, 64 << 10)].concat(),
        // A frame of 2 GiB, announced, and its first 256 KiB.
        4 => [handshake(), vec![2, 0, 0, 0, 0, 0x80, 0, 0, 0], vec![b'x'; 256 << 10]].concat(),
        // Frames that always say that another one follows.
        5 => [handshake(), [1_u8, 1, b'x'].repeat(50_000)].concat(),
        // One message of 8 MiB in frames of 64 KiB, and still another one follows: held whole, these are 320 MiB.
        6 => {
            let frame = [vec![3, 0, 0, 0, 0, 0, 1, 0, 0], vec![b'x'; 64 << 10]].concat();
            [handshake(), frame.repeat(128)].concat()
        }
        // A greeting that never ends.
        _ => greeting()[..20].to_vec(),
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("tcp://HOST:PORT")
}

/// A number of /proc/PID/status in bytes.
fn memory(pid: u32, what: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(what)).expect("a line of it");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_at_both_ports_leave_a_node_serving_and_small() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let (clients_url, workers_url) = (cluster.clients_url(1), cluster.workers_url(1));
    let _worker = lab.worker(&workers_url, "B", "W_1", 5);
    lab.client(&clients_url, "B", "C_0", 5).succeeds().await;
    let pid = cluster.node(1).pid();
    // From here on the kernel's peak is that of the attack.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("one may reset a child's peak");
    let before = memory(pid, "VmRSS:");
    let ports = [port_of(&clients_url), port_of(&workers_url)];
    let mut held = Vec::new();
    for seed in 0..TIMES {
        for (kind, port) in (0..KINDS).flat_map(|kind| ports.map(|port| (kind, port))) {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port takes connections");
            stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            // The node may have hung up in the middle, or read no more: both are right.
            let _ = stream.write_all(&sent(kind, seed));
            held.push(stream);
        }
        if seed % 5 == 0 {
            let identity = format!("C_{seed}_amid");
            let mut client = lab.client(&clients_url, "B", &identity, 2);
            assert_eq!(
                replies(&client.succeeds().await),
                echoes(&identity, 2),
                "while strangers are connected"
            );
        }
    }
    // Messages in good form with far too many frames.
    for url in [&clients_url, &workers_url] {
        for round in 0..4 {
            let identity = format!("X_{round}");
            let frame = format!("[\"\", \"text\", \"{}\"]", "y".repeat(100));
            let words =
                ["dealer", url, &frame, "--identity", &identity, "--repeat-frame", "5000", "--replies", "0"];
            // It may be told that these are too many, or hear nothing.
            lab.helper("speak.py", &words).ends().await;
        }
    }
    drop(held);
    let mut client = lab.client(&clients_url, "B", "C_after", 5);
    assert_eq!(replies(&client.succeeds().await), echoes("C_after", 5));
    assert!(cluster.node_mut(1).runs() && cluster.node(1).pid() == pid, "it is the same process");
    let peak = memory(pid, "VmHWM:");
    println!("{} KiB before, {} KiB at most", before >> 10, peak >> 10);
    assert!(peak - before < GROWTH_BYTES, "from {before} bytes to {peak}");
    eventually("the node still answers over HTTP", async || cluster.status(1).await).await;
}
