//! A ledger in pieces, and back.

use super::scene::*;
use crate::{BadSnapshot, Effect, Ledger, Restoring};
use alloc::string::ToString;
use alloc::vec::Vec;
use protocol::{Answer, Command, Entry, JobId, JobSpec, More, Origin};

/// A ledger with a little of everything: ended, running, queued and waiting jobs, keys, answers, facts.
fn full() -> Book {
    let mut book = Book::new();
    for job in 1..=300 {
        let origin = Origin { floor: 1, ..book.origin() };
        let answer = book.submit_as(job, spec("echo"), Some(&std::format!("key {job}")), [7; 32], origin);
        assert_eq!(answer, Answer::Accepted { job: JobId(job), replayed: false });
    }
    for job in 1..=200 {
        book.assign(job, 1, ANNA);
    }
    for job in 1..=100 {
        book.finish(job, 1, ANNA, success("well"));
    }
    book.finish(101, 1, ANNA, failure());
    book.cancel(300);
    book
}

fn pieces(ledger: &Ledger) -> Vec<Vec<u8>> {
    ledger.pieces().collect()
}

#[test]
fn it_comes_back_as_it_was_and_goes_on_alike() {
    let mut book = full();
    let back = through_snapshot(&book.ledger, Ledger::new());
    assert_eq!(pieces(&back), pieces(&book.ledger));
    assert_eq!(
        (back.digest(), back.applied(), back.rev()),
        (book.ledger.digest(), book.ledger.applied(), book.ledger.rev())
    );
    assert_eq!((back.counts(), back.live_bytes()), (book.ledger.counts(), book.ledger.live_bytes()));
    assert_eq!(back.first_fact_kept(), book.ledger.first_fact_kept());
    assert!(back.queued().eq(book.ledger.queued()) && back.scheduled().eq(book.ledger.scheduled()));
    // What was decided under a gateway's number stays decided, and a key stays one job.
    let command = Command::Submit {
        job: JobId(900),
        spec: spec("echo").into(),
        key: Some("key 250".to_string()),
        fingerprint: [7; 32],
        origin: book.origin(),
    };
    let entry = Entry { clock_ms: 1, wall_ms: 1, term: 1, commands: [command].into() };
    let mut twin = back;
    let effects = twin.apply(book.ledger.applied() + 1, &entry);
    assert_eq!(effects, book.ledger.apply(book.ledger.applied() + 1, &entry));
    let known = Answer::Accepted { job: JobId(250), replayed: true };
    assert!(matches!(&effects[..], [Effect::Decided { answer, .. }] if *answer == known), "{effects:?}");
}

#[test]
fn a_missing_repeated_or_cut_piece_is_refused() {
    let whole = pieces(&full().ledger);
    assert!(whole.len() > 5, "there are several pieces");
    let restored = |pieces: &[Vec<u8>]| {
        let mut restoring = Restoring::new(Ledger::new());
        pieces.iter().try_for_each(|piece| restoring.take(piece))?;
        restoring.finish().map(|ledger| ledger.digest())
    };
    assert_eq!(restored(&whole), Ok(full().ledger.digest()));
    for place in 0..whole.len() {
        let mut missing = whole.clone();
        missing.remove(place);
        // A gateway's first part only says its floor, which its further parts say too.
        let repeats_itself = place == 3;
        assert!(restored(&missing).is_err() || repeats_itself, "without piece {place}");
        let mut cut = whole.clone();
        cut[place].pop();
        assert_eq!(restored(&cut), Err(BadSnapshot::Malformed), "piece {place} cut");
    }
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    assert!(restored(&swapped).is_err());
    assert!(restored(&[]).is_err());
}

#[test]
fn a_newer_form_is_refused_by_its_number() {
    let mut head = pieces(&Ledger::new()).remove(0);
    // The variant, then the version: both are one byte in postcard.
    assert_eq!(head[..2], [0, 4]);
    head[1] = 9;
    let refused = Restoring::new(Ledger::new()).take(&head);
    assert_eq!(refused, Err(BadSnapshot::Newer { version: 9 }));
}

/// Processor time of this thread so far: what a busy machine takes away meanwhile is not in it.
fn busy() -> std::time::Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says");
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("nanoseconds");
    std::time::Duration::from_nanos(ns)
}

/// A snapshot is made of a clone, on another thread, while the ledger goes on. What that costs the ledger's owner are
/// copies of the pieces that it writes to: here entries of a thousand jobs each, the largest there are.
#[test]
fn a_snapshot_of_many_queued_jobs_does_not_make_an_entry_slow() {
    let count: u64 = std::env::var("SNAPSHOT_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let mut book = Book::new();
    let shared = alloc::sync::Arc::new(spec("echo"));
    // As random as real ids are, so that they spread.
    let id = |number: u64| {
        JobId(u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 32 | u128::from(number))
    };
    let entry = |first: u64, jobs: u64| Entry {
        clock_ms: first,
        wall_ms: first,
        term: 1,
        commands: (first..first + jobs)
            .map(|number| Command::Submit {
                job: id(number),
                spec: alloc::sync::Arc::clone(&shared),
                key: None,
                fingerprint: [0; 32],
                origin: Origin { gateway: BERT, boot: protocol::Boot(1), number, floor: number },
            })
            .collect(),
    };
    let ledger = &mut book.ledger;
    let mut next = 1;
    let mut apply = |ledger: &mut Ledger, jobs: u64| {
        let made = entry(next, jobs);
        next += jobs;
        let began = busy();
        ledger.apply(ledger.applied() + 1, &made);
        busy() - began
    };
    for _ in 0..count / 1_000 {
        apply(ledger, 1_000);
    }
    let usual = (0..10).map(|_| apply(ledger, 1_000)).max().unwrap_or_default();
    let began = std::time::Instant::now();
    let copy = ledger.clone();
    let cloned = began.elapsed();
    let encoding = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        let (pieces, bytes) = copy.pieces().fold((0, 0), |(n, bytes), piece| (n + 1, bytes + piece.len()));
        (pieces, bytes, began.elapsed())
    });
    let mut worst = std::time::Duration::ZERO;
    for _ in 0..20 {
        worst = worst.max(apply(ledger, 1_000));
    }
    let (pieces, bytes, took) = encoding.join().expect("it ends");
    std::println!(
        "{count} jobs: clone {cloned:?}; an entry of 1,000 jobs takes {usual:?} at most, {worst:?} during a snapshot; {pieces} pieces, {bytes} bytes in {took:?}"
    );
    assert!(pieces as u64 > count / 4_096);
    assert!(worst < usual + std::time::Duration::from_millis(50), "{usual:?} {worst:?}");
}

/// A small ledger with jobs in several states, one of them repeated by hand.
fn small() -> Book {
    let mut book = Book::new();
    let origin = book.origin();
    book.submit_as(1, spec("echo"), Some("key"), [7; 32], origin);
    let more = More { retry_of: Some(JobId(1)), ..More::default() };
    book.submit(2, JobSpec { more, timeout_ms: Some(9), ..spec("sh") });
    book.submit(3, spec("sleep"));
    book.assign(1, 1, ANNA);
    book.finish(1, 1, ANNA, success("well"));
    book.assign(2, 1, BERT);
    book
}

#[test]
fn a_snapshot_written_by_the_first_version_is_read() {
    let byte = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let lines = include_str!("snapshot_1.hex").lines();
    let given: Vec<Vec<u8>> =
        lines.map(|hex| (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect()).collect();
    let mut restoring = Restoring::new(Ledger::new());
    given.iter().for_each(|piece| restoring.take(piece).expect("it is read"));
    let (back, same) = (restoring.finish().expect("it is whole"), small().ledger);
    assert_eq!((back.digest(), pieces(&back)), (same.digest(), pieces(&same)));
    assert_eq!(back.job(JobId(2)).and_then(|job| job.spec.more.retry_of), Some(JobId(1)));
    // Nothing but the version in its head has changed for jobs that ask for nothing more, and that its cluster was never
    // recovered is said.
    let mut now = pieces(&back);
    assert_eq!(now.remove(1).len(), 2);
    assert_eq!((now[0][1], core::mem::replace(&mut now[0][1], 1)), (4, 4));
    assert_eq!(now, given);
}

#[test]
fn what_a_job_asks_beyond_the_first_version_is_in_a_snapshot() {
    let mut book = small();
    let more = More { quiet_limit_ms: Some(60_000), ..More::default() };
    book.submit(4, JobSpec { more: more.clone(), ..spec("sh") });
    let back = through_snapshot(&book.ledger, Ledger::new());
    assert_eq!(back.job(JobId(4)).map(|job| job.spec.more.clone()), Some(more));
}
