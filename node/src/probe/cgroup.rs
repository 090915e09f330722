//! The limits of the cgroup this process is in, and its use; version 2 and version 1.
//!
//! A limit may sit on any level above the process: the tightest counts, and the use of that level with it. A
//! container often sees its own level as the root of the mount, though `/proc/self/cgroup` names it from outside:
//! a path that is not there is read as the root.

use std::fs;
use std::path::{Path, PathBuf};

/// Levels of nesting that are looked at.
const LEVELS: usize = 32;

/// Reads the cgroup of this process below a root folder.
#[derive(Debug)]
pub(crate) struct Cgroup {
    proc_file: PathBuf,
    mount: PathBuf,
}

/// Processor time of a cgroup with a quota.
#[derive(Debug)]
pub(super) struct Cpu {
    /// What it may use, thousandths of a core.
    pub(super) quota_milli: u32,
    /// What it has used so far.
    pub(super) used_us: u64,
    /// Where that was read.
    pub(super) file: PathBuf,
}

impl Cgroup {
    pub(crate) fn new(root: &Path) -> Self {
        Self { proc_file: root.join("proc/self/cgroup"), mount: root.join("sys/fs/cgroup") }
    }

    /// The innermost folder of version 2; none where there is no such cgroup.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        self.levels("").into_iter().next()
    }

    /// Processor quota and use; none without a quota tighter than the machine.
    pub(super) fn cpu(&self, cores_milli: u32) -> Option<Cpu> {
        let quota = |read: fn(&Path) -> Option<u32>, levels: &[PathBuf]| {
            let limits = levels.iter().filter_map(|level| Some((read(level)?, level.clone())));
            limits.filter(|(milli, _)| *milli < cores_milli).min_by_key(|(milli, _)| *milli)
        };
        let levels = self.levels("");
        if let Some((quota_milli, level)) = quota(quota_v2, &levels) {
            let file = level.join("cpu.stat");
            return Some(Cpu { quota_milli, used_us: field(&file, "usage_usec")?, file });
        }
        let (quota_milli, level) = quota(quota_v1, &self.levels("cpu"))?;
        // The accounting may be a hierarchy of its own, of the same shape when it is the same container.
        let own = level.join("cpuacct.usage");
        let file = if own.exists() { own } else { self.levels("cpuacct").first()?.join("cpuacct.usage") };
        Some(Cpu { quota_milli, used_us: number(&file)? / 1_000, file })
    }

    /// Memory in use and its limit; none without a limit tighter than the machine. File pages that can be dropped
    /// at once do not count as used.
    pub(super) fn memory_bytes(&self, host_bytes: u64) -> Option<(u64, u64)> {
        let tightest = |levels: Vec<PathBuf>, file: &str| {
            let limits = levels.into_iter().filter_map(|level| Some((number(&level.join(file))?, level)));
            limits.filter(|(bytes, _)| *bytes < host_bytes).min_by_key(|(bytes, _)| *bytes)
        };
        let (limit, level, current, inactive) = tightest(self.levels(""), "memory.max")
            .map(|(limit, level)| (limit, level, "memory.current", "inactive_file"))
            .or_else(|| {
                let (limit, level) = tightest(self.levels("memory"), "memory.limit_in_bytes")?;
                Some((limit, level, "memory.usage_in_bytes", "total_inactive_file"))
            })?;
        let droppable = field(&level.join("memory.stat"), inactive).unwrap_or(0);
        Some((number(&level.join(current))?.saturating_sub(droppable), limit))
    }

    /// How many processes of it the kernel has killed for memory; none where that is not told.
    pub(crate) fn memory_kills(&self) -> Option<u64> {
        let told = |levels: Vec<PathBuf>, file: &str| {
            levels.into_iter().find_map(|level| field(&level.join(file), "oom_kill"))
        };
        told(self.levels(""), "memory.events").or_else(|| told(self.levels("memory"), "memory.oom_control"))
    }

    /// The folders of this process's cgroup for a controller (empty: version 2), the innermost first.
    fn levels(&self, controller: &str) -> Vec<PathBuf> {
        let Some((mount, path)) = self.place(controller) else { return Vec::new() };
        let innermost = mount.join(path.trim_start_matches('/'));
        if !innermost.is_dir() {
            return vec![mount];
        }
        innermost
            .ancestors()
            .take(LEVELS)
            .take_while(|level| level.starts_with(&mount))
            .map(Path::to_path_buf)
            .collect()
    }

    fn place(&self, controller: &str) -> Option<(PathBuf, String)> {
        let text = fs::read_to_string(&self.proc_file).ok()?;
        let (names, path) = text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            names.split(',').any(|name| name == controller).then(|| (names.to_owned(), path.to_owned()))
        })?;
        // A process outside of its namespace's root has a path upwards: nothing of ours is there.
        let path = if path.contains("..") { String::new() } else { path };
        let mounts = [self.mount.join(controller), self.mount.join(names)];
        Some((mounts.into_iter().find(|mount| mount.is_dir())?, path))
    }
}

/// `cpu.max`: `QUOTA PERIOD` or `max PERIOD`, microseconds.
fn quota_v2(level: &Path) -> Option<u32> {
    let text = fs::read_to_string(level.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    milli(quota.parse().ok()?, period.parse().ok()?)
}

/// `cpu.cfs_quota_us` (-1: none) over `cpu.cfs_period_us`.
fn quota_v1(level: &Path) -> Option<u32> {
    milli(number(&level.join("cpu.cfs_quota_us"))?, number(&level.join("cpu.cfs_period_us"))?)
}

fn milli(quota_us: u64, period_us: u64) -> Option<u32> {
    u32::try_from(quota_us.checked_mul(1_000)?.checked_div(period_us)?).ok().map(|milli| milli.max(1))
}

/// A file that is one number; none also when it says `max` or -1.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a word at the start of a line.
pub(crate) fn field(file: &Path, word: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}
