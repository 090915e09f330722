//! The works: what is done to a cluster over HTTP, and what is counted.

mod failover;
mod queue;
mod slots;
mod way;

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::{Cluster, doors};
use crate::lab::BenchError;
use crate::limits::NODES;
use crate::load::{Run, Slot, Until, run};
use crate::machine;
use crate::report::{Report, Row, Setting, median};
#[cfg(feature = "peers")]
pub(crate) use slots::payload;
use slots::{Batches, RoundTrips, Submits};
pub use way::Http;

/// One work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What three nodes take that have nothing to do.
    Idle,
    /// Jobs acknowledged, one a request.
    Submit,
    /// Jobs acknowledged, a thousand a request.
    Batch,
    /// Jobs submitted and ended, one a request.
    RoundTrip,
    /// A full queue emptied by one worker.
    Drain,
    /// The longest gap between two acknowledgements when the leader is killed.
    Failover,
    /// What a queue takes in memory, and what it does to submissions.
    Memory,
}

impl Work {
    /// All, in the order in which they are done.
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Submit, Self::Batch, Self::RoundTrip, Self::Drain, Self::Failover, Self::Memory];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Submit => "submit",
            Self::Batch => "batch",
            Self::RoundTrip => "round-trip",
            Self::Drain => "drain",
            Self::Failover => "failover",
            Self::Memory => "memory",
        }
    }

    /// Whether it needs nodes that it may kill, look into, or add to.
    #[must_use]
    pub fn needs_own_cluster(self) -> bool {
        matches!(self, Self::Idle | Self::Drain | Self::Failover | Self::Memory)
    }
}

/// What is to be measured, and how much.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which works.
    pub works: Vec<Work>,
    /// Length of one run.
    pub run: Duration,
    /// Runs of each measurement.
    pub runs: usize,
    /// Things in flight, one measurement each.
    pub outstanding: Vec<usize>,
    /// Versions of HTTP, one measurement of submissions and round trips each.
    pub http: Vec<Http>,
    /// Bytes of a payload, one measurement each.
    pub bytes: Vec<usize>,
    /// Jobs queued for `drain`.
    pub drained: u64,
    /// Jobs queued for `memory`, one measurement each, rising.
    pub queued: Vec<u64>,
}

/// Where it is measured.
#[derive(Clone, Debug)]
pub enum Place {
    /// A cluster of our own, with this program, in this folder (which is removed afterwards).
    Own {
        /// The program.
        program: PathBuf,
        /// The folder.
        scratch: PathBuf,
    },
    /// A cluster that is there: `HOST:PORT` of its nodes.
    There(Vec<String>),
}

/// Does all works and reports each as it is done.
///
/// # Errors
/// [`BenchError`]: a work could not be done, or failed in the middle.
pub async fn all(wish: &Wish, place: &Place) -> Result<Report, BenchError> {
    let scratch = match place {
        Place::Own { scratch, .. } => scratch.clone(),
        Place::There(_) => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&scratch).map_err(|error| BenchError::new("making the scratch folder", error))?;
    let setting = Setting {
        system: "understudy".to_owned(),
        durability: "fdatasync on a majority".to_owned(),
        nodes: match place {
            Place::Own { .. } => NODES,
            Place::There(addresses) => addresses.len(),
        },
        machine: machine::describe(),
        syncs_per_second: machine::syncs_per_second(&scratch)?,
    };
    let mut report = Report::new(setting);
    for work in &wish.works {
        match place {
            Place::There(_) if work.needs_own_cluster() => {
                let why = "needs a cluster of its own";
                return Err(BenchError::new("measuring", format!("{}: {why}", work.word())));
            }
            Place::There(addresses) => one(*work, wish, &doors(addresses).await?, &mut report).await?,
            Place::Own { program, scratch } => {
                let folder = scratch.join("cluster");
                on_own(*work, wish, program, &folder, &mut report).await?;
            }
        }
    }
    Ok(report)
}

/// Each work, and each measurement of one that leaves jobs queued, has a fresh cluster: that is not the next one's burden, as
/// the others are emptied too.
async fn on_own(
    work: Work,
    wish: &Wish,
    program: &std::path::Path,
    folder: &std::path::Path,
    report: &mut Report,
) -> Result<(), BenchError> {
    match work {
        Work::Submit => {
            for one in measurements(wish) {
                let cluster = Cluster::start(program, folder).await?;
                report.add(submit(wish, one, &cluster.doors().await?, Some(&cluster)).await?);
            }
            Ok(())
        }
        Work::Drain => queue::drain(wish, program, folder, report).await,
        Work::Failover => failover::failover(wish, &mut Cluster::start(program, folder).await?, report).await,
        Work::Memory => queue::memory(wish, &Cluster::start(program, folder).await?, report).await,
        Work::Idle => idle(wish, &Cluster::start(program, folder).await?, report).await,
        Work::Batch | Work::RoundTrip => {
            let cluster = Cluster::start(program, folder).await?;
            one(work, wish, &cluster.doors().await?, report).await
        }
    }
}

async fn one(work: Work, wish: &Wish, doors: &[String], report: &mut Report) -> Result<(), BenchError> {
    match work {
        Work::Submit => {
            for one in measurements(wish) {
                report.add(submit(wish, one, doors, None).await?);
            }
        }
        Work::Batch => {
            let slots = Batches::connect(doors, crate::limits::FILLERS).await?;
            let row = measured(wish.run, wish.runs, slots, crate::limits::BATCH_JOBS, "batch", 100).await?;
            report.add(row);
        }
        Work::RoundTrip => {
            for (http, outstanding) in ways(wish) {
                let slots = RoundTrips::connect(http, doors, outstanding).await?;
                let row = measured(wish.run, wish.runs, slots, 1, "round-trip", 100).await?;
                report.add(Row { http: http.word(), ..row });
            }
        }
        Work::Idle | Work::Drain | Work::Failover | Work::Memory => {}
    }
    Ok(())
}

/// Versions and things in flight.
fn ways(wish: &Wish) -> impl Iterator<Item = (Http, usize)> {
    wish.outstanding.iter().flat_map(|outstanding| wish.http.iter().map(|http| (*http, *outstanding)))
}

/// Payloads with each of them.
fn measurements(wish: &Wish) -> impl Iterator<Item = (usize, Http, usize)> {
    wish.bytes.iter().flat_map(|bytes| ways(wish).map(|(http, outstanding)| (*bytes, http, outstanding)))
}

async fn submit(
    wish: &Wish,
    (bytes, http, outstanding): (usize, Http, usize),
    doors: &[String],
    cluster: Option<&Cluster>,
) -> Result<Row, BenchError> {
    let processes: Vec<u32> =
        cluster.map(|cluster| cluster.processes().iter().map(|(_, id)| *id).collect()).unwrap_or_default();
    let slots = Submits::connect(http, doors, outstanding, bytes).await?;
    // This process and its children, which are the nodes.
    let all = [std::process::id()];
    let (nodes_ms, all_ms) = (machine::cpu_ms(&processes), machine::cpu_ms(&all));
    let mut row = measured(wish.run, wish.runs, slots, 1, "submit", bytes).await?;
    row.http = http.word();
    if cluster.is_some() {
        let nodes_ms = machine::cpu_ms(&processes) - nodes_ms;
        let asker_ms = (machine::cpu_ms(&all) - all_ms).saturating_sub(nodes_ms);
        // Runs count jobs a second. What warmed up is in the time and not in the jobs: a twelfth too much, with three runs.
        let jobs = row.runs.iter().sum::<u64>() * wish.run.as_millis() as u64 / 1_000;
        let a_job = |spent_ms: u64| {
            let tenths_us = spent_ms * 10_000 / jobs.max(1);
            format!("{}.{}", tenths_us / 10, tenths_us % 10)
        };
        let (nodes_us, asker_us) = (a_job(nodes_ms), a_job(asker_ms));
        row.note = format!("{nodes_us} us of processor time a job, all nodes; {asker_us} of who asks");
    }
    Ok(row)
}

/// So many runs of the same slots, after a short one that warms up.
///
/// # Errors
/// [`BenchError`] of any slot.
pub async fn measured<S: Slot>(
    time: Duration,
    count: usize,
    slots: Vec<S>,
    each: u64,
    work: &'static str,
    bytes: usize,
) -> Result<Row, BenchError> {
    let outstanding = slots.len();
    let (_, mut slots) = run(slots, each, Until::over(time / 4)).await?;
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..count {
        let (one, back) = run(slots, each, Until::over(time)).await?;
        slots = back;
        runs.push(one);
    }
    let row = Row::of(work, "jobs/s", runs.iter().map(Run::per_second).collect());
    let middle = runs.iter().find(|run| run.per_second() == row.median).copied().unwrap_or_default();
    let (p50_us, p99_us) = (Some(middle.p50_us), Some(middle.p99_us));
    Ok(Row { outstanding, bytes, p50_us, p99_us, ..row })
}

/// Memory of all three, and the processor time they take while nobody asks anything.
async fn idle(wish: &Wish, cluster: &Cluster, report: &mut Report) -> Result<(), BenchError> {
    let processes: Vec<u32> = cluster.processes().iter().map(|(_, id)| *id).collect();
    let (mut memory, mut load) = (Vec::new(), Vec::new());
    for _ in 0..wish.runs {
        let before_ms = machine::cpu_ms(&processes);
        let rest = wish.run * 3;
        tokio::time::sleep(rest).await;
        let spent_ms = machine::cpu_ms(&processes) - before_ms;
        memory.push(machine::memory_kib(&processes) / 1024);
        load.push(spent_ms * 1_000 / rest.as_millis().max(1) as u64);
    }
    let note = format!("{} thousandths of a core", median(&load));
    report.add(Row { note, ..Row::of("idle", "MiB, three nodes", memory) });
    report.add(Row::of("idle-cpu", "thousandths of a core, three nodes", load));
    Ok(())
}
