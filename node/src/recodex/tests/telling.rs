//! What the monitor hears of facts.

use bytes::Bytes;
use protocol::recodex::outcome;
use protocol::{Fact, LossCause, Outcome};

use super::scene::*;
use crate::recodex::monitor;

fn told(book: &Book, facts: &[Fact]) -> Vec<Vec<Bytes>> {
    facts.iter().filter_map(|fact| monitor::of_fact(&fact.what, &book.0)).collect()
}

fn ended(status: &str) -> Outcome {
    outcome(status, "why").expect("a known status")
}

/// Job 1, which may fail twice, runs.
fn running() -> Book {
    let mut book = Book::new();
    book.submit(1);
    book.assign(1, 1, HERE, BOOT);
    book
}

#[test]
fn a_lost_worker_aborts_and_the_last_one_that_may_be_lost_fails() {
    let mut book = running();
    let facts = book.lose(1, 1, LossCause::Left);
    assert_eq!(told(&book, &facts), [frames(&["j1", "ABORTED"])]);
    book.assign(1, 2, HERE, BOOT);
    let facts = book.lose(1, 2, LossCause::Silent);
    assert_eq!(told(&book, &facts), [frames(&["j1", "FAILED"])]);
}

#[test]
fn what_no_worker_had_is_not_aborted() {
    let mut book = running();
    let facts = book.lose(1, 1, LossCause::Unbegun);
    assert!(!facts.is_empty() && told(&book, &facts).is_empty());
}

#[test]
fn a_job_that_is_given_up_fails_and_one_that_was_bad_or_is_tried_again_says_nothing() {
    let mut book = running();
    let facts = book.finish(1, 1, ended("INTERNAL_ERROR"));
    assert!(!facts.is_empty() && told(&book, &facts).is_empty(), "it is tried again");
    book.release(1);
    book.assign(1, 2, HERE, BOOT);
    let facts = book.finish(1, 2, ended("INTERNAL_ERROR"));
    assert_eq!(told(&book, &facts), [frames(&["j1", "FAILED"])]);
    for status in ["FAILED", "OK"] {
        let mut book = running();
        let facts = book.finish(1, 1, ended(status));
        assert!(!facts.is_empty() && told(&book, &facts).is_empty(), "{status}");
    }
    let mut book = Book::new();
    book.submit(1);
    let facts = book.expire(1);
    assert_eq!(told(&book, &facts), [frames(&["j1", "FAILED"])]);
}

#[test]
fn other_jobs_are_none_of_the_monitors() {
    let (mut book, spec) = (Book::new(), protocol::submit::defaults("echo"));
    book.submit_other(1, spec);
    book.assign(1, 1, HERE, BOOT);
    let facts = book.lose(1, 1, LossCause::Left);
    assert!(!facts.is_empty() && told(&book, &facts).is_empty());
}

#[test]
fn a_message_is_addressed_to_the_monitor_by_name() {
    let news = monitor::addressed(monitor::news("j1", monitor::FAILED));
    assert_eq!(news, frames(&["recodex-monitor", "j1", "FAILED"]));
}
