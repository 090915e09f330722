//! How busy this node is: by its cgroup where that has a limit, else by its own processes and the machine.
//!
//! ```text
//!   processor   quota in the cgroup?  yes: the cgroup's use over its quota    no: node and children, over all cores
//!   memory      limit in the cgroup?  yes: the cgroup's use over its limit    no: the machine's
//!   pressure    files in the cgroup?  yes: the cgroup's                       no: the machine's
//! ```
//! Integers only. What the kernel's files cannot tell counts as no limit, never as an error.

pub(crate) mod cgroup;
mod host;
mod pressure;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::Load;

use self::cgroup::Cgroup;
use self::host::Host;
use self::pressure::Pressure;

/// Two calls closer than this tell nothing: the last answer is given again.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);
/// Calls in a row for which the use may seem to fall until that is believed. A process that is buried between two
/// reads is missed once; one that an end took out of the tree stays away.
const DIPS_DOUBTED: u32 = 8;

/// Measures the node's load.
#[derive(Debug)]
pub struct Probe {
    cgroup: Cgroup,
    host: Host,
    pressure: Pressure,
    data: PathBuf,
    last: Option<Sample>,
    dips: u32,
    shown_milli: u32,
}

/// Processor time used until a moment, by one way of measuring.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    /// The file of the cgroup; none for the node's own processes.
    source: Option<PathBuf>,
    used_us: u64,
}

impl Probe {
    /// A probe that reads `proc` and `sys` below `root` (`/`; tests give a made one). The machine's cores and memory
    /// are always the real ones. The disk is the one of the folder `data`.
    #[must_use]
    pub fn new(root: &Path, data: &Path) -> Self {
        let data = data.to_path_buf();
        Self {
            cgroup: Cgroup::new(root),
            host: Host::new(root),
            pressure: Pressure::new(root),
            data,
            last: None,
            dips: 0,
            shown_milli: 0,
        }
    }

    /// The load now; processor time as used since the last call (0 at the first), lightly smoothed. Under a
    /// millisecond.
    pub fn load(&mut self) -> Load {
        let (memory_used_bytes, memory_total_bytes) = self.memory();
        let cores_milli = self.host.cores_milli();
        let (used, cpu_total_milli) = match self.cgroup.cpu(cores_milli) {
            Some(cpu) => ((cpu.used_us, Some(cpu.file)), cpu.quota_milli),
            None => ((self.host.used_us(), None), cores_milli),
        };
        // A quota is kept on average only, the cores are there and no more.
        self.measure(Instant::now(), used.0, used.1, cores_milli);
        let disk = crate::disk::room(&self.data);
        Load {
            cpu_used_milli: self.shown_milli,
            cpu_total_milli,
            memory_used_bytes,
            memory_total_bytes,
            disk_free_bytes: disk.map_or(0, |room| room.free_bytes),
            disk_total_bytes: disk.map_or(0, |room| room.total_bytes),
            cpu_pressure_permille: self.pressure.permille(&self.cgroup, "cpu"),
            memory_pressure_permille: self.pressure.permille(&self.cgroup, "memory"),
        }
    }

    fn memory(&mut self) -> (u64, u64) {
        let (host_used, host_total) = self.host.memory_bytes();
        self.cgroup.memory_bytes(host_total).unwrap_or((host_used, host_total))
    }

    fn measure(&mut self, at: Instant, used_us: u64, source: Option<PathBuf>, most_milli: u32) {
        let new = Sample { at, source, used_us };
        let Some(last) = self.last.as_ref().filter(|last| last.source == new.source) else {
            self.last = Some(new);
            return;
        };
        let passed = at.duration_since(last.at);
        if passed < LEAST_INTERVAL {
            return;
        }
        let spent_us = used_us.saturating_sub(last.used_us);
        self.dips = if used_us < last.used_us { self.dips + 1 } else { 0 };
        let kept_us = if self.dips > DIPS_DOUBTED { used_us } else { used_us.max(last.used_us) };
        let passed_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
        let milli =
            u32::try_from(spent_us.saturating_mul(1_000) / passed_us).unwrap_or(u32::MAX).min(most_milli);
        self.shown_milli = self.shown_milli.midpoint(milli);
        self.last = Some(Sample { used_us: kept_us, ..new });
    }
}
