//! `bench lab`: round trips a second over the lab's wire, beside a bare broker in the same sitting. `bench recodex`: evaluations
//! over ReCodEx's wire, likewise. `bench http`: what three nodes do over HTTP.

mod recodex;

use std::path::PathBuf;
use std::time::Duration;

use bench::bare::Bare;
use bench::lab::{Ends, Load, Measured, measure};
use bench::limits::{HTTP_OUTSTANDING, OUTSTANDING, QUEUED, REQUESTS, WORKERS};
use bench::works::{self, Http, Place, Wish, Work};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Round trips of one DEALER over the lab's wire, in turn with a bare ROUTER-ROUTER broker that keeps nothing
    Lab(LabFlags),
    /// Evaluations over ReCodEx's wire with many workers that ping each second, in turn with a bare ROUTER-ROUTER broker that keeps
    /// nothing; nobody else should have workers or evaluations there meanwhile
    Recodex(recodex::RecodexFlags),
    /// Submissions, batches, round trips, a full queue, a killed leader, memory: over HTTP, on three nodes of this program that are
    /// started for it on loopback, or on a cluster that is there
    Http(HttpFlags),
}

/// What is done over HTTP, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct HttpFlags {
    /// Nodes of a cluster that is there, instead of three of its own (only submit, batch and round-trip then)
    #[arg(long, value_name = "HOST:PORT[,…]", value_delimiter = ',')]
    at: Vec<String>,
    /// Works: idle, submit, batch, round-trip, drain, failover, memory [default: all that can be done there]
    #[arg(long, value_name = "WORK[,…]", value_delimiter = ',', value_parser = work)]
    works: Vec<Work>,
    /// Length of one run
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = length)]
    run: Duration,
    /// Runs of each measurement; the median is quoted
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = bounded(100))]
    runs: usize,
    /// Requests in flight, one measurement each
    #[arg(long, value_name = "N[,…]", value_delimiter = ',', default_values_t = [1, 16, 256, 1_024], value_parser = bounded(HTTP_OUTSTANDING))]
    outstanding: Vec<usize>,
    /// Versions of HTTP, one measurement of submit and round-trip each: 1.1 with a connection for each request in flight, 2 with one to
    /// each node that its requests share
    #[arg(long, value_name = "VERSION[,…]", value_delimiter = ',', default_values = Http::ALL.map(Http::word), value_parser = version)]
    http: Vec<Http>,
    /// Bytes of a payload, one measurement of submit each
    #[arg(long, value_name = "N[,…]", value_delimiter = ',', default_values_t = [100, 10_240], value_parser = bounded(protocol::limits::PAYLOAD_BYTES))]
    bytes: Vec<usize>,
    /// Jobs queued for drain
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = bounded(QUEUED))]
    drained: usize,
    /// Jobs queued for memory, rising
    #[arg(long, value_name = "N[,…]", value_delimiter = ',', default_values_t = [100_000, 1_000_000], value_parser = bounded(QUEUED))]
    queued: Vec<usize>,
    /// Folder for the nodes, on the disk that is to be measured; what it makes there is removed [default: in the temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

fn work(text: &str) -> Result<Work, String> {
    let words: Vec<&str> = Work::ALL.iter().map(|work| work.word()).collect();
    let found = Work::ALL.into_iter().find(|work| work.word() == text);
    found.ok_or_else(|| format!("must be of {}", words.join(", ")))
}

fn version(text: &str) -> Result<Http, String> {
    let found = Http::ALL.into_iter().find(|http| http.word() == text);
    found.ok_or_else(|| format!("must be of {}", Http::ALL.map(Http::word).join(", ")))
}

fn length(text: &str) -> Result<Duration, String> {
    protocol::duration::parse_ms(text).map(Duration::from_millis).map_err(|error| error.to_string())
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

/// Measures and prints a JSON line for each measurement, then a table.
pub(crate) fn run(command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Lab(flags) => lab(flags),
        BenchCommand::Recodex(flags) => recodex::run(flags),
        BenchCommand::Http(flags) => http(flags),
    }
}

fn http(flags: &HttpFlags) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::error(format!("bench http: {error}"));
    let place = if flags.at.is_empty() {
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let default = || std::env::temp_dir().join(format!("understudy-bench-{}", std::process::id()));
        Place::Own { program, scratch: flags.scratch.clone().unwrap_or_else(default) }
    } else {
        Place::There(flags.at.clone())
    };
    let possible = |work: &Work| flags.at.is_empty() || !work.needs_own_cluster();
    let works = if flags.works.is_empty() {
        Work::ALL.into_iter().filter(possible).collect()
    } else {
        flags.works.clone()
    };
    let wish = Wish {
        works,
        run: flags.run,
        runs: flags.runs,
        outstanding: flags.outstanding.clone(),
        http: flags.http.clone(),
        bytes: flags.bytes.clone(),
        drained: flags.drained as u64,
        queued: flags.queued.iter().map(|queued| *queued as u64).collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.map_err(|error| failed(&error))?.block_on(works::all(&wish, &place));
    show::table(&report.map_err(|error| failed(&error))?.table())?;
    Ok(Exit::Ok)
}

/// In rounds, each both.
fn lab(flags: &LabFlags) -> Outcome {
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
    let per_second = |all: &[Measured]| median(all.iter().map(|measured| measured.per_second).collect());
    let (us, them) = (per_second(&of_ours), per_second(&of_bare));
    let cells = |name: &str, all: &[Measured], per_second: u64| {
        let p50 = all.iter().map(|measured| measured.p50_us).min().unwrap_or(0);
        vec![name.to_string(), per_second.to_string(), p50.to_string()]
    };
    show::table(&[
        ["broker", "round trips/s (median)", "p50 us (best)"].map(String::from).to_vec(),
        cells("bare libzmq, keeps nothing", &of_bare, them),
        cells("understudy, fdatasync on a majority", &of_ours, us),
    ])?;
    ratio(us, them)?;
    Ok(Exit::Ok)
}

fn ratio(us: u64, them: u64) -> Result<(), Failure> {
    let percent = us.saturating_mul(100).checked_div(them).unwrap_or(0);
    show::line(&format!("ratio: {}.{:02} of the bare broker", percent / 100, percent % 100))
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

fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}
