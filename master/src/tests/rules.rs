//! What each command does, and when it does nothing.

use super::scene::*;
use crate::{Bounds, Effect};
use protocol::{
    Answer, AttemptRef, AttemptState, Boot, Change, Command, JobId, JobSpec, JobState, LossCause, Member,
    NodeId, Reason, Refusal, Rev, What,
};

fn with_tries(max_attempts: u32) -> JobSpec {
    JobSpec { max_attempts, retry_base_ms: 1_000, retry_max_ms: 3_000, ..spec("echo") }
}

#[test]
fn a_job_walks_from_acceptance_to_its_one_result() {
    let mut book = Book::new();
    assert_eq!(book.submit(7, spec("echo")), Answer::Accepted { job: JobId(7), replayed: false });
    assert_eq!((book.state(7), book.job(7).order), (JobState::Queued, 1));
    let attempt = AttemptRef { job: JobId(7), attempt: 1 };
    assert_eq!(facts(&book.assign(7, 1, BERT)), [What::Assigned { attempt, node: BERT }]);
    assert_eq!(book.ledger.attempts_on(BERT).collect::<std::vec::Vec<_>>(), [(attempt, Boot(1))]);
    let what = What::Finished { attempt, node: BERT, state: JobState::Succeeded, reason: None };
    assert_eq!(facts(&book.finish(7, 1, BERT, success("hi"))), [what]);
    let job = book.job(7);
    assert_eq!((job.state, job.result.clone()), (JobState::Succeeded, Some(success("hi"))));
    let tried = &job.attempts[0];
    assert_eq!(
        (tried.state, tried.term, tried.cpu_ms, tried.exit_code),
        (AttemptState::Succeeded, 5, Some(7), Some(0))
    );
    assert_eq!(job.rev, Rev { epoch: 0, index: book.ledger.applied(), n: 0 });
    assert_eq!((book.ledger.attempts_on(BERT).count(), book.ledger.open_jobs()), (0, 0));
}

/// For every state of a job: which commands still do something to it.
#[test]
fn a_command_that_no_longer_fits_is_a_recorded_no_op() {
    let id = JobId(1);
    let assign = |attempt, boot| Command::Assign { job: id, attempt, node: BERT, boot: Boot(boot) };
    let finish = |attempt, node| Command::Finish { job: id, attempt, node, outcome: success("x") };
    let requeue = |attempt| Command::Requeue { job: id, attempt, cause: LossCause::Silent };
    let (cancel, release) = (Command::Cancel { job: id }, Command::Release { job: id });
    let expire = Command::Expire { job: id, reason: Reason::Expired };
    let stranger = Command::Assign { job: id, attempt: 1, node: NodeId(77), boot: Boot(1) };
    let all = [
        assign(1, 1),
        assign(2, 1),
        assign(1, 2),
        stranger,
        finish(1, BERT),
        finish(1, CARL),
        finish(0, BERT),
        finish(2, BERT),
        requeue(1),
        requeue(2),
        cancel,
        release,
        expire,
    ];
    // Places in the list above of the commands that do something.
    let table: [(&str, &[usize]); 7] = [
        ("unknown", &[]),
        ("queued", &[0, 10, 12]),
        ("running", &[4, 8, 10]),
        ("scheduled", &[10, 11, 12]),
        ("succeeded", &[]),
        ("failed", &[]),
        ("cancelled", &[4]),
    ];
    for (state, effective) in table {
        for (place, command) in all.iter().enumerate() {
            let mut book = in_state(state);
            let before = book.ledger.job(id);
            let effects = book.one(command.clone());
            assert_eq!(
                !is_void(&effects),
                effective.contains(&place),
                "{command:?} on a job that is {state}"
            );
            if is_void(&effects) {
                assert_eq!(effects, [Effect::Void { command: 0, job: Some(id) }]);
                assert_eq!(book.ledger.job(id), before, "a no-op changes nothing");
            }
        }
    }
}

fn in_state(state: &str) -> Book {
    let mut book = Book::new();
    if state != "unknown" {
        book.submit(1, with_tries(if state == "scheduled" { 2 } else { 1 }));
    }
    if !["unknown", "queued"].contains(&state) {
        book.assign(1, 1, BERT);
    }
    match state {
        "scheduled" | "failed" => drop(book.finish(1, 1, BERT, failure())),
        "succeeded" => drop(book.finish(1, 1, BERT, success("first"))),
        "cancelled" => drop(book.cancel(1)),
        _ => {}
    }
    book.clock_ms = 10_000;
    book
}

#[test]
fn one_result_the_first_success_of_any_attempt_ends_the_job() {
    let mut book = Book::new();
    book.submit(1, spec("echo"));
    book.assign(1, 1, BERT);
    book.requeue(1, 1, LossCause::Silent);
    book.assign(1, 2, CARL);
    book.finish(1, 1, BERT, success("late but first"));
    let job = book.job(1);
    assert_eq!((job.state, job.result.clone()), (JobState::Succeeded, Some(success("late but first"))));
    assert_eq!(job.attempts[0].state, AttemptState::Succeeded);
    assert_eq!(job.attempts[1].state, AttemptState::Superseded);
    let attempt = AttemptRef { job: JobId(1), attempt: 2 };
    let late = book.finish(1, 2, CARL, success("second"));
    assert_eq!(facts(&late), [What::Superseded { attempt, node: CARL }]);
    assert_eq!(book.job(1).result, Some(success("late but first")));
    assert!(is_void(&book.finish(1, 2, CARL, success("second"))), "noted once");
}

#[test]
fn terminal_is_final_whatever_comes_later() {
    let mut book = Book::new();
    book.submit(1, spec("echo"));
    book.assign(1, 1, BERT);
    book.cancel(1);
    assert_eq!(book.job(1).attempts[0].state, AttemptState::Cancelled);
    book.finish(1, 1, BERT, success("too late"));
    let job = book.job(1);
    assert_eq!((job.state, job.result.clone()), (JobState::Cancelled, None));
    assert_eq!((job.attempts[0].state, job.attempts[0].cpu_ms), (AttemptState::Cancelled, Some(7)));
}

#[test]
fn a_failure_is_tried_again_after_a_pause_that_doubles_up_to_its_limit() {
    let mut book = Book::new();
    book.submit(1, with_tries(5));
    for (attempt, pause_ms) in [(1, 1_000), (2, 2_000), (3, 3_000), (4, 3_000)] {
        book.assign(1, attempt, BERT);
        book.finish(1, attempt, BERT, failure());
        assert_eq!(book.job(1).not_before_ms, Some(book.clock_ms + pause_ms), "after attempt {attempt}");
        book.clock_ms += pause_ms - 1;
        assert!(is_void(&book.one(Command::Release { job: JobId(1) })), "its pause is not over");
        book.clock_ms += 1;
        assert_eq!(facts(&book.one(Command::Release { job: JobId(1) })), [What::Released { job: JobId(1) }]);
    }
    book.assign(1, 5, BERT);
    book.finish(1, 5, BERT, failure());
    let job = book.job(1);
    assert_eq!((job.state, job.reason, job.failures), (JobState::Failed, Some(Reason::Exit), 5));
    assert_eq!(job.result, Some(failure()), "the last failure is the result");
}

#[test]
fn a_late_failure_of_a_lost_attempt_is_only_noted() {
    let mut book = Book::new();
    book.submit(1, with_tries(1));
    book.assign(1, 1, BERT);
    book.requeue(1, 1, LossCause::Silent);
    book.assign(1, 2, CARL);
    let attempt = AttemptRef { job: JobId(1), attempt: 1 };
    assert_eq!(facts(&book.finish(1, 1, BERT, failure())), [What::Superseded { attempt, node: BERT }]);
    let job = book.job(1);
    assert_eq!((job.state, job.failures), (JobState::Running, 0));
    assert_eq!((job.attempts[0].state, job.attempts[0].exit_code), (AttemptState::Lost, Some(3)));
    assert!(is_void(&book.finish(1, 1, BERT, failure())));
}

#[test]
fn lost_workers_are_counted_apart_with_a_doubling_pause_until_the_job_is_poison() {
    let mut book = Book::new();
    book.submit(1, JobSpec { max_lost: 4, max_attempts: 1, retry_max_ms: 60_000, ..spec("echo") });
    for (attempt, pause_ms) in [(1, None), (2, Some(1_000)), (3, Some(2_000))] {
        book.assign(1, attempt, BERT);
        book.requeue(1, attempt, LossCause::Silent);
        assert_eq!(book.job(1).not_before_ms, pause_ms.map(|pause_ms| book.clock_ms + pause_ms));
        book.clock_ms += pause_ms.unwrap_or(0);
        book.one(Command::Release { job: JobId(1) });
        assert_eq!(book.state(1), JobState::Queued);
    }
    book.assign(1, 4, BERT);
    book.requeue(1, 4, LossCause::Silent);
    let job = book.job(1);
    assert_eq!((job.state, job.reason, job.lost, job.failures), (JobState::Failed, Some(Reason::Lost), 4, 0));
}

#[test]
fn restarts_do_not_make_a_job_poison_but_attempts_are_bounded() {
    let mut book = Book::with_bounds(Bounds { attempts: 20, ..Bounds::default() });
    book.submit(1, JobSpec { max_lost: 2, ..spec("echo") });
    for attempt in 1..20 {
        book.assign(1, attempt, BERT);
        book.requeue(1, attempt, LossCause::Restarted);
        assert_eq!((book.state(1), book.job(1).lost), (JobState::Queued, 0));
    }
    book.assign(1, 20, BERT);
    book.requeue(1, 20, LossCause::Restarted);
    assert_eq!((book.state(1), book.job(1).reason), (JobState::Failed, Some(Reason::Lost)));
}

#[test]
fn nothing_is_taken_before_enough_voters_were_in_sync_nor_past_the_bounds() {
    let mut book = Book::with_bounds(Bounds { open_jobs: 2, ..Bounds::default() });
    let mut closed = Book::new();
    closed.ledger = crate::Ledger::new();
    assert_eq!(closed.submit(1, spec("echo")), Answer::Refused(Refusal::Starting));
    assert!(matches!(book.submit(1, spec("echo")), Answer::Accepted { .. }));
    assert!(matches!(book.submit(2, spec("echo")), Answer::Accepted { .. }));
    assert_eq!(book.submit(3, spec("echo")), Answer::Refused(Refusal::Full));
    book.cancel(1);
    assert!(matches!(book.submit(4, spec("echo")), Answer::Accepted { .. }), "ended jobs make room");
    let bytes = spec("echo").weight_bytes();
    let mut book = Book::with_bounds(Bounds { live_bytes: bytes + 1, ..Bounds::default() });
    assert!(matches!(book.submit(1, spec("echo")), Answer::Accepted { .. }));
    assert_eq!(book.ledger.live_bytes(), bytes);
    assert!(matches!(book.submit(2, spec("echo")), Answer::Accepted { .. }));
    assert_eq!(book.submit(3, spec("echo")), Answer::Refused(Refusal::Full));
}

#[test]
fn members_are_numbered_in_the_order_of_joining_and_names_are_unique() {
    let mut book = Book::new();
    let numbers = |book: &Book| book.ledger.members().map(|m| (m.number, m.id)).collect::<std::vec::Vec<_>>();
    let join = |book: &mut Book, member: Member| book.one(Command::Configure(Change::Member(member)));
    assert_eq!(numbers(&book), [(1, ANNA), (2, BERT), (3, CARL)]);
    assert!(is_void(&join(&mut book, member(BERT, 1))), "known already");
    assert!(!is_void(&join(&mut book, member(BERT, 3))), "a later start");
    assert!(is_void(&join(&mut book, member(BERT, 2))), "an earlier start");
    assert!(
        is_void(&join(&mut book, Member { name: "anna".into(), ..member(DORA, 1) })),
        "anna bears that name"
    );
    book.one(Command::Configure(Change::Leave(ANNA)));
    assert!(!is_void(&join(&mut book, Member { name: "anna".into(), ..member(DORA, 1) })));
    assert_eq!(numbers(&book), [(2, BERT), (3, CARL), (4, DORA)], "a number is never given twice");
    assert_eq!(book.ledger.member_named("anna").map(|m| m.id), Some(DORA));
    assert!(is_void(&book.one(Command::Configure(Change::Open))), "open for good");
}

#[test]
fn jobs_are_listed_from_the_newest_and_paged_by_order() {
    let mut book = Book::new();
    for job in 1..=5 {
        book.submit(job, spec("echo"));
    }
    let page = |below| book.ledger.newest(below).map(|job| job.id.0).take(2).collect::<std::vec::Vec<_>>();
    assert_eq!(
        (page(None), page(Some(4)), page(Some(2)), page(Some(1))),
        ([5, 4].into(), [3, 2].into(), [1].into(), [].into())
    );
    assert_eq!((page(Some(0)), page(Some(u64::MAX))), ([].into(), [5, 4].into()));
}

#[test]
fn facts_are_numbered_without_holes_and_the_newest_are_kept() {
    let mut book = Book::with_bounds(Bounds { facts: 600, ..Bounds::default() });
    for job in 1..=1_500 {
        book.submit(job, spec("echo"));
    }
    let (first, last) = (book.ledger.first_fact_kept(), book.ledger.last_fact());
    assert_eq!(last, 1_504, "three joined, one opened");
    assert!((600..=850).contains(&(last - first + 1)), "{} are kept", last - first + 1);
    for after in [0, first - 1, first, 1_200, 1_250, last - 1, last, last + 9] {
        let numbers = book.ledger.facts_after(after).map(|fact| fact.number).collect::<std::vec::Vec<_>>();
        let expected = (first.max(after + 1)..=last).collect::<std::vec::Vec<_>>();
        assert_eq!(numbers, expected, "after {after}");
    }
}

#[test]
fn wall_time_and_cluster_time_never_run_backwards() {
    let mut book = Book::new();
    book.clock_ms = 500;
    book.submit(1, spec("echo"));
    book.clock_ms = 100;
    book.submit(2, spec("echo"));
    assert_eq!((book.ledger.clock_ms(), book.ledger.wall_ms()), (500, 1_000_500));
}

#[test]
#[should_panic(expected = "same_ledger")]
fn an_entry_is_never_applied_twice() {
    let mut book = Book::new();
    let entry = protocol::Entry { clock_ms: 0, wall_ms: 0, term: 1, commands: [].into() };
    book.ledger.apply(book.ledger.applied(), &entry);
}

#[cfg(feature = "mutants")]
#[test]
fn the_mutant_that_takes_a_second_result_is_caught() {
    let mut book = Book::new();
    book.ledger.mutant = Some(crate::LedgerMutant::SecondResult);
    book.submit(1, spec("echo"));
    book.assign(1, 1, BERT);
    book.requeue(1, 1, LossCause::Silent);
    book.assign(1, 2, CARL);
    book.finish(1, 2, CARL, success("first"));
    let late =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| book.finish(1, 1, BERT, success("second"))));
    let text = late.expect_err("check() must find it");
    assert!(text.downcast_ref::<std::string::String>().is_some_and(|text| text.contains("one_result")));
}
