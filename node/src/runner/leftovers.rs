//! Finds and kills what is left of attempts whose keeper is gone too.
//!
//! A keeper leads a session, so whatever its program starts is in that session unless it made one of its own; then it
//! still carries the attempt's folder in its environment, unless it cleared that. Before a program starts, its
//! keeper's pid, start time and machine boot are on disk: together they are no other process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpgrp, getpid};

use super::processes::{self, PROC, Stat};

/// Environment of one process that is read.
const ENVIRON_BYTES: u64 = 1 << 20;
/// Pause between two looks whether everything is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Keepers whose attempts shall be gone: session (the keeper's pid) and its start time in ticks.
pub(super) type Sessions = BTreeMap<i32, u64>;

/// Notes a living keeper on disk; the file's path undoes it.
pub(super) fn note(folder: &Path, keeper: i32) -> Result<(PathBuf, u64)> {
    let start_ticks = processes::stat(Path::new(PROC), keeper).map_or(0, |stat| stat.start_ticks);
    let path = folder.join(keeper.to_string());
    fs::write(&path, format!("{start_ticks} {}\n", machine_boot()))?;
    Ok((path, start_ticks))
}

/// Keepers noted on disk by an earlier start of the node, without those of an earlier boot of the machine.
pub(super) fn noted(folder: &Path) -> Result<Sessions> {
    let boot = machine_boot();
    let mut sessions = Sessions::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        // A note that a crash left empty is of a keeper that never got its order: nothing to kill.
        if let Some((ticks, noted_boot)) = text.trim_end().split_once(' ')
            && noted_boot == boot
            && let Ok(ticks) = ticks.parse()
        {
            sessions.insert(pid, ticks);
        }
    }
    Ok(sessions)
}

/// Kills every process of these sessions, and every one whose `UNDERSTUDY_DIR` is below `folder`, until none is left
/// or the patience ends. Returns how many are left.
pub(super) fn kill_all(sessions: &Sessions, folder: &Path, patience: Duration) -> usize {
    let end = Instant::now() + patience;
    loop {
        let left = kill_once(sessions, folder);
        if left == 0 || Instant::now() >= end {
            return left;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn kill_once(sessions: &Sessions, folder: &Path) -> usize {
    let proc = Path::new(PROC);
    let me = getpid();
    let mut found = 0;
    for pid in processes::all(proc) {
        let Some(stat) = processes::stat(proc, pid) else { continue };
        let ours = in_session(proc, sessions, &stat) || (!stat.zombie && works_in(proc, pid, folder));
        if !ours || pid == me.as_raw() || stat.group == getpgrp().as_raw() {
            continue;
        }
        if stat.zombie {
            // An orphan is ours to bury when this process is the container's first; a keeper is buried by its owner.
            if stat.parent == me.as_raw() && !sessions.contains_key(&pid) {
                let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
            }
            continue;
        }
        found += 1;
        // The whole group at once: a process that forks all the time cannot escape that. Gone meanwhile is fine.
        let _ = killpg(Pid::from_raw(stat.group), Signal::SIGKILL);
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    found
}

fn in_session(proc: &Path, sessions: &Sessions, stat: &Stat) -> bool {
    let Some(&start_ticks) = sessions.get(&stat.session) else { return false };
    // A living leader of that number with another start time is somebody else's; a dead one keeps its number taken
    // as long as its session has members.
    match processes::stat(proc, stat.session) {
        Some(leader) => leader.start_ticks == start_ticks,
        None => stat.start_ticks >= start_ticks,
    }
}

/// Whether the process was started with `UNDERSTUDY_DIR` below this folder.
fn works_in(proc: &Path, pid: i32, folder: &Path) -> bool {
    let mut environ = Vec::new();
    let Ok(file) = File::open(proc.join(pid.to_string()).join("environ")) else { return false };
    if file.take(ENVIRON_BYTES).read_to_end(&mut environ).is_err() {
        return false;
    }
    let mut below = b"UNDERSTUDY_DIR=".to_vec();
    below.extend_from_slice(folder.as_os_str().as_bytes());
    below.push(b'/');
    environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(&below))
}

/// The machine's boot: pids and start times of another one mean nothing.
fn machine_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".into(), |id| id.trim().into())
}
