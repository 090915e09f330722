//! How often a job is tried and when it is tried again: the ledger beside a small model of one job, and a leader that keeps
//! what may have one attempt at most where it is.

use super::scene::*;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::{
    Answer, AttemptRef, Boot, Chosen, Command, End, JobId, JobSpec, JobState, LossCause, More, Outcome,
    Reason, Refused, Request, RetryRule,
};

/// What happens to the job.
#[derive(Clone, Copy, Debug)]
enum Event {
    Assign,
    Success(u32),
    Failure(u32, Reason, Option<i32>),
    Lost(LossCause),
    Cancel,
    Release,
    Wait(u64),
}

/// An attempt in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Try {
    is_lost: bool,
    /// Something of it is recorded.
    is_noted: bool,
    refused: Option<Refused>,
}

/// One job as the rules in words have it.
#[derive(Clone, Debug)]
struct Model {
    spec: JobSpec,
    clock_ms: u64,
    state: JobState,
    reason: Option<Reason>,
    failures: u32,
    lost: u32,
    /// Earliest and latest moment of the next try.
    not_before_ms: Option<(u64, u64)>,
    tries: Vec<Try>,
    winner: Option<u32>,
}

impl Model {
    fn new(spec: JobSpec) -> Self {
        Self {
            spec,
            clock_ms: 0,
            state: JobState::Queued,
            reason: None,
            failures: 0,
            lost: 0,
            not_before_ms: None,
            tries: Vec::new(),
            winner: None,
        }
    }

    fn end(&mut self, state: JobState, reason: Option<Reason>) {
        (self.state, self.reason, self.not_before_ms) = (state, reason, None);
    }

    fn pause(&mut self, least_ms: u64, most_ms: u64) {
        self.state = JobState::Scheduled;
        self.not_before_ms = Some((self.clock_ms + least_ms, self.clock_ms + most_ms));
    }

    fn happens(&mut self, event: Event) {
        let once = self.spec.more.at_most_once;
        match event {
            Event::Wait(ms) => self.clock_ms += ms,
            Event::Assign if self.state == JobState::Queued => {
                self.tries.push(Try { is_lost: false, is_noted: false, refused: None });
                self.state = JobState::Running;
            }
            Event::Success(number) => self.comes_back(number, None),
            Event::Failure(number, reason, code) => self.comes_back(number, Some((reason, code))),
            Event::Lost(cause) if self.state == JobState::Running && !(once && cause == LossCause::Late) => {
                let counts = matches!(cause, LossCause::Silent | LossCause::Left);
                self.lost += u32::from(counts);
                self.tries.last_mut().expect("it runs").is_lost = true;
                if once || counts && self.lost >= self.spec.max_lost {
                    self.end(JobState::Failed, Some(Reason::Lost));
                } else if counts && self.lost >= 2 {
                    let pause_ms = (1_000 << (self.lost - 2)).min(self.spec.retry_max_ms);
                    self.pause(pause_ms, pause_ms);
                } else {
                    self.state = JobState::Queued;
                }
            }
            Event::Cancel if !self.state.is_terminal() => self.end(JobState::Cancelled, None),
            // A ledger that has a pause knows its exact end; the model takes the range that is promised.
            Event::Release if self.not_before_ms.is_some_and(|(_, most_ms)| most_ms <= self.clock_ms) => {
                (self.state, self.not_before_ms) = (JobState::Queued, None);
            }
            _ => {}
        }
    }

    fn comes_back(&mut self, number: u32, failure: Option<(Reason, Option<i32>)>) {
        let is_current = self.state == JobState::Running && number as usize == self.tries.len();
        let state = self.state;
        let Some(tried) = (number as usize).checked_sub(1).and_then(|at| self.tries.get_mut(at)) else {
            return;
        };
        if core::mem::replace(&mut tried.is_noted, true) {
            return;
        }
        match failure {
            _ if state == JobState::Cancelled => tried.refused = Some(Refused::JobCancelled),
            _ if state.is_terminal() => tried.refused = Some(Refused::JobEnded),
            None => {
                self.winner = Some(number);
                self.end(JobState::Succeeded, None);
            }
            Some(_) if !is_current => tried.refused = Some(Refused::LateFailure),
            Some((reason, code)) => {
                self.failures += 1;
                let spec = &self.spec;
                let covered = match &spec.more.retry {
                    None => matches!(reason, Reason::Exit | Reason::Timeout),
                    Some(rule) => {
                        rule.on.contains(&reason)
                            && !(reason == Reason::Exit
                                && code.is_some_and(|code| rule.not_exit_codes.contains(&code)))
                    }
                };
                if covered && self.failures < spec.max_attempts && !spec.more.at_most_once {
                    let whole_ms = (spec.retry_base_ms << (self.failures - 1)).min(spec.retry_max_ms);
                    self.pause(whole_ms / 2, whole_ms);
                } else {
                    self.end(JobState::Failed, Some(reason));
                }
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let number = || 0_u32..5;
    let reason = prop::sample::select(RetryRule::REASONS.to_vec());
    let code = prop_oneof![Just(None), prop::sample::select(vec![1, 3]).prop_map(Some)];
    let cause = prop::sample::select(vec![
        LossCause::Silent,
        LossCause::Restarted,
        LossCause::Late,
        LossCause::Left,
        LossCause::Unbegun,
    ]);
    prop_oneof![
        8 => Just(Event::Assign),
        1 => number().prop_map(Event::Success),
        6 => (number(), reason, code).prop_map(|(number, reason, code)| {
            Event::Failure(number, reason, code.filter(|_| reason == Reason::Exit))
        }),
        4 => cause.prop_map(Event::Lost),
        1 => Just(Event::Cancel),
        5 => Just(Event::Release),
        5 => (0_u64..3_000).prop_map(Event::Wait),
    ]
}

fn asked() -> impl Strategy<Value = JobSpec> {
    let on = prop::sample::subsequence(RetryRule::REASONS.to_vec(), 0..=5);
    let rule = (on, prop::sample::subsequence(vec![1, 3], 0..=2))
        .prop_map(|(on, not_exit_codes)| RetryRule { on, not_exit_codes });
    let pauses = (1_u64..2_000, 1_u64..5_000);
    (prop::option::of(rule), 0_u32..5, 1_u32..5, 1_u32..5, pauses).prop_map(
        |(retry, once, max_attempts, max_lost, (retry_base_ms, retry_max_ms))| JobSpec {
            max_attempts,
            max_lost,
            retry_base_ms,
            retry_max_ms,
            more: More { retry, at_most_once: once == 0, ..More::default() },
            ..spec("echo")
        },
    )
}

fn command(event: Event) -> Option<Command> {
    let (job, node) = (JobId(7), ANNA);
    let ended =
        |attempt, outcome: Outcome| Command::FinishByRule { job, attempt, node, outcome: Arc::new(outcome) };
    Some(match event {
        Event::Success(attempt) => ended(attempt, Outcome::success(bytes::Bytes::from(vec![attempt as u8]))),
        Event::Failure(attempt, reason, exit_code) => {
            ended(attempt, Outcome { exit_code, ..Outcome::failure(reason, "bad".into()) })
        }
        Event::Cancel => Command::Cancel { job },
        Event::Assign | Event::Wait(_) | Event::Lost(_) | Event::Release => return None,
    })
}

/// The ledger beside the model, after each event.
fn walk(asked: &JobSpec, events: &[Event]) -> Result<(), TestCaseError> {
    let mut book = Book::new();
    book.submit(7, asked.clone());
    let mut model = Model::new(asked.clone());
    (model.clock_ms, book.clock_ms) = (book.clock_ms, book.clock_ms);
    for event in events {
        let attempts = book.job(7).attempts.len() as u32;
        match *event {
            Event::Wait(ms) => book.clock_ms += ms,
            Event::Assign => {
                let (job, attempt, node, boot) = (JobId(7), attempts + 1, ANNA, Boot(1));
                book.one(Command::AssignWhy { job, attempt, node, boot, why: Chosen::Only });
            }
            Event::Lost(cause) => drop(book.requeue(7, attempts, cause)),
            // The model knows a range: the moment in it is the ledger's own, but never earlier than its beginning.
            Event::Release => {
                if book.job(7).not_before_ms.is_some() {
                    book.clock_ms = book.clock_ms.max(model.not_before_ms.map_or(0, |(_, most_ms)| most_ms));
                    model.clock_ms = book.clock_ms;
                }
                book.one(Command::Release { job: JobId(7) });
            }
            event => drop(command(event).map(|command| book.one(command))),
        }
        model.happens(*event);
        let job = book.job(7);
        prop_assert_eq!((job.state, job.reason), (model.state, model.reason), "after {:?}: {:?}", event, job);
        prop_assert_eq!((job.failures, job.lost), (model.failures, model.lost));
        match (job.not_before_ms, model.not_before_ms) {
            (Some(at_ms), Some((least_ms, most_ms))) => {
                prop_assert!((least_ms..=most_ms).contains(&at_ms), "{at_ms} not in {least_ms}..={most_ms}");
            }
            (at_ms, range) => prop_assert_eq!((at_ms, range), (None, None)),
        }
        let refused: Vec<Option<Refused>> = job.attempts.iter().map(protocol::Attempt::refused).collect();
        let expected: Vec<Option<Refused>> = model.tries.iter().map(|tried| tried.refused).collect();
        prop_assert_eq!(refused, expected);
        prop_assert!(!asked.more.at_most_once || job.attempts.len() <= 1, "at_most_once");
        let won = job.result.as_ref().filter(|outcome| outcome.end == End::Success);
        prop_assert_eq!(won.map(|outcome| u32::from(outcome.output[0])), model.winner, "one_result");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_job_is_tried_as_its_rule_says(asked in asked(), events in prop::collection::vec(event(), 1..60)) {
        walk(&asked, &events)?;
    }
}

#[test]
fn pauses_are_the_same_for_ever() {
    // What is in logs is applied again by every later version: a pause that comes out otherwise is another ledger.
    let mut found = Vec::new();
    for id in [7, 1 << 80] {
        let mut book = Book::new();
        book.submit(id, JobSpec { max_attempts: 9, ..spec("echo") });
        for attempt in 1..=3 {
            let job = JobId(id);
            let (node, boot, why) = (ANNA, Boot(1), Chosen::Only);
            book.one(Command::AssignWhy { job, attempt, node, boot, why });
            book.one(Command::FinishByRule { job, attempt, node, outcome: failure() });
            let at_ms = book.job(id).not_before_ms.expect("it waits");
            found.push(at_ms - book.clock_ms);
            book.clock_ms = at_ms;
            book.one(Command::Release { job });
        }
    }
    assert_eq!(found, [520, 1_498, 3_299, 967, 1_547, 2_115]);
}

#[test]
fn what_earlier_versions_wrote_is_applied_by_their_rules() {
    let mut book = Book::new();
    book.submit(1, JobSpec { max_attempts: 2, ..spec("echo") });
    book.assign(1, 1, ANNA);
    book.finish(1, 1, ANNA, Arc::new(Outcome::failure(Reason::Memory, "killed".into())));
    let job = book.job(1);
    assert_eq!((job.state, job.not_before_ms), (JobState::Scheduled, Some(book.clock_ms + 1_000)));
    assert_eq!(job.attempts[0].more.why, None);
}

#[test]
fn the_record_of_an_attempt_says_why_it_went_there() {
    let mut scene = Scene::with_slots(&[1, 1]);
    let jobs = [0, 1].map(|_| scene.submit(spec("echo")));
    let why = |job: JobId| scene.ledger.job(job).unwrap().attempts[0].more.why.unwrap();
    assert!(matches!(why(jobs[0]), Chosen::Least { of: 2, .. }), "{:?}", why(jobs[0]));
    assert_eq!(why(jobs[1]), Chosen::Only);
    let back = through_snapshot(&scene.ledger, crate::Ledger::new());
    assert_eq!(back.job(jobs[0]), scene.ledger.job(jobs[0]), "also from a snapshot");
}

pub(super) fn once(class: &str) -> JobSpec {
    let more = More { at_most_once: true, ..More::default() };
    JobSpec { max_attempts: 1, max_lost: 1, more, ..spec(class) }
}

#[test]
fn an_at_most_once_job_is_not_sent_ahead_and_nobody_younger_takes_its_slot() {
    let mut scene = Scene::with_slots(&[2]);
    // The node ends attempts so fast that spare ones go there.
    for _ in 0..8 {
        let jobs: Vec<JobId> = (0..40).map(|_| scene.offer(spec("echo"))).collect();
        scene.turn();
        for _ in 0..jobs.len() {
            let Some(attempt) = scene.workers[&ANNA].held.first().copied() else { break };
            scene.finish(ANNA, attempt, success("x"));
        }
        scene.pass(250);
    }
    let filling: Vec<JobId> = (0..60).map(|_| scene.offer(spec("echo"))).collect();
    scene.turn();
    assert!(!scene.workers[&ANNA].waiting.is_empty(), "some were sent ahead");
    let job = scene.submit(once("echo"));
    let younger: Vec<JobId> = (0..60).map(|_| scene.offer(spec("echo"))).collect();
    scene.turn();
    let mut ends = 0;
    while scene.state(job) == JobState::Queued {
        assert!(!scene.workers[&ANNA].waiting.iter().any(|attempt| attempt.job == job));
        let attempt = *scene.workers[&ANNA].held.first().expect("it works");
        scene.finish(ANNA, attempt, success("x"));
        ends += 1;
        assert!(ends <= filling.len() + 2, "it begins when those before it have");
    }
    assert!(scene.holder(job).is_some(), "it has a slot, and waits for none");
    assert!(younger.iter().any(|job| scene.state(*job) == JobState::Queued));
}

#[test]
fn an_at_most_once_job_stays_with_an_attached_worker_that_is_late_and_fails_with_one_that_left() {
    for cause in [LossCause::Late, LossCause::Left] {
        let mut scene = Scene::with_slots(&[0, 0]);
        for node in [ANNA, BERT] {
            scene.workers.get_mut(&node).unwrap().offer.attached.insert("B".into(), 1);
            scene.report(node);
        }
        let job = scene.submit(once("B"));
        let (node, attempt) = scene.holder(job).unwrap();
        scene.workers.get_mut(&node).unwrap().back.insert(attempt, cause);
        scene.report(node);
        scene.pass(1_000);
        let known = scene.ledger.job(job).unwrap();
        assert_eq!(known.attempts.len(), 1);
        if cause == LossCause::Late {
            assert_eq!(known.state, JobState::Running);
            scene.workers.get_mut(&node).unwrap().back.clear();
            scene.finish(node, attempt, success("Done!"));
            assert_eq!(scene.state(job), JobState::Succeeded);
        } else {
            assert_eq!((known.state, known.reason), (JobState::Failed, Some(Reason::Lost)));
        }
    }
}

#[test]
fn a_late_answer_of_an_attached_worker_to_a_cancelled_job_is_dropped() {
    let mut scene = Scene::with_slots(&[0]);
    scene.workers.get_mut(&ANNA).unwrap().offer.attached.insert("B".into(), 1);
    scene.report(ANNA);
    let job = scene.submit(spec("B"));
    let attempt = AttemptRef { job, attempt: 1 };
    assert_eq!(scene.ask(ANNA, Request::Cancel { job }), Some(Answer::Done));
    scene.pass(1_000);
    assert!(scene.workers[&ANNA].held.contains(&attempt), "nobody can end it");
    scene.finish(ANNA, attempt, success("Done!"));
    let known = scene.ledger.job(job).unwrap();
    assert_eq!((known.state, &known.result), (JobState::Cancelled, &None));
    assert_eq!(known.attempts[0].refused(), Some(Refused::JobCancelled));
    assert_eq!(scene.workers[&ANNA].settled, [(attempt, protocol::Verdict::Superseded)]);
}
