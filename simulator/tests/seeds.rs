//! Many histories, each of its own seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use simulator::{Plan, Summary, Violation, run};

/// Histories of a usual run; `UNDERSTUDY_SEEDS` asks for another number.
const SEEDS: u64 = 500;

fn wanted(name: &str, usual: u64) -> Result<u64, std::num::ParseIntError> {
    std::env::var(name).map_or(Ok(usual), |text| text.parse())
}

#[test]
fn every_history_keeps_every_promise() {
    let seeds = wanted("UNDERSTUDY_SEEDS", SEEDS).expect("UNDERSTUDY_SEEDS is a number");
    let first = wanted("UNDERSTUDY_FIRST_SEED", 1).expect("UNDERSTUDY_FIRST_SEED is a number");
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let live = || {
        let mut sum = Summary::default();
        let mut broken: Vec<Violation> = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (sum, broken);
            }
            match run(&Plan::of_seed(first + seed), &mut |_| {}) {
                Ok(summary) => add(&mut sum, &summary),
                Err(violation) => broken.push(violation),
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(live)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a history never panics")).collect()
    });
    let mut sum = Summary::default();
    parts.iter().for_each(|(part, _)| add(&mut sum, part));
    let broken: Vec<String> = parts.iter().flat_map(|(_, b)| b).map(ToString::to_string).collect();
    let took = began.elapsed();
    let a_minute = u128::from(seeds) * 60_000 / took.as_millis().max(1);
    println!("{seeds} seeds in {} s on {cores} cores: {a_minute} a minute; {sum}", took.as_secs());
    assert!(
        broken.is_empty(),
        "{} of {seeds} histories broke a promise:\n{}",
        broken.len(),
        broken.join("\n")
    );
    assert!(sum.acknowledged > 100 * seeds && sum.reads > 10 * seeds, "too little happened: {sum}");
    assert!(sum.crashes > seeds && sum.elections > 2 * seeds, "too few faults: {sum}");
}

fn add(sum: &mut Summary, part: &Summary) {
    sum.steps += part.steps;
    sum.jobs += part.jobs;
    sum.acknowledged += part.acknowledged;
    sum.elections += part.elections;
    sum.faults += part.faults;
    sum.crashes += part.crashes;
    sum.attempts += part.attempts;
    sum.reads += part.reads;
}
