//! Sealed connections: pieces by themselves, keys that differ, and what a listener on the wire sees.

use std::sync::Mutex;
use std::time::Instant;

use bytes::BytesMut;
use snow::{Builder, StatelessTransportState};
use tokio::net::TcpListener as Listener;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::seal::{Opener, PIECE_BYTES, PROOF_BYTES, Sealer, Unsealed, halves};
use super::tests::{Side, message, nothing_kept};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const MARK: &[u8] = b"the payload that nobody may see";

/// Both ends of one handshake, without a connection.
fn shaken() -> (StatelessTransportState, StatelessTransportState) {
    let key = [5; 32];
    let end = || Builder::new("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s".parse().unwrap()).psk(0, &key).unwrap();
    let (mut one, mut other) = (end().build_initiator().unwrap(), end().build_responder().unwrap());
    let mut wire = [0; 200];
    let bytes = one.write_message(&[], &mut wire).unwrap();
    other.read_message(&wire[..bytes], &mut []).unwrap();
    let bytes = other.write_message(&[], &mut wire).unwrap();
    one.read_message(&wire[..bytes], &mut []).unwrap();
    (one.into_stateless_transport_mode().unwrap(), other.into_stateless_transport_mode().unwrap())
}

fn way() -> (Sealer, Opener) {
    let (one, other) = shaken();
    (halves(one).0, halves(other).1)
}

fn opened(opener: &mut Opener, wire: &[u8]) -> Result<Vec<u8>, Unsealed> {
    let mut plain = BytesMut::new();
    opener.raw.extend_from_slice(wire);
    opener.open(&mut plain).map(|()| plain.to_vec())
}

#[test]
fn what_is_larger_than_a_piece_comes_out_whole_however_it_is_cut() {
    let most = PIECE_BYTES - PROOF_BYTES;
    for bytes in [0, 1, most - 1, most, most + 1, 3 * most, 1_000_000] {
        let (mut sealer, mut opener) = way();
        let plain: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut wire = Vec::new();
        sealer.seal(&plain, &mut wire).unwrap();
        assert_eq!(wire.len(), bytes + bytes.div_ceil(most) * (2 + PROOF_BYTES));
        let mut out = Vec::new();
        for cut in wire.chunks(40_007) {
            out.extend(opened(&mut opener, cut).unwrap());
        }
        assert!(out == plain, "{bytes}");
    }
}

#[test]
fn a_piece_that_is_changed_repeated_moved_or_left_out_is_refused() {
    let (mut sealer, mut opener) = way();
    let mut pieces = Vec::new();
    for text in ["one", "two", "three"] {
        let mut wire = Vec::new();
        sealer.seal(text.as_bytes(), &mut wire).unwrap();
        pieces.push(wire);
    }
    assert_eq!(opened(&mut opener, &pieces[0]), Ok(b"one".to_vec()));
    for at in 2..pieces[1].len() {
        let (mut changed, (mut sealer, mut opener)) = (Vec::new(), way());
        sealer.seal(b"two", &mut changed).unwrap();
        changed[at] ^= 0x10;
        assert_eq!(opened(&mut opener, &changed), Err(Unsealed));
    }
    for wrong in [&pieces[0], &pieces[2]] {
        assert_eq!(opened(&mut opener, wrong), Err(Unsealed), "repeated or moved");
        opener.raw.clear();
    }
    assert_eq!(opened(&mut opener, &[0, 3, 1, 2, 3]), Err(Unsealed), "shorter than a proof");
    opener.raw.clear();
    let (start, end) = pieces[1].split_at(7);
    assert_eq!(opened(&mut opener, start), Ok(Vec::new()), "not all of it has come");
    assert_eq!(opened(&mut opener, end), Ok(b"two".to_vec()));
}

/// No verdict: prints what sealing costs (`cargo test --release -p node sealing -- --nocapture`).
#[test]
fn sealing_a_connection_costs_so_much() {
    for bytes in [100_usize, 10_000, 1_000_000] {
        let (mut sealer, mut opener) = way();
        let (plain, rounds) = (vec![7; bytes], (20_000_000 / (bytes + 1_000)).max(10));
        let (mut wire, mut out) = (Vec::new(), BytesMut::new());
        let began = Instant::now();
        for _ in 0..rounds {
            wire.clear();
            out.clear();
            sealer.seal(&plain, &mut wire).unwrap();
            opener.raw.extend_from_slice(&wire);
            opener.open(&mut out).unwrap();
            assert_eq!(out.len(), bytes);
        }
        let each = began.elapsed().as_nanos() / u128::try_from(rounds).unwrap();
        println!("consensus link: {bytes} bytes sealed and opened in {each} ns");
    }
}

/// Two links and, between them, somebody who writes down all that passes.
async fn recorded(key: Option<&ClusterKey>) -> (Side, Side, Arc<Mutex<Vec<u8>>>) {
    let (one, two) = (Side::keyed(1, key, nothing_kept()), Side::keyed(2, key, nothing_kept()));
    let (listener, target) = (Listener::bind("127.0.0.1:0").await.unwrap(), two.target());
    one.link.dial(vec![(NodeId(2), listener.local_addr().unwrap().to_string())]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&target).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, Arc::clone(&writes)));
            tokio::spawn(pass(far_in, near_out, Arc::clone(&writes)));
        }
    });
    (one, two, seen)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        seen.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_nothing_said_is_seen_on_the_wire_and_without_one_all_is() {
    let key = ClusterKey::draw().unwrap();
    for (key, is_seen) in [(Some(&key), false), (None, true)] {
        let (mut one, mut two, seen) = recorded(key).await;
        one.up(2).await;
        assert!(one.link.send(NodeId(2), vec![message(1, MARK.repeat(10_000))]));
        assert_eq!(two.message().await, message(1, MARK.repeat(10_000)));
        let seen = seen.lock().unwrap();
        assert!(seen.len() > 10_000 * MARK.len());
        assert_eq!(seen.windows(MARK.len()).any(|part| part == MARK), is_seen);
        // The addresses in the hello are nobody's business either.
        assert_eq!(seen.windows(7).any(|part| part == b"n1:9991"), is_seen);
    }
}

async fn stranger(side: &mut Side) -> String {
    side.until(|told| match told {
        LinkTold::Stranger { text } => Some(text),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_differs_or_is_missing_is_refused_and_named_at_both_ends() {
    let (ours, theirs) = (ClusterKey::draw().unwrap(), ClusterKey::draw().unwrap());
    for (one, two, here, there) in [
        (Some(&ours), Some(&theirs), "its cluster key is another one", "its cluster key is another one"),
        (Some(&ours), None, "it has no cluster key", "this node has no cluster key"),
        (None, Some(&ours), "this node has no cluster key", "it has no cluster key"),
    ] {
        let (mut one, mut two) = (Side::keyed(1, one, nothing_kept()), Side::keyed(2, two, nothing_kept()));
        let target = two.target();
        one.link.dial(vec![(NodeId(2), target.clone())]);
        let (text, strange) = (one.refused().await, stranger(&mut two).await);
        assert!(text.contains(here) && text.contains("node-2") && text.contains(&target), "{text}");
        assert!(strange.contains(there) && strange.contains("node-1"), "{strange}");
        assert!(!one.link.send(NodeId(2), vec![message(1, Vec::new())]));
    }
}

/// Writes down what it hears of keys.
#[derive(Default)]
struct Book(Mutex<Vec<(&'static str, u64)>>, Mutex<Vec<SessionKey>>);

impl Book {
    fn note(&self, what: &'static str, tag: u64, key: Option<SessionKey>) {
        self.0.lock().unwrap().push((what, tag));
        self.1.lock().unwrap().extend(key);
    }

    /// Waits for so many notes.
    async fn notes(&self, count: usize) -> Vec<(&'static str, u64)> {
        let enough = async {
            while self.0.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, enough).await.expect("it is noted");
        self.0.lock().unwrap().clone()
    }
}

impl SessionKeys for Book {
    fn given(&self, key: SessionKey) {
        self.note("given", key.tag, Some(key));
    }

    fn taken(&self, key: SessionKey) {
        self.note("taken", key.tag, Some(key));
    }

    fn ended(&self, tag: u64) {
        self.note("ended", tag, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_key_at_both_ends_and_ends_at_both_with_its_connection() {
    let key = ClusterKey::draw().unwrap();
    let (here, there) = (Arc::new(Book::default()), Arc::new(Book::default()));
    let serving = |book: &Arc<Book>| Serving { keys: Arc::<Book>::clone(book), ..nothing_kept() };
    let one = Side::keyed(1, Some(&key), serving(&here));
    let two = Side::keyed(2, Some(&key), serving(&there));
    one.link.open_session(Some((NodeId(2), 77)));
    one.link.dial(vec![(NodeId(2), two.target())]);
    let tag = here.notes(1).await[0].1;
    assert_eq!(there.notes(1).await, [("given", tag)]);
    {
        let (taken, given) = (here.1.lock().unwrap()[0].clone(), there.1.lock().unwrap()[0].clone());
        assert_eq!((taken.peer, given.peer), (NodeId(2), NodeId(1)));
        assert!(taken.key.is_some() && taken.key == given.key && given.session == 77);
    }
    // Another session: the key before ends, and nobody hears of it again.
    one.link.open_session(Some((NodeId(2), 78)));
    let notes = here.notes(3).await;
    let later = notes[2].1;
    assert_eq!(notes, [("taken", tag), ("ended", tag), ("taken", later)]);
    assert_eq!(there.notes(3).await, [("given", tag), ("given", later), ("ended", tag)]);
    // The connection ends: so does the key, at both ends.
    one.link.dial(Vec::new());
    assert_eq!(here.notes(4).await[3], ("ended", later));
    assert_eq!(there.notes(4).await[3], ("ended", later));
}
