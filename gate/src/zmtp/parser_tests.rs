use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::zmtp::{GREETING_BYTES, OWN_GREETING};

const FRAME_BYTES: usize = 64 << 10;
const CONN: Conn = Conn(5);

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        kinds: &[Kind::Req, Kind::Dealer, Kind::Sub],
        frame_bytes: FRAME_BYTES,
        message_bytes: 4 * FRAME_BYTES,
        message_frames: 64,
        connections: 1,
        connections_an_address: 1,
        unread_bytes: usize::MAX,
        handshake: Duration::ZERO,
        message: Duration::ZERO,
        subscriptions: 16,
    })
}

fn ready(kind: &str, identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend_from_slice(&u32::try_from(kind.len()).unwrap().to_be_bytes());
    body.extend_from_slice(kind.as_bytes());
    body.extend_from_slice(b"\x08Identity");
    body.extend_from_slice(&u32::try_from(identity.len()).unwrap().to_be_bytes());
    body.extend_from_slice(identity);
    frame(4, &body)
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => {
            let mut head = vec![flags | 2];
            head.extend_from_slice(&u64::try_from(body.len()).unwrap().to_be_bytes());
            head
        }
    };
    bytes.extend_from_slice(body);
    bytes
}

fn hello(kind: &str) -> Vec<u8> {
    [&OWN_GREETING[..], &ready(kind, b"me")].concat()
}

/// What libzmq hears instead.
fn hello_for_libzmq(kind: Kind) -> Vec<u8> {
    let said = Introduction { kind, identity: Bytes::new() };
    [&OWN_GREETING[..], &said.for_libzmq(CONN)].concat()
}

fn parser_after(kind: &str) -> Parser {
    let mut parser = Parser::new(CONN, rules());
    parser.feed(&hello(kind), &mut Vec::new()).unwrap();
    parser
}

/// All that can be seen of a parser after it has read `pieces` one after another.
#[derive(Debug, PartialEq)]
struct Seen {
    out: Vec<u8>,
    end: Result<(), Refusal>,
    introduction: Option<(Introduction, usize)>,
    bodies: usize,
    turns: u64,
    changes: u64,
    unfinished: usize,
    resting: bool,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut parser = Parser::new(CONN, rules());
    let (mut out, mut end) = (Vec::new(), Ok(()));
    for piece in pieces {
        end = parser.feed(piece, &mut out);
        if end.is_err() {
            break;
        }
    }
    Seen {
        introduction: parser.introduction(),
        bodies: parser.bodies(),
        turns: parser.turns(),
        changes: parser.changes(),
        unfinished: parser.unfinished(),
        resting: parser.resting(),
        out,
        end,
    }
}

#[test]
fn messages_pass_as_they_are_after_a_hello_that_is_made_anew() {
    let messages = [frame(0, b"Hola"), frame(1, b""), frame(1, b"x"), frame(0, &[7; 300])].concat();
    let seen = read([&hello("REQ")[..], &messages]);
    assert_eq!(seen.end, Ok(()));
    assert_eq!(seen.out, [hello_for_libzmq(Kind::Req), messages].concat());
    let said = Introduction { kind: Kind::Req, identity: Bytes::from_static(b"me") };
    assert_eq!(seen.introduction, Some((said, hello_for_libzmq(Kind::Req).len())));
    assert_eq!((seen.bodies, seen.unfinished, seen.resting), (305, 0, true));
    assert_eq!(seen.turns, 3, "the introduction and two messages");
}

#[test]
fn a_message_is_unfinished_until_its_last_byte() {
    let mut parser = parser_after("DEALER");
    let mut out = Vec::new();
    assert!(parser.resting());
    parser.feed(&[1], &mut out).unwrap();
    assert!(!parser.resting(), "a head has begun");
    parser.feed(&[3, b'a', b'b'], &mut out).unwrap();
    assert_eq!((parser.bodies(), parser.unfinished(), parser.resting()), (2, 2, false));
    parser.feed(b"c", &mut out).unwrap();
    assert_eq!((parser.bodies(), parser.unfinished(), parser.resting()), (1, 3, false));
    parser.feed(&frame(4, b"\x04PING\0\0"), &mut out).unwrap();
    assert_eq!((parser.unfinished(), parser.resting()), (3, false), "libzmq says PING between frames too");
    parser.feed(&frame(0, b"d"), &mut out).unwrap();
    assert_eq!((parser.bodies(), parser.unfinished(), parser.resting()), (1, 0, true));
}

#[test]
fn limits_are_reached_exactly_and_seen_in_the_head() {
    let rules = rules();
    let full = frame(1, &vec![0; rules.frame_bytes]);
    let mut parser = parser_after("DEALER");
    for _ in 0..rules.message_bytes / rules.frame_bytes {
        parser.feed(&full, &mut Vec::new()).unwrap();
    }
    parser.feed(&frame(1, b""), &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    assert_eq!(parser.feed(&[0, 1], &mut out), Err(Refusal::MessageBytes));
    assert_eq!(out, b"", "not even the head goes on");

    let mut parser = parser_after("DEALER");
    for _ in 1..rules.message_frames {
        parser.feed(&frame(1, b"."), &mut out).unwrap();
    }
    let mut last = parser_after("DEALER");
    for _ in 1..rules.message_frames {
        last.feed(&frame(1, b"."), &mut out).unwrap();
    }
    last.feed(&frame(0, b"."), &mut out).unwrap();
    assert!(last.resting());
    parser.feed(&frame(1, b"."), &mut out).unwrap();
    assert_eq!(parser.feed(&frame(0, b"."), &mut out), Err(Refusal::MessageFrames));

    let length = u64::try_from(rules.frame_bytes + 1).unwrap();
    let head = [&[2][..], &length.to_be_bytes()].concat();
    assert_eq!(parser_after("DEALER").feed(&head, &mut out), Err(Refusal::FrameBytes));
}

#[test]
fn subscriptions_pass_in_both_forms_and_whole() {
    let mut parser = parser_after("SUB");
    let mut out = Vec::new();
    parser.feed(&[0, 5, 1, b'i'], &mut out).unwrap();
    assert_eq!(out, b"", "it is held until it can be judged");
    parser.feed(b"nfo", &mut out).unwrap();
    parser.feed(&frame(4, b"\x09SUBSCRIBEjob/"), &mut out).unwrap();
    parser.feed(&frame(4, b"\x06CANCELjob/"), &mut out).unwrap();
    parser.feed(&frame(4, b"\x04PING\0\0"), &mut out).unwrap();
    let expected = [
        frame(0, b"\x01info"),
        frame(4, b"\x09SUBSCRIBEjob/"),
        frame(4, b"\x06CANCELjob/"),
        frame(4, b"\x04PING\0\0"),
    ];
    assert_eq!(out, expected.concat());
    assert_eq!(parser.changes(), 3);
    let longest = [&[1][..], &vec![b't'; FRAME_BYTES - 1]].concat();
    parser.feed(&frame(0, &longest), &mut out).unwrap();
    let command = [b"\x09SUBSCRIBE", &vec![b'u'; FRAME_BYTES][..]].concat();
    parser.feed(&frame(4, &command), &mut out).unwrap();
    assert_eq!(parser.feed(&frame(0, b"hello"), &mut out), Err(Refusal::Subscription));
}

#[test]
fn what_can_be_read_without_bodies_contains_none() {
    let stream = [hello("REQ"), frame(1, b"ab"), frame(4, b"\x04PING\0\0"), frame(0, &[1; 300])].concat();
    let mut parser = Parser::new(CONN, rules());
    let mut rest = &stream[..];
    let mut out = Vec::new();
    let mut stops = Vec::new();
    while !rest.is_empty() {
        let free = parser.bytes_without_bodies();
        let (piece, after) = rest.split_at(free.max(1));
        parser.feed(piece, &mut out).unwrap();
        let bodies = parser.bodies();
        assert!(free == 0 || bodies == 0, "{free} bytes held {bodies} of a body");
        if free == 0 && stops.last() != Some(&parser.turns()) {
            stops.push(parser.turns());
        }
        rest = after;
    }
    assert_eq!(
        stops,
        [1, 2],
        "a message's beginning must wait, and so must its bodies; an introduction need not"
    );
    assert!(parser.resting());
}

/// The hostile strings of `corpus/`: by the word before `--` in their names, what becomes of whoever sends them.
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "bin"));
    files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_string(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn each_string_of_the_corpus_is_refused_for_what_its_name_says() {
    let corpus = corpus();
    assert!(corpus.len() >= 40, "only {} strings", corpus.len());
    for (name, bytes) in corpus {
        let expected = name.split("--").next().unwrap();
        let seen = read([&bytes[..]]);
        match (expected, seen.end) {
            ("slow_handshake", Ok(())) => assert_eq!(seen.introduction, None, "{name}"),
            ("slow_message", Ok(())) => assert!(seen.introduction.is_some() && !seen.resting, "{name}"),
            (_, Err(why)) => assert_eq!(why.as_str(), expected, "{name}"),
            (_, Ok(())) => panic!("{name} was let through"),
        }
        let bytewise = read(bytes.chunks(1));
        assert_eq!(bytewise, seen, "{name}, byte by byte");
    }
}

/// Something a peer may say, mostly well-formed.
fn utterance() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 250..600),
    ];
    prop_oneof![
        6 => (any::<bool>(), body.clone()).prop_map(|(more, body)| frame(u8::from(more), &body)),
        2 => Just(frame(4, b"\x04PING\0\x07abc")),
        1 => Just(frame(4, b"\x04PONG")),
        2 => (0..2u8, body.clone()).prop_map(|(on, topic)| frame(0, &[&[on][..], &topic].concat())),
        2 => body.clone().prop_map(|topic| frame(4, &[b"\x09SUBSCRIBE", &topic[..]].concat())),
        1 => (any::<u8>(), body).prop_map(|(flags, body)| frame(flags, &body)),
        1 => prop::collection::vec(any::<u8>(), 1..12),
    ]
}

prop_compose! {
    fn stream()(
        kind in prop_oneof![Just("REQ"), Just("DEALER"), Just("SUB"), Just("PUB")],
        minor in 0..3u8,
        said in prop::collection::vec(utterance(), 0..30),
        damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
    ) -> Vec<u8> {
        let mut bytes = [hello(kind), said.concat()].concat();
        bytes[11] = minor;
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    }
}

proptest! {
    #[test]
    fn any_splitting_of_the_same_bytes_gives_the_same_result(
        bytes in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let pieces = starts.zip(ends).map(|(start, end)| &bytes[start..end]);
        let whole = read([&bytes[..]]);
        prop_assert_eq!(&read(pieces), &whole);
        prop_assert_eq!(&read(bytes.chunks(1)), &whole);
    }

    #[test]
    fn whatever_is_said_nothing_but_a_part_of_it_goes_on(bytes in stream()) {
        let seen = read([&bytes[..]]);
        if let Some((said, _)) = seen.introduction {
            let mut made = hello_for_libzmq(said.kind);
            made[11] = bytes[11].min(1);
            let after = seen.out.strip_prefix(&made[..]).expect("the hello made anew comes first");
            let hello = GREETING_BYTES + 2 + usize::from(bytes[GREETING_BYTES + 1]);
            prop_assert!(bytes[hello..].starts_with(after), "messages pass as they are");
        } else {
            prop_assert!(seen.out.len() <= GREETING_BYTES);
        }
    }
}
