//! `bench lab`: round trips a second over the lab's wire, beside a bare broker in the same sitting.

use bench::bare::Bare;
use bench::lab::{Ends, Load, Measured, measure};
use bench::limits::{OUTSTANDING, REQUESTS, WORKERS};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Round trips of one DEALER over the lab's wire, in turn with a bare ROUTER-ROUTER broker that keeps nothing
    Lab(LabFlags),
}

/// Where the cluster is and how much it is asked.
#[derive(Debug, Args)]
pub(crate) struct LabFlags {
    /// A node's port for clients
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9998")]
    clients: String,
    /// A node's port for workers
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9999")]
    workers_at: String,
    /// Requests in flight at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = bounded(OUTSTANDING))]
    outstanding: usize,
    /// Requests of each round
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = bounded(REQUESTS))]
    requests: usize,
    /// Workers attached, all of one class, answering at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = bounded(WORKERS))]
    workers: usize,
    /// Bytes of each request and each reply
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = bounded(protocol::limits::PAYLOAD_BYTES))]
    bytes: usize,
    /// Rounds; the medians are compared
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = bounded(100))]
    rounds: usize,
}

fn bounded(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("must be a whole number from 1 to {most}"))
    }
}

/// Measures in rounds, each both, and prints a JSON line for each, then a table.
pub(crate) fn run(command: &BenchCommand) -> Outcome {
    let BenchCommand::Lab(flags) = command;
    let load = Load {
        requests: flags.requests,
        outstanding: flags.outstanding,
        workers: flags.workers,
        bytes: flags.bytes,
    };
    let ours = Ends { clients: flags.clients.clone(), workers: flags.workers_at.clone() };
    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for round in 1..=flags.rounds {
        // A new one each time: it never learns that a worker has gone.
        let bare = Bare::start().map_err(|error| Failure::error(error.to_string()))?;
        of_bare.push(one("bare", round, bare.ends(), load)?);
        of_ours.push(one("understudy", round, &ours, load)?);
    }
    let (us, them) = (median(&of_ours), median(&of_bare));
    let cells = |name: &str, all: &[Measured], per_second: u64| {
        let p50 = all.iter().map(|measured| measured.p50_us).min().unwrap_or(0);
        vec![name.to_string(), per_second.to_string(), p50.to_string()]
    };
    show::table(&[
        ["broker", "round trips/s (median)", "p50 us (best)"].map(String::from).to_vec(),
        cells("bare libzmq, keeps nothing", &of_bare, them),
        cells("understudy, fdatasync on a majority", &of_ours, us),
    ])?;
    let percent = us.saturating_mul(100).checked_div(them).unwrap_or(0);
    show::line(&format!("ratio: {}.{:02} of the bare broker", percent / 100, percent % 100))?;
    Ok(Exit::Ok)
}

fn one(broker: &str, round: usize, ends: &Ends, load: Load) -> Result<Measured, Failure> {
    let measured = measure(ends, load).map_err(|error| Failure::error(format!("{broker}: {error}")))?;
    let Load { requests, outstanding, workers, bytes } = load;
    let line = json!({
        "bench": "lab", "broker": broker, "round": round, "requests": requests, "outstanding": outstanding,
        "workers": workers, "bytes": bytes, "per_second": measured.per_second, "elapsed_ms": measured.elapsed_ms,
        "p50_us": measured.p50_us, "p99_us": measured.p99_us,
    });
    show::line(&line.to_string())?;
    Ok(measured)
}

fn median(all: &[Measured]) -> u64 {
    let mut figures: Vec<u64> = all.iter().map(|measured| measured.per_second).collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}
