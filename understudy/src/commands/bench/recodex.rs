//! `bench recodex`.

use bench::limits::{OUTSTANDING, RECODEX_WORKERS, REQUESTS};
use bench::machine;
use bench::recodex::bare::Bare;
use bench::recodex::{Doors, Load, Measured, measure};
use clap::Args;
use serde_json::json;

use super::{bounded, median, ratio};
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Where the cluster is and how much it is asked.
#[derive(Debug, Args)]
pub(crate) struct RecodexFlags {
    /// Ports for front ends, of each node that shall be asked
    #[arg(long, value_name = "URL[,…]", value_delimiter = ',', default_value = "tcp://127.0.0.1:9658")]
    clients: Vec<String>,
    /// Ports for workers, of each node that shall have some
    #[arg(long, value_name = "URL[,…]", value_delimiter = ',', default_value = "tcp://127.0.0.1:9657")]
    workers_at: Vec<String>,
    /// Evaluations open at once
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = bounded(OUTSTANDING))]
    outstanding: usize,
    /// Evaluations of each round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = bounded(REQUESTS))]
    evaluations: usize,
    /// Workers attached, all with the same headers, through at once and pinging each second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = bounded(RECODEX_WORKERS))]
    workers: usize,
    /// Rounds; the medians are compared
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = bounded(100))]
    rounds: usize,
}

/// What an `accept` means.
const OF_BARE: &str = "keeps nothing";
const OF_OURS: &str = "fdatasync on a majority";

/// In rounds, each both.
pub(super) fn run(flags: &RecodexFlags) -> Outcome {
    let load =
        Load { evaluations: flags.evaluations, outstanding: flags.outstanding, workers: flags.workers };
    let ours = Doors { clients: flags.clients.clone(), workers: flags.workers_at.clone() };
    let machine = machine::describe();
    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for round in 1..=flags.rounds {
        // A new one each time: it never learns that a worker has gone.
        let bare = Bare::start().map_err(|error| Failure::error(error.to_string()))?;
        let one = |broker: &str, durability: &str, doors: &Doors| {
            let measured =
                measure(doors, load).map_err(|error| Failure::error(format!("{broker}: {error}")))?;
            let line = json!({
                "bench": "recodex", "broker": broker, "durability": durability, "machine": machine, "round": round,
                "nodes": doors.workers.len(), "outstanding": load.outstanding, "workers": load.workers,
                "evaluations": measured.evaluations, "repeated": measured.repeated, "elapsed_ms": measured.elapsed_ms,
                "per_second": measured.per_second, "pongs": measured.pongs, "longest_pong_us": measured.longest_pong_us,
            });
            show::line(&line.to_string())?;
            Ok::<Measured, Failure>(measured)
        };
        of_bare.push(one("bare", OF_BARE, bare.doors())?);
        of_ours.push(one("understudy", OF_OURS, &ours)?);
    }
    let per_second = |all: &[Measured]| median(all.iter().map(|measured| measured.per_second).collect());
    let (us, them) = (per_second(&of_ours), per_second(&of_bare));
    let cells = |name: String, all: &[Measured], per_second: u64| {
        let longest = all.iter().map(|measured| measured.longest_pong_us).max().unwrap_or(0);
        vec![name, per_second.to_string(), (longest / 1_000).to_string()]
    };
    show::table(&[
        ["broker", "evaluations/s (median)", "longest answer to a ping, ms"].map(String::from).to_vec(),
        cells(format!("bare libzmq, {OF_BARE}"), &of_bare, them),
        cells(format!("understudy, {OF_OURS}"), &of_ours, us),
    ])?;
    show::line(&format!("machine: {machine}; all of it, the peers too, on this one"))?;
    ratio(us, them)?;
    Ok(Exit::Ok)
}
