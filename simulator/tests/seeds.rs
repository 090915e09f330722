//! Many histories, each of its own seed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simulator::{Fault, Plan, Summary, Violation, run};

/// Histories of a usual run; `UNDERSTUDY_SEEDS` asks for another number.
const SEEDS: u64 = 500;
/// A run ends after so many minutes, whatever the number; `UNDERSTUDY_SIMULATION_MINUTES` asks for more or fewer.
const MINUTES: u64 = 10;
/// After so many broken histories no further one is begun.
const BROKEN: usize = 10;

fn wanted(name: &str, usual: u64) -> Result<u64, String> {
    let asked = std::env::var(name).ok().map(|text| text.parse());
    asked.unwrap_or(Ok(usual)).map_err(|error| format!("{name} is no number: {error}"))
}

#[test]
fn every_history_keeps_every_promise() {
    let seeds = wanted("UNDERSTUDY_SEEDS", SEEDS).expect("a number");
    let first = wanted("UNDERSTUDY_FIRST_SEED", 1).expect("a number");
    let minutes = wanted("UNDERSTUDY_SIMULATION_MINUTES", MINUTES).expect("a number");
    let time = Duration::from_secs(60 * minutes);
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let live = || {
        let mut sum = Sum::default();
        while began.elapsed() < time && !over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            sum.seeds += 1;
            match run(&Plan::of_seed(first + seed), &mut |_| {}) {
                Ok(summary) => sum.add(&summary),
                Err(violation) => sum.broken.push(violation),
            }
            over.fetch_or(sum.broken.len() >= BROKEN, Ordering::Relaxed);
        }
        sum
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(live)).collect();
        for thread in threads {
            let part = thread.join().expect("a history never panics");
            sum.seeds += part.seeds;
            sum.add(&part.all);
            sum.broken.extend(part.broken);
        }
    });
    println!("{}", sum.told(began.elapsed(), cores));
    sum.judge();
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    all: Summary,
    broken: Vec<Violation>,
}

impl Sum {
    fn add(&mut self, part: &Summary) {
        let all = &mut self.all;
        all.steps += part.steps;
        all.jobs += part.jobs;
        all.acknowledged += part.acknowledged;
        all.elections += part.elections;
        all.crashes += part.crashes;
        all.attempts += part.attempts;
        all.reads += part.reads;
        all.faults.iter_mut().zip(part.faults).for_each(|(sum, count)| *sum += count);
    }

    fn told(&self, took: Duration, cores: usize) -> String {
        let a_minute = u128::from(self.seeds) * 60_000 / took.as_millis().max(1);
        let kinds = Fault::ALL.iter().zip(self.all.faults).map(|(fault, count)| format!("{fault:?} {count}"));
        format!(
            "{} seeds in {} s on {cores} cores: {a_minute} a minute; {}\nfaults: {}",
            self.seeds,
            took.as_secs(),
            self.all,
            kinds.collect::<Vec<_>>().join(", ")
        )
    }

    fn judge(&self) {
        let broken: Vec<String> = self.broken.iter().map(ToString::to_string).collect();
        assert!(
            broken.is_empty(),
            "{} of {} histories broke a promise:\n{}",
            broken.len(),
            self.seeds,
            broken.join("\n")
        );
        let (all, seeds) = (&self.all, self.seeds);
        assert!(seeds > 0, "no time for a single history");
        assert!(all.acknowledged > 100 * seeds && all.reads > 10 * seeds, "too little happened: {all}");
        assert!(all.crashes > seeds && all.elections > 2 * seeds, "too few faults: {all}");
        for (fault, count) in Fault::ALL.iter().zip(all.faults) {
            assert!(seeds < 100 || count >= seeds / 50, "{fault:?} happened {count} times only");
        }
    }
}
