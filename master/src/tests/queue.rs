use super::scene::*;
use crate::queue::Queue;
use alloc::sync::Arc;
use alloc::vec::Vec;
use protocol::{JobId, JobSpec};

fn waits(book: &mut Book, queue: &mut Queue, job: u128, spec: JobSpec) {
    book.submit(job, spec);
    queue.insert(&book.ledger, JobId(job));
}

fn of(class: &str, priority: u8) -> JobSpec {
    JobSpec { priority, ..spec(class) }
}

fn drained(book: &Book, queue: &mut Queue) -> Vec<u128> {
    let mut order = Vec::new();
    while let Some(place) = queue.next(None) {
        order.push(queue.job_at(&book.ledger, place).unwrap().0);
        queue.take(place);
    }
    order
}

#[test]
fn priority_comes_first_then_age_and_waiting_raises_by_one_level_in_30_s() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for (job, class, priority, at_ms) in [
        (1, "a", 4, 0),
        (3, "a", 4, 0),
        (6, "a", 0, 0),
        (2, "b", 9, 1_000),
        (4, "b", 5, 29_000),
        (5, "b", 5, 31_000),
        (7, "a", 9, 271_000),
    ] {
        book.clock_ms = at_ms;
        waits(&mut book, &mut queue, job, of(class, priority));
    }
    assert_eq!(drained(&book, &mut queue), [2, 4, 1, 3, 5, 6, 7]);
    assert!(queue.look().is_none(), "nothing is left to look at");
}

#[test]
fn a_look_sees_one_job_of_each_shape() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for n in 0..100 {
        waits(&mut book, &mut queue, n, of(if n % 2 == 0 { "even" } else { "odd" }, 4));
    }
    let first = queue.next(None).unwrap();
    let second = queue.next(Some(first)).unwrap();
    let job = |place| queue.job_at(&book.ledger, place);
    assert_eq!((job(first), job(second), queue.next(Some(second))), (Some(JobId(0)), Some(JobId(1)), None));
}

#[test]
fn a_paused_look_goes_on_where_it_stopped_and_then_begins_anew_if_something_came() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    waits(&mut book, &mut queue, 1, of("a", 4));
    assert_eq!(queue.look(), Some(None));
    let place = queue.next(None).unwrap();
    queue.pause(Some(place));
    waits(&mut book, &mut queue, 2, of("b", 9));
    assert_eq!(queue.look(), Some(Some(place)));
    assert_eq!(queue.look(), Some(None));
    assert_eq!(queue.look(), None);
}

#[test]
fn a_job_that_arrives_gets_its_place_among_those_of_the_ledger_once_it_is_there() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    let asked = Arc::new(of("a", 4));
    queue.arrive(JobId(2), &asked, 0);
    waits(&mut book, &mut queue, 1, of("a", 4));
    assert!(queue.arriving(JobId(2)).is_some() && queue.contains(&book.ledger, JobId(1)));
    assert_eq!(queue.next(None).and_then(|place| queue.job_at(&book.ledger, place)), Some(JobId(1)));
    waits(&mut book, &mut queue, 2, of("a", 4));
    assert!(queue.arriving(JobId(2)).is_none() && queue.contains(&book.ledger, JobId(2)));
    assert_eq!(drained(&book, &mut queue), [1, 2]);
}

#[test]
fn a_job_is_taken_out_wherever_it_stands() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    let asked = Arc::new(of("a", 4));
    queue.arrive(JobId(9), &asked, 0);
    queue.remove(&book.ledger, JobId(9));
    assert!(queue.next(None).is_none() && queue.arriving(JobId(9)).is_some(), "it still arrives");
    queue.arrive(JobId(8), &asked, 0);
    queue.arrived(JobId(8));
    for job in 1..=3 {
        waits(&mut book, &mut queue, job, of("a", 4));
    }
    book.cancel(1);
    queue.remove(&book.ledger, JobId(1));
    queue.remove(&book.ledger, JobId(77));
    assert_eq!(drained(&book, &mut queue), [2, 3]);
}
