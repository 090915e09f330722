//! Several jobs with one acknowledgement: all or none, once.

use super::scene::*;
use crate::Bounds;
use alloc::sync::Arc;
use alloc::vec::Vec;
use protocol::{Answer, Batch, Boot, Command, JobId, JobState, Origin, Refusal, Request};

fn batch(first: u128, jobs: usize, key: Option<&str>, fingerprint: u8) -> Batch {
    let specs = (0..jobs).map(|_| Arc::new(spec("echo"))).collect();
    Batch { first: JobId(first), specs, key: key.map(Into::into), fingerprint: [fingerprint; 32] }
}

fn submit(book: &mut Book, number: u64, batch: Batch) -> Answer {
    let origin = Origin { gateway: BERT, boot: Boot(1), number, floor: 1 };
    let effects = book.one(Command::SubmitAll { batch: Arc::new(batch), origin });
    book.ledger.check();
    let answers = effects.into_iter().filter_map(|effect| match effect {
        crate::Effect::Decided { answer, .. } => Some(answer),
        _ => None,
    });
    answers.last().unwrap()
}

#[test]
fn all_jobs_of_a_batch_are_accepted_in_their_order_under_ids_that_follow_each_other() {
    let mut book = Book::new();
    let answer = submit(&mut book, 1, batch(100, 3, None, 0));
    assert_eq!(answer, Answer::AllAccepted { first: JobId(100), jobs: 3, replayed: false });
    let orders: Vec<u64> = (100..103).map(|job| book.job(job).order).collect();
    assert_eq!(orders, [1, 2, 3]);
    assert!((100..103).all(|job| book.state(job) == JobState::Queued));
}

#[test]
fn a_repeat_by_number_by_id_or_by_key_makes_no_second_jobs_and_another_body_is_refused() {
    let mut book = Book::new();
    let accepted = |replayed| Answer::AllAccepted { first: JobId(100), jobs: 3, replayed };
    assert_eq!(submit(&mut book, 1, batch(100, 3, Some("k"), 7)), accepted(false));
    assert_eq!(submit(&mut book, 1, batch(200, 3, Some("k"), 7)), accepted(false), "by number");
    assert_eq!(submit(&mut book, 2, batch(100, 3, None, 0)), accepted(false), "by id");
    assert_eq!(submit(&mut book, 3, batch(300, 3, Some("k"), 7)), accepted(true), "by key");
    let other = submit(&mut book, 4, batch(400, 2, Some("k"), 8));
    assert_eq!(other, Answer::Refused(Refusal::KeyReused { job: JobId(100) }));
    assert_eq!(book.ledger.newest(None).count(), 3);
}

#[test]
fn a_batch_that_does_not_fit_is_refused_as_a_whole() {
    let mut book = Book::with_bounds(Bounds { open_jobs: 5, ..Bounds::default() });
    submit(&mut book, 1, batch(100, 3, None, 0));
    assert_eq!(submit(&mut book, 2, batch(200, 3, None, 0)), Answer::Refused(Refusal::Full));
    assert_eq!(book.ledger.newest(None).count(), 3);
    let fits = submit(&mut book, 3, batch(300, 2, None, 0));
    assert_eq!(fits, Answer::AllAccepted { first: JobId(300), jobs: 2, replayed: false });
}

#[test]
fn a_leader_hands_out_the_jobs_of_a_batch_as_any_others() {
    let mut scene = Scene::with_slots(&[2, 2]);
    let answer = scene.ask(BERT, Request::SubmitAll(batch(100, 10, None, 0)));
    assert_eq!(answer, Some(Answer::AllAccepted { first: JobId(100), jobs: 10, replayed: false }));
    for _ in 0..10 {
        for job in 100..110 {
            if let Some((node, attempt)) = scene.holder(JobId(job)) {
                scene.finish(node, attempt, success("x"));
            }
        }
    }
    assert!((100..110).all(|job| scene.state(JobId(job)) == JobState::Succeeded));
}
