//! A request that comes again: the same answer, never a second job.

use super::scene::*;
use crate::Bounds;
use protocol::{Answer, Boot, JobId, Origin, Refusal};

fn origin(boot: u64, number: u64, floor: u64) -> Origin {
    Origin { gateway: BERT, boot: Boot(boot), number, floor }
}

fn accepted(job: u128) -> Answer {
    Answer::Accepted { job: JobId(job), replayed: false }
}

fn replayed(job: u128) -> Answer {
    Answer::Accepted { job: JobId(job), replayed: true }
}

#[test]
fn a_number_decided_once_gets_the_same_answer_whatever_became_of_the_job() {
    let mut book = Book::new();
    assert_eq!(book.submit_as(1, spec("echo"), None, [0; 32], origin(1, 5, 5)), accepted(1));
    book.cancel(1);
    assert_eq!(book.submit_as(2, spec("echo"), None, [0; 32], origin(1, 5, 5)), accepted(1));
    assert_eq!(book.ledger.decided(&origin(1, 5, 5)), Some(accepted(1)));
    assert_eq!(book.ledger.newest(None).count(), 1);
}

#[test]
fn answers_below_the_floor_are_forgotten_and_nothing_is_decided_there_any_more() {
    let mut book = Book::new();
    for number in 1..=600 {
        book.submit_as(number.into(), spec("echo"), None, [0; 32], origin(1, number, 1));
    }
    book.submit_as(601, spec("echo"), None, [0; 32], origin(1, 601, 400));
    assert_eq!(book.ledger.decided(&origin(1, 399, 1)), None);
    assert_eq!(book.ledger.decided(&origin(1, 400, 1)), Some(accepted(400)));
    let late = book.submit_as(9_999, spec("echo"), None, [0; 32], origin(1, 300, 1));
    assert_eq!((late, book.ledger.newest(None).count()), (Answer::Refused(Refusal::Stale), 601));
}

#[test]
fn a_later_start_of_a_gateway_begins_anew_and_an_earlier_one_is_stale() {
    let mut book = Book::new();
    assert_eq!(book.submit_as(1, spec("echo"), None, [0; 32], origin(2, 1, 1)), accepted(1));
    let stale = book.submit_as(2, spec("echo"), None, [0; 32], origin(1, 9, 9));
    assert_eq!(stale, Answer::Refused(Refusal::Stale));
    assert_eq!(book.submit_as(3, spec("echo"), None, [0; 32], origin(3, 1, 1)), accepted(3));
    assert_eq!(book.ledger.newest(None).count(), 2);
}

#[test]
fn the_same_id_again_is_the_same_request() {
    let mut book = Book::new();
    assert_eq!(book.submit_as(1, spec("echo"), None, [0; 32], origin(1, 1, 1)), accepted(1));
    assert_eq!(book.submit_as(1, spec("echo"), None, [0; 32], origin(2, 1, 1)), accepted(1));
    assert_eq!(book.ledger.newest(None).count(), 1);
}

#[test]
fn key_is_one_job_and_another_request_under_it_is_refused() {
    let mut book = Book::new();
    assert_eq!(book.submit_as(1, spec("echo"), Some("k"), [1; 32], origin(1, 1, 1)), accepted(1));
    assert_eq!(book.submit_as(2, spec("echo"), Some("k"), [1; 32], origin(1, 2, 1)), replayed(1));
    let other = book.submit_as(3, spec("echo"), Some("k"), [2; 32], origin(1, 3, 1));
    assert_eq!(other, Answer::Refused(Refusal::KeyReused { job: JobId(1) }));
    book.cancel(1);
    assert_eq!(book.submit_as(4, spec("echo"), Some("k"), [1; 32], origin(1, 4, 1)), replayed(1));
    assert_eq!(book.ledger.newest(None).count(), 1);
}

#[test]
fn repeats_are_recognised_before_any_limit() {
    let mut book = Book::with_bounds(Bounds { open_jobs: 1, ..Bounds::default() });
    assert_eq!(book.submit_as(1, spec("echo"), Some("k"), [1; 32], origin(1, 1, 1)), accepted(1));
    assert_eq!(book.submit_as(2, spec("echo"), Some("k"), [1; 32], origin(1, 2, 1)), replayed(1));
    assert_eq!(book.submit_as(1, spec("echo"), None, [1; 32], origin(1, 3, 1)), accepted(1));
    let full = book.submit_as(3, spec("echo"), Some("l"), [1; 32], origin(1, 4, 1));
    assert_eq!(full, Answer::Refused(Refusal::Full));
}

#[test]
fn of_ended_jobs_the_newest_keys_are_remembered() {
    let mut book = Book::with_bounds(Bounds { ended_keys: 2, ..Bounds::default() });
    for job in 1..=4 {
        let key = std::format!("k{job}");
        book.submit_as(job, spec("echo"), Some(&key), [1; 32], origin(1, job as u64, 1));
    }
    for job in [2, 1, 3] {
        book.cancel(job);
    }
    let known = [1, 2, 3, 4].map(|job| book.ledger.knows_key(&std::format!("k{job}")));
    assert_eq!(known, [true, false, true, true], "k2 ended first; k4 is of an open job");
}

#[test]
fn the_answers_of_one_gateway_are_bounded() {
    let mut book = Book::with_bounds(Bounds { answers: 10, ..Bounds::default() });
    for number in 1..=25 {
        book.submit_as(number.into(), spec("echo"), None, [0; 32], origin(1, number, 1));
    }
    assert_eq!(book.ledger.decided(&origin(1, 15, 1)), None);
    assert_eq!(book.ledger.decided(&origin(1, 16, 1)), Some(accepted(16)));
    let closed = book.submit_as(99, spec("echo"), None, [0; 32], origin(1, 3, 1));
    assert_eq!(closed, Answer::Refused(Refusal::Stale));
}
