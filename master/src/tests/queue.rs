use super::scene::*;
use crate::queue::{Look, Place, Queue};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use protocol::{JobId, JobSpec, More, Share};

const STEPS: usize = 1_000;

fn waits(book: &mut Book, queue: &mut Queue, job: u128, spec: JobSpec) {
    book.submit(job, spec);
    queue.insert(&book.ledger, JobId(job));
}

fn of(class: &str, priority: u8) -> JobSpec {
    JobSpec { priority, ..spec(class) }
}

fn by(submitter: &str, class: &str) -> JobSpec {
    JobSpec { submitter: submitter.to_string(), ..spec(class) }
}

fn keyed(key: &str) -> JobSpec {
    let share = Share { key: key.to_string(), concurrency: Some(1), rate: None };
    JobSpec { more: More { limits: Some(share), ..More::default() }, ..spec("a") }
}

fn first(queue: &mut Queue) -> Option<Place> {
    queue.wake();
    let mut look = queue.look(STEPS)?;
    queue.next(&mut look)
}

fn who(book: &Book, queue: &Queue, place: &Place) -> u128 {
    queue.job_at(&book.ledger, place).unwrap().0
}

fn drained(book: &Book, queue: &mut Queue) -> Vec<u128> {
    let mut order = Vec::new();
    while let Some(place) = first(queue) {
        order.push(who(book, queue, &place));
        queue.take(&place);
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
    queue.wake();
    assert!(queue.look(STEPS).is_none(), "nothing is left to look at");
}

#[test]
fn submitters_take_turns_whatever_their_jobs_ask_for() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for job in 1..=6 {
        waits(&mut book, &mut queue, job, by("anna", if job % 2 == 0 { "a" } else { "b" }));
    }
    book.clock_ms = 100_000;
    for (job, submitter) in [(11, "bert"), (12, "bert"), (21, ""), (13, "bert")] {
        waits(&mut book, &mut queue, job, by(submitter, "c"));
    }
    assert_eq!(drained(&book, &mut queue), [1, 11, 21, 2, 12, 3, 13, 4, 5, 6]);
}

#[test]
fn who_comes_anew_goes_in_the_next_round_and_who_asks_one_by_one_gets_no_more_than_others() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for job in 1..=4 {
        waits(&mut book, &mut queue, job, by("anna", "a"));
    }
    let mut order = Vec::new();
    let mut waiting = false;
    for turn in 0..8 {
        if turn > 0 && !waiting {
            waits(&mut book, &mut queue, 10 + turn, by("bert", "a"));
            waiting = true;
        }
        let place = first(&mut queue).unwrap();
        order.push(who(&book, &queue, &place));
        waiting = order.last().is_some_and(|job| *job < 10) && waiting;
        queue.take(&place);
    }
    assert_eq!(order, [1, 2, 11, 3, 13, 4, 15, 17]);
}

#[test]
fn a_look_sees_one_job_of_each_shape_and_passes_the_others_by() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for n in 0..100 {
        let class = if n % 2 == 0 { "even" } else { "odd" };
        waits(&mut book, &mut queue, n, by(["anna", "bert", "carl"][n as usize % 3], class));
    }
    let mut look = queue.look(STEPS).unwrap();
    // Whose turn it is comes before whose job is older.
    for expected in [0, 3] {
        let place = queue.next(&mut look).unwrap();
        assert_eq!(who(&book, &queue, &place), expected);
        look.pass(&place);
    }
    assert_eq!(queue.next(&mut look), None);
    assert!(look.affords(STEPS - 20), "one step for each submitter and head, however many jobs there are");
}

#[test]
fn a_paused_look_goes_on_where_it_stopped_and_then_begins_anew_if_something_came() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    waits(&mut book, &mut queue, 1, of("a", 4));
    waits(&mut book, &mut queue, 2, of("c", 4));
    let mut look = queue.look(STEPS).unwrap();
    let place = queue.next(&mut look).unwrap();
    look.pass(&place);
    queue.pause(look);
    waits(&mut book, &mut queue, 3, of("b", 3));
    let mut look = queue.look(STEPS).unwrap();
    assert_eq!(queue.next(&mut look).map(|place| who(&book, &queue, &place)), Some(2));
    let mut look = queue.look(STEPS).unwrap();
    assert_eq!(queue.next(&mut look).map(|place| who(&book, &queue, &place)), Some(1));
    assert!(queue.look(STEPS).is_none());
}

#[test]
fn a_look_without_steps_finds_nothing_and_takes_no_more() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    waits(&mut book, &mut queue, 1, of("a", 4));
    let mut look: Look = queue.look(0).unwrap();
    assert_eq!(queue.next(&mut look), None);
    assert!(!look.affords(1));
}

#[test]
fn a_job_that_arrives_gets_its_place_among_those_of_the_ledger_once_it_is_there() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    let asked = Arc::new(of("a", 4));
    queue.arrive(JobId(2), &asked, 0);
    waits(&mut book, &mut queue, 1, of("a", 4));
    assert!(queue.arriving(JobId(2)).is_some() && queue.contains(&book.ledger, JobId(1)));
    assert_eq!(first(&mut queue).map(|place| who(&book, &queue, &place)), Some(1));
    waits(&mut book, &mut queue, 2, of("a", 4));
    assert!(queue.arriving(JobId(2)).is_none() && queue.contains(&book.ledger, JobId(2)));
    assert_eq!(drained(&book, &mut queue), [1, 2]);
}

#[test]
fn who_arrives_keeps_its_round_when_it_has_arrived() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for job in 1..=3 {
        waits(&mut book, &mut queue, job, by("anna", "a"));
    }
    queue.arrive(JobId(11), &Arc::new(by("bert", "a")), 0);
    let place = first(&mut queue).unwrap();
    queue.take(&place);
    queue.arrived(JobId(11));
    waits(&mut book, &mut queue, 11, by("bert", "a"));
    assert_eq!(drained(&book, &mut queue), [11, 2, 3], "it is in the round that goes on");
}

#[test]
fn a_job_is_taken_out_wherever_it_stands() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    let asked = Arc::new(of("a", 4));
    queue.arrive(JobId(9), &asked, 0);
    queue.remove(&book.ledger, JobId(9));
    assert!(first(&mut queue).is_none() && queue.arriving(JobId(9)).is_some(), "it still arrives");
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

#[test]
fn what_its_key_holds_back_is_not_looked_at_until_it_is_released() {
    let (mut book, mut queue) = (Book::new(), Queue::default());
    for (job, spec) in [(1, keyed("x")), (2, keyed("x")), (3, keyed("y")), (4, spec("a"))] {
        waits(&mut book, &mut queue, job, spec);
    }
    let place = first(&mut queue).unwrap();
    queue.hold_back(&place);
    assert_eq!((who(&book, &queue, &place), queue.held_back_by("x").count()), (1, 1));
    waits(&mut book, &mut queue, 5, keyed("x"));
    queue.remove(&book.ledger, JobId(1));
    assert_eq!(drained(&book, &mut queue), [3, 4]);
    let shares: Vec<Share> = queue.held_back_by("x").cloned().collect();
    shares.iter().for_each(|share| queue.release(share));
    assert_eq!(drained(&book, &mut queue), [2, 5]);
    waits(&mut book, &mut queue, 6, keyed("z"));
    let place = first(&mut queue).unwrap();
    queue.hold_back(&place);
    queue.remove(&book.ledger, JobId(6));
    assert_eq!(queue.held_back_by("z").count(), 0, "nothing is remembered of who is gone");
}
