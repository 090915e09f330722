//! Full queues: emptied by one worker, and weighed.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Wish;
use super::slots::{Batches, Submits};
use super::way::Http;
use crate::cluster::{Cluster, status};
use crate::lab::BenchError;
use crate::limits::{
    BATCH_JOBS, DRAIN_PATIENCE, DRAIN_SLOTS, FILLERS, LOOK, SETTLE_LOOK, SETTLE_LOOKS, SETTLED_LOOKS,
};
use crate::load::{Run, Until, run};
use crate::machine;
use crate::report::{Report, Row};

const MIB_KIB: u64 = 1 << 10;

/// Queues so many jobs, a thousand a request.
async fn fill(doors: &[String], jobs: u64, fields: &str) -> Result<Run, BenchError> {
    let slots = Batches::of(doors, FILLERS, fields).await?;
    let (filled, _) = run(slots, BATCH_JOBS, Until { time: Duration::MAX, jobs }).await?;
    Ok(filled)
}

/// Jobs that need a header nobody has are queued; then a worker with that header comes and takes them all. Counted is from
/// the last look at which none had ended to the first at which all had: that the worker has to join first is not part of it.
pub(super) async fn drain(
    wish: &Wish,
    program: &Path,
    folder: &Path,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut runs = Vec::new();
    for _ in 0..wish.runs {
        let mut cluster = Cluster::start(program, folder).await?;
        let doors = cluster.doors().await?;
        let filled = fill(&doors, wish.drained, "\"class\":\"echo\",\"requires\":{\"bench\":\"1\"}").await?;
        cluster.add_worker(DRAIN_SLOTS).await?;
        runs.push(drained(&doors[0], filled.jobs).await?);
    }
    let note = format!("{} queued, one worker with {DRAIN_SLOTS} slots", wish.drained);
    report.add(Row { note, bytes: 100, ..Row::of("drain", "jobs/s", runs) });
    Ok(())
}

/// Jobs a second; how many there were is known, as a node may forget those that ended first.
async fn drained(door: &str, queued: u64) -> Result<u64, BenchError> {
    let (began, mut nothing_yet) = (Instant::now(), Instant::now());
    while began.elapsed() < DRAIN_PATIENCE {
        let looked = Instant::now();
        let jobs = status(door).await?.jobs;
        let count = |state: &str| jobs.get(state).copied().unwrap_or(0);
        let ended = count("succeeded");
        if ended == 0 {
            nothing_yet = looked;
        } else if count("queued") + count("running") == 0 {
            let elapsed_us = nothing_yet.elapsed().as_micros().max(1);
            return Ok((u128::from(queued) * 1_000_000 / elapsed_us) as u64);
        }
        sleep(LOOK / 2).await;
    }
    Err(BenchError::new("draining a queue", format!("not empty after {} s", DRAIN_PATIENCE.as_secs())))
}

/// Memory of the leader over idle with so many queued, and what submissions are like before and after.
pub(super) async fn memory(wish: &Wish, cluster: &Cluster, report: &mut Report) -> Result<(), BenchError> {
    let doors = cluster.doors().await?;
    let leader: Vec<u32> =
        cluster.processes().into_iter().filter(|(door, _)| *door == doors[0]).map(|(_, id)| id).collect();
    let outstanding = wish.outstanding.iter().copied().max().unwrap_or(1).min(256);
    let rate = async |report: &mut Report, queued: u64| {
        let slots = Submits::connect(Http::One, &doors, outstanding, 100).await?;
        let (one, _) = run(slots, 1, Until::over(wish.run)).await?;
        let note = format!("with {queued} queued; longest {} ms", one.longest_us / 1_000);
        let row = Row::of("submit-queued", "jobs/s", vec![one.per_second()]);
        let (p50_us, p99_us) = (Some(one.p50_us), Some(one.p99_us));
        report.add(Row { note, outstanding, bytes: 100, p50_us, p99_us, ..row });
        Ok::<u64, BenchError>(one.jobs)
    };
    let idle_kib = machine::memory_kib(&leader);
    let mut queued = rate(report, 0).await?;
    for wanted in &wish.queued {
        let filled = fill(&doors, wanted.saturating_sub(queued), "\"class\":\"bench-idle\"").await?;
        queued += filled.jobs;
        let (most_kib, kib) = settled(&leader).await;
        let over_kib = kib.saturating_sub(idle_kib);
        let note = format!(
            "{queued} queued, over {} MiB idle; filled at {} jobs/s; up to {} MiB while a snapshot was made",
            idle_kib / MIB_KIB,
            filled.per_second(),
            most_kib.saturating_sub(idle_kib) / MIB_KIB
        );
        let row = Row::of("memory", "MiB over idle, leader", vec![over_kib / MIB_KIB]);
        report.add(Row { note, bytes: 100, ..row });
    }
    rate(report, queued).await?;
    Ok(())
}

/// The most that was seen after the queue was filled, and what is left once it stays the same: a snapshot that the filling
/// made due is written meanwhile.
async fn settled(processes: &[u32]) -> (u64, u64) {
    let (mut most_kib, mut before_kib, mut same) = (0, 0, 0);
    for _ in 0..SETTLE_LOOKS {
        sleep(SETTLE_LOOK).await;
        let kib = machine::memory_kib(processes);
        most_kib = most_kib.max(kib);
        same = if kib.abs_diff(before_kib) * 100 <= kib { same + 1 } else { 0 };
        before_kib = kib;
        if same == SETTLED_LOOKS {
            break;
        }
    }
    (most_kib, before_kib)
}
