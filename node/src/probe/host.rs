//! The machine's cores and memory, and what this node's processes use of it.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use sysinfo::{MemoryRefreshKind, System};

use crate::runner::processes::{stat, tree};

/// Processes of this node that are looked at: with more, the use is that of the first ones.
const PROCESSES: usize = 2_000;
/// The kernel shows processor times in hundredths of a second, on every machine Rust knows but two dead ones.
const TICK_US: u64 = 10_000;

/// Asked in one call, where finding children means to read a file of each thread: an idle node does this four times a second.
fn has_no_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::All, look), Err(Errno::ECHILD))
}

#[derive(Debug)]
pub(super) struct Host {
    proc: PathBuf,
    /// It is the kernel's own, not one made for a test.
    is_real: bool,
    me: i32,
    cores_milli: u32,
    system: Option<System>,
}

impl Host {
    pub(super) fn new(root: &Path) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            proc: root.join("proc"),
            is_real: root == Path::new("/"),
            me: nix::unistd::getpid().as_raw(),
            cores_milli: u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(1_000),
            system: System::new().ok(),
        }
    }

    /// All cores this process may run on, in thousandths.
    pub(super) fn cores_milli(&self) -> u32 {
        self.cores_milli
    }

    /// The machine's memory in use (what is not available) and in all; zeros where nobody can tell.
    pub(super) fn memory_bytes(&mut self) -> (u64, u64) {
        let Some(system) = &mut self.system else { return (0, 0) };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = system.total_memory();
        (total.saturating_sub(system.available_memory()), total)
    }

    /// Processor time of this process and all that descends from it, living or ended. A process that ends moves
    /// into its parent's sum: the parent is read first, so that a move in between is missed once, never doubled.
    pub(super) fn used_us(&self) -> u64 {
        let alone = self.is_real && has_no_children();
        let processes = if alone { vec![self.me] } else { tree(&self.proc, self.me, PROCESSES) };
        let ticks = processes.iter().filter_map(|pid| {
            let stat = stat(&self.proc, *pid)?;
            Some(stat.own_ticks + stat.ended_children_ticks)
        });
        ticks.sum::<u64>().saturating_mul(TICK_US)
    }
}
