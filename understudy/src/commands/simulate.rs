//! `simulate`: whole clusters of the real minds in virtual time, with faults, from a seed.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use simulator::{Plan, Summary, Violation};

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Which histories.
#[derive(Debug, Args)]
pub(crate) struct SimulateFlags {
    /// Seed of the (first) history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after another
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

/// Lives through the histories; the first promise that does not hold is an error with the command that shows it again.
pub(crate) fn run(flags: &SimulateFlags, json: bool) -> Outcome {
    let began = Instant::now();
    for seed in (0..flags.seeds).map(|step| flags.seed.wrapping_add(step)) {
        let plan = flags.plan(seed);
        // The story is talk: it must not mix with the data, nor end the history when nobody listens.
        match simulator::run(&plan, &mut show::talk) {
            Ok(summary) => tell(seed, &summary, json)?,
            Err(violation) => return broken(&violation, json),
        }
    }
    show::talk(&pace(flags.seeds, began.elapsed()));
    Ok(Exit::Ok)
}

impl SimulateFlags {
    fn plan(&self, seed: u64) -> Plan {
        let usual = Plan::of_seed(seed);
        let nodes = self.nodes.map_or(usual.nodes, usize::from);
        Plan { nodes, minutes: self.minutes, verbose: self.verbose, ..usual }
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
        "faults": summary.faults,
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

fn pace(seeds: u64, took: Duration) -> String {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!(
        "{seeds} seeds in {took_ms} ms, {} seeds a minute, every promise held",
        seeds.saturating_mul(60_000) / took_ms
    )
}
