//! `simulate`: whole clusters of the real minds in virtual time, with faults, from a seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use simulator::{Plan, Summary, Violation};

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Of so many seeds each has its line; of more only what matters is told.
const LINES: u64 = 100;
/// Histories that have ended and wait for their turn to be told.
const OUTCOMES_WAITING: usize = 64;

/// Which histories.
#[derive(Debug, Args)]
pub(crate) struct SimulateFlags {
    /// Seed of the (first) history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from that one on, on all cores
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Nodes of the cluster, 3 to 5 [default: by the seed]
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: Option<u8>,
    /// Length of a history in minutes of virtual time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=simulator::limits::MINUTES_MAX))]
    minutes: u64,
    /// Tell the story line by line
    #[arg(short, long)]
    verbose: bool,
}

/// Lives through the histories; the first promise that does not hold is an error (exit code 1) with the command that shows it
/// again.
pub(crate) fn run(flags: &SimulateFlags, json: bool) -> Outcome {
    let began = Instant::now();
    let (lived, broken) =
        if flags.verbose || flags.seeds == 1 { flags.one_by_one(json)? } else { flags.all_at_once(json)? };
    show::talk(&pace(lived, began.elapsed(), broken.is_none()));
    match broken {
        Some(violation) => self::broken(&violation, json),
        None => Ok(Exit::Ok),
    }
}

/// How many histories ended well, and the one of the lowest seed that did not.
type Lived = (u64, Option<Violation>);

impl SimulateFlags {
    fn plan(&self, seed: u64) -> Plan {
        let usual = Plan::of_seed(seed);
        let nodes = self.nodes.map_or(usual.nodes, usize::from);
        Plan { nodes, minutes: self.minutes, verbose: self.verbose, ..usual }
    }

    fn one_by_one(&self, json: bool) -> Result<Lived, Failure> {
        for step in 0..self.seeds {
            let seed = self.seed.wrapping_add(step);
            // The story is talk: it must not mix with the data, nor end the history when nobody listens.
            match simulator::run(&self.plan(seed), &mut show::talk) {
                Ok(summary) => tell(seed, &summary, json)?,
                Err(violation) => return Ok((step, Some(violation))),
            }
        }
        Ok((self.seeds, None))
    }

    /// On every core; told in the order of the seeds.
    fn all_at_once(&self, json: bool) -> Result<Lived, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let (next, told) = (AtomicU64::new(0), mpsc::sync_channel(OUTCOMES_WAITING));
        let (tell_all, hear_all) = told;
        std::thread::scope(|scope| {
            for _ in 0..cores.min(self.seeds) {
                let (tell_all, next) = (tell_all.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let step = next.fetch_add(1, Ordering::Relaxed);
                        if step >= self.seeds {
                            return;
                        }
                        let lived = simulator::run(&self.plan(self.seed.wrapping_add(step)), &mut |_| {});
                        // Nobody hears it once an earlier seed has ended the run.
                        if tell_all.send((step, lived)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell_all);
            self.in_order(hear_all, json)
        })
    }

    fn in_order(
        &self,
        heard: mpsc::Receiver<(u64, Result<Summary, Violation>)>,
        json: bool,
    ) -> Result<Lived, Failure> {
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (step, lived) in heard {
            early.insert(step, lived);
            while let Some(lived) = early.remove(&due) {
                match lived {
                    Ok(summary) if json || self.seeds <= LINES => {
                        tell(self.seed.wrapping_add(due), &summary, json)?;
                    }
                    Ok(_) => {}
                    Err(violation) => return Ok((due, Some(violation))),
                }
                due += 1;
            }
        }
        Ok((due, None))
    }
}

fn tell(seed: u64, summary: &Summary, json: bool) -> Result<(), Failure> {
    if !json {
        return show::line(&format!("seed {seed}: {summary}"));
    }
    let line = json!({
        "seed": seed,
        "steps": summary.steps,
        "jobs": summary.jobs,
        "acknowledged": summary.acknowledged,
        "elections": summary.elections,
        "faults": summary.faults.iter().sum::<u64>(),
        "crashes": summary.crashes,
        "attempts": summary.attempts,
        "reads": summary.reads,
        "digest": format!("{:016x}", summary.digest),
    });
    show::line(&line.to_string())
}

fn broken(violation: &Violation, json: bool) -> Outcome {
    if json {
        let line = json!({
            "seed": violation.seed,
            "step": violation.step,
            "at_ms": violation.at_ms,
            "invariant": violation.invariant,
            "detail": violation.detail,
            "replay": violation.replay,
        });
        show::line(&line.to_string())?;
    }
    Err(Failure::error(violation.to_string()))
}

fn pace(seeds: u64, took: Duration, held: bool) -> String {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let a_minute = seeds.saturating_mul(60_000) / took_ms;
    let ended = if held { "every promise held" } else { "then a promise was broken" };
    format!("{seeds} seeds in {took_ms} ms, {a_minute} seeds a minute, {ended}")
}
