//! Every hostile string against an open gate, all at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gate::{Kind, Refusal, Rules};

use crate::harness::{Bench, Raw, ask, easy};

/// Name without ending → bytes, of those for subscribers or of the others.
fn corpus(of_subscribers: bool) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "bin"));
    let named = files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_string(), path));
    let named = named.filter(|(name, _)| name.contains("--sub-") == of_subscribers);
    named.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

/// Says each of them, waits until each was closed, and compares the reasons with their names.
fn attack(bench: &Bench, corpus: BTreeMap<String, Vec<u8>>) {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for name in corpus.keys() {
        let word = name.split("--").next().unwrap();
        let why = Refusal::ALL.iter().find(|why| why.as_str() == word).unwrap();
        *expected.entry(why.as_str()).or_default() += 1;
    }
    let address = bench.address();
    let attackers: Vec<_> = corpus
        .into_iter()
        .map(|(name, bytes)| {
            std::thread::spawn(move || {
                let mut raw = Raw::connect(address);
                // It may be closed before all is said.
                raw.say_while_taken(&bytes, crate::harness::PATIENCE);
                let said = raw.closed();
                assert!(said.len() < 1_000, "{name} was told {} bytes", said.len());
            })
        })
        .collect();
    for attacker in attackers {
        attacker.join().unwrap();
    }
    bench.wait_counts("all gone", |counts| counts.connections == 0);
    let refused = bench.gate().counts().refused.into_iter();
    let refused: BTreeMap<&str, u64> =
        refused.filter(|(_, count)| *count > 0).map(|(why, count)| (why.as_str(), count)).collect();
    assert_eq!(refused, expected);
}

fn quick(kinds: &'static [Kind]) -> Rules {
    Rules { kinds, handshake: Duration::from_secs(3), message: Duration::from_secs(3), ..easy() }
}

#[test]
fn a_router_serves_on_whatever_is_sent_to_its_gate() {
    let bench = Bench::new(quick(&[Kind::Req, Kind::Dealer]));
    let echo = bench.echo();
    attack(&bench, corpus(false));
    ask(&bench.peer(zmq::REQ, "good"), "after all that");
    drop(echo);
}

#[test]
fn a_publisher_serves_on_whatever_is_sent_to_its_gate() {
    let bench = Bench::new(quick(&[Kind::Sub, Kind::Xsub]));
    let publisher = bench.behind(zmq::XPUB);
    attack(&bench, corpus(true));
    // Subscriptions of those who were refused came and went.
    while publisher.poll(zmq::POLLIN, 100).unwrap() > 0 {
        publisher.recv_bytes(0).unwrap();
    }
    let subscriber = bench.peer(zmq::SUB, "");
    subscriber.set_subscribe(b"good").unwrap();
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01good");
    publisher.send("good news", 0).unwrap();
    assert_eq!(subscriber.recv_string(0).unwrap().unwrap(), "good news");
}
