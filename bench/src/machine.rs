//! What the machine is, and what processes take of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::BenchError;

/// How long the disk is tried.
const DISK_TRIAL: Duration = Duration::from_millis(500);
const SYNC_BYTES: usize = 4 << 10;
/// The kernel's unit of processor time; it is 100 a second wherever this runs.
const JIFFY_MS: u64 = 10;

/// Cores, memory, kernel.
#[must_use]
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = number_after(&text, "MemTotal:").unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {} GiB, Linux {}", kib.div_ceil(1 << 20), kernel.trim())
}

/// Syncs a second of 4 KiB appended in this folder, one after the other.
///
/// # Errors
/// [`BenchError`]: the folder cannot be written.
pub fn syncs_per_second(folder: &Path) -> Result<u64, BenchError> {
    let failed = |error: std::io::Error| BenchError::new("trying the disk", error);
    let path = folder.join("disk-trial");
    let mut file = File::create(&path).map_err(failed)?;
    let (began, mut syncs) = (Instant::now(), 0_u64);
    while began.elapsed() < DISK_TRIAL {
        file.write_all(&[b'x'; SYNC_BYTES]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        syncs += 1;
    }
    let elapsed_ms = began.elapsed().as_millis().max(1) as u64;
    fs::remove_file(&path).map_err(failed)?;
    Ok(syncs * 1_000 / elapsed_ms)
}

/// Proportional set size of these processes and all they started, KiB.
#[must_use]
pub fn memory_kib(processes: &[u32]) -> u64 {
    let own = |process: u32| {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        number_after(&text, "Pss:").unwrap_or(0)
    };
    processes.iter().map(|process| own(*process) + memory_kib(&children(*process))).sum()
}

/// Processor time these processes and all they started have used, milliseconds.
#[must_use]
pub fn cpu_ms(processes: &[u32]) -> u64 {
    let own = |process: u32| {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name may hold anything; what follows its last bracket is numbers.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
        let jiffies =
            |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        (jiffies(11) + jiffies(12)) * JIFFY_MS
    };
    processes.iter().map(|process| own(*process) + cpu_ms(&children(*process))).sum()
}

fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_time() {
        let me = [std::process::id()];
        assert!(memory_kib(&me) > 0);
        let began = Instant::now();
        while cpu_ms(&me) == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "working takes processor time");
        }
    }
}
