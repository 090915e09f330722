//! What becomes of jobs after their end: they stay a while, become history, and are forgotten.

use super::scene::*;
use crate::{Bounds, Effect, Retention};
use alloc::sync::Arc;
use alloc::vec::Vec;
use protocol::limits::{FORGET_JOBS, KEEP_BYTES, KEEP_JOBS, KEEP_MS};
use protocol::{
    Answer, AttemptRef, Boot, Command, JobId, JobSpec, JobState, Origin, Refusal, Request, ToMaster, Verdict,
    What,
};

/// So many ended jobs are held.
fn keeping(ended_jobs: u64) -> Bounds {
    Bounds { ended_jobs, ..Bounds::default() }
}

/// Submits a job and cancels it, in two entries.
fn end_one(book: &mut Book, job: u128) {
    book.submit(job, spec("echo"));
    book.cancel(job);
}

fn held(book: &Book) -> Vec<u128> {
    book.ledger.newest(None).map(|job| job.id.0).collect()
}

#[test]
fn who_ended_first_leaves_first_whatever_the_order_of_acceptance() {
    let mut book = Book::with_bounds(keeping(2));
    for job in 1..=5 {
        book.submit(job, spec("echo"));
    }
    for job in [3, 1, 5, 2] {
        book.cancel(job);
    }
    // An entry lets go before it does anything: what it ends can be looked at after it.
    assert_eq!(held(&book), [5, 4, 2, 1]);
    book.submit(6, spec("echo"));
    assert_eq!(held(&book), [6, 5, 4, 2]);
    assert_eq!((book.ledger.last_end(), book.ledger.counts()[&JobState::Cancelled]), (4, 4));
    assert_eq!(book.job(2).ending.map(|ending| ending.number), Some(4));
    assert_eq!(book.ledger.newest(Some(5)).map(|job| job.id.0).collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn an_entry_that_ends_more_than_is_held_can_be_looked_at_until_the_next_one() {
    let mut book = Book::with_bounds(keeping(3));
    for job in 1..=20 {
        book.submit(job, spec("echo"));
    }
    book.entry((1..=20).map(|job| Command::Cancel { job: JobId(job) }).collect());
    assert!((1..=20).all(|job| book.state(job) == JobState::Cancelled));
    book.entry(Vec::new());
    assert_eq!(held(&book), [20, 19, 18]);
}

#[test]
fn bytes_of_what_left_are_not_counted_and_bytes_are_a_bound_too() {
    let large = JobSpec { payload: bytes::Bytes::from(alloc::vec![0; 10_000]), ..spec("echo") };
    let mut book = Book::with_bounds(Bounds { ended_bytes: 25_000, live_bytes: 40_000, ..Bounds::default() });
    for job in 1..=50 {
        assert_eq!(book.submit(job, large.clone()), Answer::Accepted { job: JobId(job), replayed: false });
        book.cancel(job);
    }
    assert_eq!(held(&book).len(), 3, "what was held when the last entry began, and its own");
    assert!(book.ledger.live_bytes() < 40_000, "{}", book.ledger.live_bytes());
}

#[test]
fn a_result_that_comes_after_its_job_left_is_a_recorded_nothing() {
    let mut book = Book::with_bounds(keeping(1));
    book.submit(1, spec("echo"));
    book.assign(1, 1, ANNA);
    book.cancel(1);
    end_one(&mut book, 2);
    book.entry(Vec::new());
    assert!(book.ledger.job(JobId(1)).is_none());
    let digest = book.ledger.digest();
    let effects = book.finish(1, 1, ANNA, success("late"));
    assert_eq!(effects, [Effect::Void { command: 0, job: Some(JobId(1)) }]);
    assert_ne!(book.ledger.digest(), digest, "the entry counts all the same");
    assert!(is_void(&book.cancel(1)) && book.ledger.last_end() == 2);
}

#[test]
fn a_key_lives_on_when_its_job_has_left_and_ends_when_it_is_forgotten() {
    let mut book = Book::with_bounds(keeping(1));
    let origin = |number| Origin { gateway: BERT, boot: Boot(1), number, floor: number };
    book.submit_as(1, spec("echo"), Some("k"), [1; 32], origin(1));
    book.cancel(1);
    (2..=9).for_each(|job| end_one(&mut book, job));
    assert!(book.ledger.job(JobId(1)).is_none());
    let again = book.submit_as(10, spec("echo"), Some("k"), [1; 32], origin(2));
    assert_eq!(again, Answer::Accepted { job: JobId(1), replayed: true });
    let other = book.submit_as(11, spec("echo"), Some("k"), [2; 32], origin(3));
    assert_eq!(other, Answer::Refused(Refusal::KeyReused { job: JobId(1) }));
    book.one(Command::Forget { after: 0, upto: 1 });
    assert!(!book.ledger.knows_key("k"));
    let anew = book.submit_as(12, spec("echo"), Some("k"), [1; 32], origin(4));
    assert_eq!(anew, Answer::Accepted { job: JobId(12), replayed: false });
}

#[test]
fn forgetting_is_decided_by_applying_and_lets_jobs_in_memory_go_too() {
    let mut book = Book::with_bounds(keeping(10));
    (1..=5).for_each(|job| end_one(&mut book, job));
    for (after, upto) in [(1, 2), (0, 0), (0, 6), (0, FORGET_JOBS + 1)] {
        assert!(is_void(&book.one(Command::Forget { after, upto })), "{after} to {upto}");
    }
    assert_eq!(facts(&book.one(Command::Forget { after: 0, upto: 3 })), [What::Forgotten { upto: 3 }]);
    book.entry(Vec::new());
    assert_eq!((held(&book), book.ledger.forgotten().upto), ([5, 4].to_vec(), 3));
    assert!(book.ledger.forgotten().wall_ms >= 1_000_000, "a time until which it is forgotten is known");
}

#[test]
fn what_is_past_its_retention_is_over_by_number_by_age_or_by_bytes() {
    let mut book = Book::with_bounds(keeping(2));
    let all = Retention::default();
    for hour in 0..10 {
        book.clock_ms = hour * 3_600_000;
        end_one(&mut book, 1 + u128::from(hour));
    }
    let now_ms = 9 * 3_600_000;
    let past = |book: &Book, retention| book.ledger.past(&retention, now_ms);
    assert_eq!(past(&book, all), None);
    assert_eq!(past(&book, Retention { keep_jobs: 4, ..all }), Some(6));
    assert_eq!(past(&book, Retention { keep_ms: 2 * 3_600_000, ..all }), Some(8));
    assert_eq!(past(&book, Retention { keep_ms: 10 * 3_600_000, ..all }), None);
    let bytes = spec("echo").weight_bytes();
    assert_eq!(past(&book, Retention { keep_bytes: 3 * bytes, ..all }), Some(7));
    book.one(Command::Forget { after: 0, upto: 8 });
    assert_eq!(past(&book, Retention { keep_ms: 2 * 3_600_000, ..all }), None, "that is forgotten already");
    assert_eq!((all.keep_ms, all.keep_jobs, all.keep_bytes), (KEEP_MS, KEEP_JOBS, KEEP_BYTES));
}

#[test]
fn marks_stay_bounded_however_long_history_grows() {
    let mut book = Book::with_bounds(keeping(1));
    let mut marks = crate::marks::Marks::default();
    for hour in 0..100_000 {
        let clock_ms = hour * 3_600_000;
        marks.note(crate::marks::Mark { number: hour + 1, clock_ms, wall_ms: clock_ms, bytes: hour });
    }
    let days_30 = |mark: &crate::marks::Mark| mark.clock_ms + KEEP_MS <= 99_999 * 3_600_000;
    let exact = 100_000 - 30 * 24;
    let found = marks.newest(days_30).map_or(0, |mark| mark.number);
    assert!(found <= exact && exact - found <= 64, "{found} of {exact}: never too much, little too late");
    marks.forget(found);
    assert_eq!(marks.newest(days_30), None);
    end_one(&mut book, 1);
}

#[test]
fn a_leader_forgets_what_is_past_in_bounded_steps() {
    let mut scene = Scene::with_bounds(&[2], keeping(5));
    scene.settings.retention.keep_jobs = 10;
    scene.promote();
    for _ in 0..30 {
        let job = scene.submit(spec("nobody serves this"));
        scene.ask(ANNA, Request::Cancel { job });
    }
    scene.pass(100);
    assert_eq!((scene.ledger.last_end(), scene.ledger.forgotten().upto), (30, 20));
    let digest = scene.ledger.digest();
    scene.pass(1_000);
    assert_eq!(scene.ledger.digest(), digest, "and nothing is proposed when nothing more is past");
}

#[test]
fn a_late_result_of_a_job_that_left_is_answered_as_forgotten_also_when_it_was_on_its_way() {
    let mut scene = Scene::with_bounds(&[2], keeping(1));
    let (one, two) = (scene.submit(spec("echo")), scene.submit(spec("echo")));
    let attempt = |job| AttemptRef { job, attempt: 1 };
    for worker in scene.workers.values_mut() {
        worker.cut = true;
    }
    for job in [one, two] {
        let number = scene.forward(ANNA, Request::Cancel { job });
        assert!(number > 0);
        scene.turn();
    }
    // The second job is still held; its late result is on its way when it leaves.
    let outcome = success("late");
    let bring = ToMaster::Result { attempt: attempt(two), outcome: Arc::clone(&outcome) };
    scene.master.heard(&scene.ledger, ANNA, Boot(1), 1, bring);
    let third = JobId(77);
    let origin = Origin { gateway: BERT, boot: Boot(1), number: 1, floor: 1 };
    let submit = Command::Submit {
        job: third,
        spec: Arc::new(spec("nobody serves this")),
        key: None,
        fingerprint: [0; 32],
        origin,
    };
    for commands in [[submit].to_vec(), [Command::Cancel { job: third }].to_vec(), Vec::new()] {
        scene.apply(&protocol::Entry { clock_ms: 0, wall_ms: 0, term: 5, commands });
    }
    assert!(scene.ledger.job(two).is_none());
    for worker in scene.workers.values_mut() {
        worker.cut = false;
    }
    scene.turn();
    let late = ToMaster::Result { attempt: attempt(one), outcome };
    scene.master.heard(&scene.ledger, ANNA, Boot(1), 1, late);
    scene.turn();
    let settled = &scene.workers[&ANNA].settled;
    assert_eq!(settled, &[(attempt(two), Verdict::Forgotten), (attempt(one), Verdict::Forgotten)]);
}

#[test]
fn a_hundred_thousand_ended_jobs_leave_one_old_open_job_and_a_bounded_tail() {
    let mut book = Book::new();
    book.submit(1, spec("echo"));
    for round in 0..100_u128 {
        let jobs = (0..1_000).map(|n| JobId(2 + round * 1_000 + n));
        let mut commands = Vec::new();
        for job in jobs {
            let origin = book.origin();
            let spec = Arc::new(spec("echo"));
            commands.push(Command::Submit { job, spec, key: None, fingerprint: [0; 32], origin });
            commands.push(Command::Cancel { job });
        }
        let index = book.ledger.applied() + 1;
        book.ledger.apply(index, &protocol::Entry { clock_ms: 0, wall_ms: 0, term: 5, commands });
    }
    book.entry(Vec::new());
    assert_eq!(book.ledger.newest(None).count() as u64, protocol::limits::ENDED_JOBS + 1);
    assert_eq!(book.ledger.newest(None).last().map(|job| job.id), Some(JobId(1)));
    assert_eq!(book.ledger.last_end(), 100_000);
}
