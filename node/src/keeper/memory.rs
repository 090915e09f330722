//! How much memory an attempt takes, and whether the kernel killed for it.
//!
//! Where the attempt has no cgroup of its own, its keeper measures: a cheap sum first, and only when that is over the limit
//! the one that counts shared pages once. An address-space limit would be no replacement: programs reserve much that they
//! never use, and one that is refused memory ends with a code of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use crate::probe::cgroup::Cgroup;
use crate::runner::order::ForMemory;
use crate::runner::processes::tree;

/// The fastest that memory is expected to be taken: the next measuring comes before the limit could be reached by it.
const BYTES_A_MS: u64 = 4 << 20;
/// The shortest and the longest time between two measurings.
const EVERY_MS: (u64, u64) = (20, 250);
/// Processes one measuring looks at.
const PROCESSES: usize = 10_000;

/// Measures the memory of all that is below a process.
#[derive(Debug)]
pub(super) struct Meter {
    limit_bytes: u64,
    page_bytes: u64,
    next: Instant,
}

impl Meter {
    /// None without a limit.
    pub(super) fn new(limit_bytes: u64, now: Instant) -> Option<Self> {
        let page_bytes =
            sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok());
        (limit_bytes > 0).then(|| Self { limit_bytes, page_bytes: page_bytes.unwrap_or(4096), next: now })
    }

    /// When to measure next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Measures when it is time: what was exceeded, if something was.
    pub(super) fn measure(&mut self, proc: &Path, keeper: i32, now: Instant) -> Option<ForMemory> {
        if now < self.next {
            return None;
        }
        let all = tree(proc, keeper, PROCESSES);
        let sum = |of: &dyn Fn(&Path) -> u64| {
            all.iter().skip(1).map(|pid| of(&proc.join(pid.to_string()))).fold(0, u64::saturating_add)
        };
        let resident = |process: &Path| resident_pages(process).saturating_mul(self.page_bytes);
        let mut bytes = sum(&resident);
        if bytes > self.limit_bytes {
            bytes = sum(&|process| proportional_bytes(process).unwrap_or_else(|| resident(process)));
        }
        let room_ms = self.limit_bytes.saturating_sub(bytes) / BYTES_A_MS;
        self.next = now + Duration::from_millis(room_ms.clamp(EVERY_MS.0, EVERY_MS.1));
        (bytes > self.limit_bytes).then_some(ForMemory::Limit { bytes: self.limit_bytes })
    }
}

/// `statm`: sizes in pages, the resident one second. 0 for a process that is gone.
fn resident_pages(process: &Path) -> u64 {
    let line = fs::read_to_string(process.join("statm")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// `smaps_rollup`: of pages that several processes share, each has its part.
fn proportional_bytes(process: &Path) -> Option<u64> {
    let text = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"))?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The kernel's kills for memory in the cgroup of this process (as a rule: its container), counted from its making.
#[derive(Debug)]
pub(super) struct Kills {
    cgroup: Cgroup,
    before: u64,
}

impl Kills {
    /// Counts from here on.
    pub(super) fn from_now(root: &Path) -> Self {
        let cgroup = Cgroup::new(root);
        let before = cgroup.memory_kills().unwrap_or(0);
        Self { cgroup, before }
    }

    /// Whether there were some. With several attempts in one container it may have been another one that was killed.
    pub(super) fn came(&self) -> bool {
        self.cgroup.memory_kills().is_some_and(|now| now > self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A keeper 7 with children 8 and 9, which share most of what they have.
    fn family(root: &Path, (resident, proportional_kib): (u64, u64)) {
        write(root, "7/task/7/children", "8 9");
        write(root, "7/statm", "99999999 99999999 0 0 0 0 0");
        for pid in [8, 9] {
            write(root, &format!("{pid}/statm"), &format!("900000 {resident} 1 1 0 1 0"));
            let rollup = format!(
                "5-7 ---p 0 0:0 0 [rollup]\nRss: 9 kB\nPss:      {proportional_kib} kB\nPss_Dirty: 1 kB\n"
            );
            write(root, &format!("{pid}/smaps_rollup"), &rollup);
        }
    }

    #[test]
    fn what_is_shared_counts_once_and_what_the_keeper_takes_not_at_all() {
        let folder = TempDir::new().unwrap();
        let now = Instant::now();
        let mut meter = Meter::new(1 << 20, now).unwrap();
        let pages = (1 << 20) / meter.page_bytes;
        family(folder.path(), (pages, 400));
        assert_eq!(meter.measure(folder.path(), 7, now), None);
        family(folder.path(), (pages, 600));
        assert_eq!(meter.measure(folder.path(), 7, now), None, "not before its time");
        let over = meter.measure(folder.path(), 7, meter.next());
        assert_eq!(over, Some(ForMemory::Limit { bytes: 1 << 20 }));
        assert!(Meter::new(0, now).is_none());
    }

    #[test]
    fn the_less_room_the_sooner_is_measured_again() {
        let folder = TempDir::new().unwrap();
        let now = Instant::now();
        let after = |limit: u64| {
            let mut meter = Meter::new(limit, now).unwrap();
            family(folder.path(), ((100 << 20) / meter.page_bytes, 0));
            assert_eq!(meter.measure(folder.path(), 7, now), None);
            (meter.next() - now).as_millis()
        };
        assert_eq!([after(201 << 20), after(600 << 20), after(9 << 30)], [20, 100, 250]);
    }

    #[test]
    fn kills_of_the_kernel_are_told_in_both_versions_of_cgroups() {
        for (file, text) in [
            ("sys/fs/cgroup/job/memory.events", "low 0\noom 3\noom_kill N\noom_group_kill 0\n"),
            ("sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill N\n"),
        ] {
            let folder = TempDir::new().unwrap();
            let line = if text.starts_with("low") { "0::/job\n" } else { "4:memory:/job\n0::/\n" };
            write(folder.path(), "proc/self/cgroup", line);
            write(folder.path(), file, &text.replace('N', "4"));
            let kills = Kills::from_now(folder.path());
            assert!(!kills.came());
            write(folder.path(), file, &text.replace('N', "5"));
            assert!(kills.came(), "{file}");
        }
    }
}
