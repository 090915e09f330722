//! Measures another system that runs already: `peers etcd|rabbitmq HOST:PORT,… PROCESS,… [SCRATCH]`. `bench/compare` starts it.
//! The amounts are those of `understudy bench http`: seconds a run in BENCH_RUN_MS, runs in BENCH_RUNS.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bench::lab::BenchError;
use bench::load::{Until, run};
use bench::machine;
use bench::peers::Peer;
use bench::peers::etcd::{Puts, empty};
use bench::peers::failover::{Kind, longest_gap};
use bench::peers::rabbit::Rabbit;
use bench::report::{Report, Row, Setting};
use bench::works::measured;

const OUTSTANDING: [usize; 4] = [1, 16, 256, 1_024];
const BYTES: [usize; 2] = [100, 10_240];
const WORKERS: usize = 4;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// How much is done.
struct Amount {
    run: Duration,
    runs: usize,
    drained: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BenchError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [system, addresses, processes, rest @ ..] = &words[..] else {
        return Err(BenchError::new(
            "reading the command line",
            "peers SYSTEM HOST:PORT,… PROCESS,… [SCRATCH]",
        ));
    };
    let list = |text: &str| text.split(',').map(String::from).collect::<Vec<_>>();
    let processes = list(processes).iter().filter_map(|text| text.parse().ok()).collect();
    let peer = Peer { addresses: list(addresses), processes };
    let scratch = rest.first().map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    let amount = Amount {
        run: Duration::from_millis(number("BENCH_RUN_MS", 1_000)),
        runs: number("BENCH_RUNS", 3) as usize,
        drained: number("BENCH_DRAINED", 100_000),
    };
    let setting = Setting {
        system: system.clone(),
        durability: "fsync on a majority".to_owned(),
        nodes: peer.addresses.len(),
        machine: machine::describe(),
        syncs_per_second: machine::syncs_per_second(&scratch)?,
    };
    let mut report = Report::new(setting);
    let idle = machine::memory_kib(&peer.processes) / 1_024;
    report.add(Row::of("idle", "MiB, three nodes", vec![idle]));
    let kind = if system == "etcd" {
        etcd(&peer, &amount, &mut report).await?;
        Kind::Etcd
    } else {
        rabbit(&peer, &amount, &mut report).await?;
        Kind::Rabbit
    };
    let gap = longest_gap(kind, &peer, amount.run * 9).await?;
    report.add(Row::of("failover", "ms, longest gap", vec![gap.as_millis() as u64]));
    Ok(())
}

async fn etcd(peer: &Peer, amount: &Amount, report: &mut Report) -> Result<(), BenchError> {
    for bytes in BYTES {
        for outstanding in OUTSTANDING {
            empty(peer).await?;
            let slots = Puts::connect(&peer.addresses, outstanding, bytes).await?;
            report.add(measured(amount.run, amount.runs, slots, 1, "submit", bytes).await?);
        }
    }
    Ok(())
}

async fn rabbit(peer: &Peer, amount: &Amount, report: &mut Report) -> Result<(), BenchError> {
    let rabbit = Rabbit::connect(peer).await?;
    for bytes in BYTES {
        for outstanding in OUTSTANDING {
            rabbit.empty().await?;
            let slots = rabbit.publishers(outstanding, bytes).await?;
            report.add(measured(amount.run, amount.runs, slots, 1, "submit", bytes).await?);
        }
    }
    rabbit.empty().await?;
    let workers = rabbit.workers(WORKERS, &Arc::new(AtomicU64::new(0))).await?;
    for outstanding in OUTSTANDING {
        let slots = rabbit.askers(outstanding).await?;
        report.add(measured(amount.run, amount.runs, slots, 1, "round-trip", 100).await?);
    }
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    let mut runs = Vec::new();
    for _ in 0..amount.runs {
        // A fresh connection: the workers of the run before are gone with theirs.
        let rabbit = Rabbit::emptied(peer).await?;
        let slots = rabbit.publishers(256, 100).await?;
        let filled = Until { time: Duration::MAX, jobs: amount.drained };
        run(slots, 1, filled).await?;
        runs.push(rabbit.drained(amount.drained, WORKERS).await?);
    }
    let note = format!("{} queued, {WORKERS} workers", amount.drained);
    report.add(Row { note, bytes: 100, ..Row::of("drain", "jobs/s", runs) });
    Rabbit::emptied(peer).await.map(drop)
}
