//! The order of the queue against a plain model of its rule, and what it costs.

use super::scene::*;
use crate::limits::{AGEING_MS, LOOKS};
use crate::queue::Queue;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use proptest::prelude::*;
use protocol::{JobId, JobSpec};

/// The rule, word by word, without any index.
#[derive(Default)]
struct Model {
    jobs: Vec<Waits>,
    rounds: BTreeMap<(u8, usize), u64>,
    round: BTreeMap<u8, u64>,
}

#[derive(Clone, Debug)]
struct Waits {
    job: u128,
    priority: u8,
    submitter: usize,
    class: usize,
    due_ms: u64,
}

impl Model {
    fn put(&mut self, waits: Waits) {
        let key = (waits.priority, waits.submitter);
        if !self.jobs.iter().any(|job| (job.priority, job.submitter) == key) {
            let next = self.round.get(&waits.priority).copied().unwrap_or(0) + 1;
            self.rounds.insert(key, next);
        }
        self.jobs.push(waits);
    }

    /// Who goes while nothing of these classes can: one after another is tried, and what finds no place passed by.
    fn goes(&self, blocked: &[usize]) -> Option<Waits> {
        let mut passed = Vec::new();
        loop {
            let next = self.next(&passed)?;
            if !blocked.contains(&next.class) {
                return Some(next);
            }
            passed.push(next.class);
        }
    }

    /// Who is next when these classes were passed by.
    fn next(&self, blocked: &[usize]) -> Option<Waits> {
        let turn_at = |priority: u8| {
            let of_it: Vec<&Waits> = self.jobs.iter().filter(|job| job.priority == priority).collect();
            let could_go: Vec<&&Waits> = of_it.iter().filter(|job| !blocked.contains(&job.class)).collect();
            let oldest =
                |submitter: usize| of_it.iter().filter(|job| job.submitter == submitter).map(|j| j.job).min();
            let submitter = could_go
                .iter()
                .map(|job| job.submitter)
                .min_by_key(|who| (self.rounds[&(priority, *who)], oldest(*who)))?;
            could_go
                .iter()
                .filter(|job| job.submitter == submitter)
                .min_by_key(|job| job.job)
                .map(|job| (**job).clone())
        };
        (0..10).filter_map(turn_at).min_by_key(|job| (job.due_ms, job.job))
    }

    fn take(&mut self, job: &Waits) {
        let round = self.round.entry(job.priority).or_default();
        let of_it = self.rounds.get_mut(&(job.priority, job.submitter)).unwrap();
        *round = (*round).max(*of_it);
        *of_it = *round + 1;
        self.jobs.retain(|other| other.job != job.job);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { priority: u8, submitter: usize, class: usize, after_ms: u64 },
    Take { blocked: Vec<usize> },
    Cancel { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let submit = (0_u8..10, 0_usize..4, 0_usize..3, 0_u64..40_000).prop_map(
        |(priority, submitter, class, after_ms)| Step::Submit { priority, submitter, class, after_ms },
    );
    let take = prop::collection::vec(0_usize..3, 0..2).prop_map(|blocked| Step::Take { blocked });
    let cancel = (0_usize..50).prop_map(|which| Step::Cancel { which });
    prop::collection::vec(prop_oneof![6 => submit, 4 => take, 1 => cancel], 1..120)
}

fn asked(priority: u8, submitter: usize, class: usize) -> JobSpec {
    let submitter = ["", "anna", "bert", "carl"][submitter].to_string();
    JobSpec { priority, submitter, ..spec(["a", "b", "c"][class]) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_gives_what_the_rule_says(steps in steps()) {
        let (mut book, mut queue, mut model) = (Book::new(), Queue::default(), Model::default());
        let mut last = 0;
        for step in steps {
            match step {
                Step::Submit { priority, submitter, class, after_ms } => {
                    last += 1;
                    book.clock_ms += after_ms;
                    book.submit(last, asked(priority, submitter, class));
                    queue.insert(&book.ledger, JobId(last));
                    let due_ms = book.clock_ms + u64::from(9 - priority) * AGEING_MS;
                    model.put(Waits { job: last, priority, submitter, class, due_ms });
                }
                Step::Take { blocked } => {
                    queue.wake();
                    let mut look = queue.look(LOOKS).unwrap_or_default();
                    let found = loop {
                        let Some(place) = queue.next(&mut look) else { break None };
                        let job = queue.job_at(&book.ledger, &place).unwrap();
                        let class = book.ledger.terms(job).unwrap().class.clone();
                        if !blocked.iter().any(|class_number| ["a", "b", "c"][*class_number] == class) {
                            break Some((place, job));
                        }
                        look.pass(&place);
                    };
                    let expected = model.goes(&blocked);
                    prop_assert_eq!(found.as_ref().map(|(_, job)| job.0), expected.as_ref().map(|waits| waits.job));
                    if let (Some((place, _)), Some(waits)) = (found, expected) {
                        queue.take(&place);
                        model.take(&waits);
                    }
                }
                Step::Cancel { which } => {
                    let others = |waits: &Waits| {
                        model.jobs.iter().filter(|job| (job.priority, job.submitter) == (waits.priority, waits.submitter)).count()
                    };
                    let Some(waits) = model.jobs.get(which).filter(|waits| others(waits) > 1).cloned() else { continue };
                    queue.remove(&book.ledger, JobId(waits.job));
                    model.jobs.retain(|job| job.job != waits.job);
                }
            }
        }
    }

    /// Newcomers of all priorities and submitters come for ever, three for each that goes: still every job goes, within its
    /// rounds and 270 s.
    #[test]
    fn nobody_starves(seed in prop::collection::vec((0_u8..10, 0_usize..4), 40)) {
        let mut queue = Queue::default();
        let (mut now_ms, mut last) = (0, 0_u128);
        let mut came: BTreeMap<u128, u64> = BTreeMap::new();
        let mut arrive = |queue: &mut Queue, came: &mut BTreeMap<u128, u64>, spec: JobSpec, now_ms: u64| {
            last += 1;
            came.insert(last, now_ms);
            queue.arrive(JobId(last), &Arc::new(spec), now_ms);
            last
        };
        // The lowest priority, five jobs of one submitter: its last one has four older ones.
        let ours: Vec<u128> = (0..5).map(|_| arrive(&mut queue, &mut came, asked(0, 1, 0), 0)).collect();
        let book = Book::new();
        let mut gone: BTreeMap<u128, u64> = BTreeMap::new();
        let mut spent = 0;
        while !ours.iter().all(|job| gone.contains_key(job)) {
            for (priority, submitter) in seed.iter().copied().cycle().skip(spent % seed.len()).take(3) {
                arrive(&mut queue, &mut came, asked(priority, submitter, 0), now_ms);
            }
            let mut look = queue.look(LOOKS).unwrap();
            let place = queue.next(&mut look).unwrap();
            let job = queue.job_at(&book.ledger, &place).unwrap().0;
            queue.take(&place);
            gone.insert(job, now_ms);
            (now_ms, spent) = (now_ms + 3_000, spent + 1);
            prop_assert!(spent < 20_000, "{:?} of ours have gone", gone.keys().filter(|job| ours.contains(job)).count());
        }
        for job in gone.keys().filter(|job| !ours.contains(job)) {
            // Six rounds and the ageing of each at most.
            prop_assert!(came[job] <= 7 * 270_000 + gone[&ours[4]] / 3, "{job}");
        }
    }

    /// From when both wait, whatever else comes and goes, two submitters are never more than two jobs apart.
    #[test]
    fn submitters_that_both_wait_stay_within_two_jobs(
        many in 20_usize..200, few in 1_usize..20, late in 0_usize..20, others in prop::collection::vec(0_usize..12, 0..40),
    ) {
        let (book, mut queue, mut last) = (Book::new(), Queue::default(), 0_u128);
        let mut arrive = |queue: &mut Queue, submitter: usize, class: usize| {
            last += 1;
            queue.arrive(JobId(last), &Arc::new(asked(4, submitter, class)), last as u64);
        };
        let take = |queue: &mut Queue| {
            queue.wake();
            let mut look = queue.look(LOOKS)?;
            let place = queue.next(&mut look)?;
            let job = queue.job_at(&book.ledger, &place)?;
            let who = queue.arriving(job)?.submitter.clone();
            queue.take(&place);
            queue.arrived(job);
            Some(who)
        };
        (0..many).for_each(|n| arrive(&mut queue, 1, n % 3));
        for _ in 0..late {
            take(&mut queue);
        }
        let left = many.saturating_sub(late);
        (0..few).for_each(|n| arrive(&mut queue, 2, n % 2));
        let (mut anna, mut bert, mut at) = (0_usize, 0_usize, 0);
        while anna < left && bert < few {
            prop_assert!(anna.abs_diff(bert) <= 2, "{anna} and {bert} of {left} and {few}");
            if let Some(class) = others.get(at) {
                arrive(&mut queue, if class % 2 == 0 { 0 } else { 3 }, class % 3);
            }
            at += 1;
            match take(&mut queue).as_deref() {
                Some("anna") => anna += 1,
                Some("bert") => bert += 1,
                _ => {}
            }
        }
        prop_assert!(bert == few || left <= few + 2, "who has few waits for few: {anna} and {bert}");
    }
}

#[test]
fn ten_thousand_of_one_make_nobody_wait_for_them_all() {
    let (book, mut queue) = (Book::new(), Queue::default());
    for job in 1..=10_000 {
        queue.arrive(JobId(job), &Arc::new(asked(4, 1, 0)), 0);
    }
    queue.arrive(JobId(20_000), &Arc::new(asked(4, 2, 1)), 3_600_000);
    let mut look = queue.look(LOOKS).unwrap();
    let mut went = Vec::new();
    for _ in 0..2 {
        let place = queue.next(&mut look).unwrap();
        went.extend(queue.job_at(&book.ledger, &place));
        queue.take(&place);
    }
    assert_eq!(went, [JobId(1), JobId(20_000)], "it came an hour later and is second");
}

/// Counted in looks at submitters and shapes, so that it means the same on any machine.
#[test]
fn two_hundred_thousand_jobs_of_a_thousand_submitters_cost_a_few_steps_each() {
    let (book, mut queue) = (Book::new(), Queue::default());
    let specs: Vec<Arc<JobSpec>> = (0..1_000)
        .map(|n| {
            Arc::new(JobSpec { submitter: std::format!("submitter {n}"), ..asked((n % 3) as u8, 0, n % 3) })
        })
        .collect();
    for job in 0..200_000_u128 {
        queue.arrive(JobId(job + 1), &specs[(job * 7 % 1_000) as usize], (job / 100) as u64);
    }
    let mut steps = 0;
    for taken in 0..200_000 {
        queue.wake();
        let mut look = queue.look(LOOKS).unwrap();
        let place = queue.next(&mut look).unwrap_or_else(|| panic!("{taken} were taken"));
        steps += look.spent(LOOKS);
        let job = queue.job_at(&book.ledger, &place).unwrap();
        queue.take(&place);
        queue.arrived(job);
    }
    assert_eq!(queue.look(LOOKS).map(|mut look| queue.next(&mut look)), None);
    assert!(steps <= 200_000 * 10, "{steps} steps");
}
