//! A cgroup for each attempt, where this node may make some (version 2): there the kernel itself keeps the limits.
//!
//! ```text
//!   BASE                   the node's own cgroup as it started
//!   ├─ understudy-node     the node and its keepers: who shares memory out may hold no process itself
//!   └─ understudy-jobs
//!      └─ ATTEMPT          the program and all it starts: memory.max, no swap, pids.max
//! ```
//! That is permitted where the node is alone in a cgroup that was handed to it (systemd: `Delegate=yes`). In an ordinary container
//! it is not, and the keeper measures instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::probe::cgroup::{Cgroup, field};

const NODE: &str = "understudy-node";
const JOBS: &str = "understudy-jobs";
/// What a cgroup needs to share out.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The folder in which attempts may have cgroups; none where that is not permitted. Then everything is as before.
pub(super) fn prepare(root: &Path) -> Option<PathBuf> {
    let own = Cgroup::new(root).folder()?;
    // After a stop and a resume of this process it is where it went at its first start.
    let base = if own.ends_with(NODE) { own.parent()?.to_path_buf() } else { own };
    let there = fs::read_to_string(base.join("cgroup.controllers")).ok()?;
    if !CONTROLLERS.iter().all(|wanted| there.split_ascii_whitespace().any(|one| one == *wanted)) {
        return None;
    }
    let (node, jobs) = (base.join(NODE), base.join(JOBS));
    let made = folder(&node).and_then(|()| join(&node));
    let shared =
        made.and_then(|()| share_out(&base)).and_then(|()| folder(&jobs)).and_then(|()| share_out(&jobs));
    if shared.is_err() {
        // Somebody else is in there, or it is not ours to change: back to where we were.
        let _ = join(&base);
        let _ = fs::remove_dir(&node);
        return None;
    }
    for left in fs::read_dir(&jobs).ok()?.flatten() {
        Fence { folder: left.path() }.remove();
    }
    Some(jobs)
}

fn folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Moves the calling process there.
fn join(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
}

fn share_out(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.subtree_control"), CONTROLLERS.map(|name| format!("+{name}")).join(" "))
}

/// The cgroup of one attempt.
#[derive(Debug)]
pub(crate) struct Fence {
    folder: PathBuf,
}

impl Fence {
    /// Makes one. `memory_bytes` 0: no limit.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(crate) fn make(jobs: &Path, name: &str, memory_bytes: u64, tasks: u64) -> io::Result<Self> {
        let folder = jobs.join(name);
        fs::create_dir(&folder)?;
        let fence = Self { folder };
        let write = |file: &str, text: String| fs::write(fence.folder.join(file), text);
        let limited = write("pids.max", tasks.to_string()).and_then(|()| {
            if memory_bytes == 0 {
                return Ok(());
            }
            write("memory.max", memory_bytes.to_string())?;
            // Absent where the kernel has no swap, or cannot kill as one.
            let _ = write("memory.swap.max", "0".into());
            let _ = write("memory.oom.group", "1".into());
            Ok(())
        });
        match limited {
            Ok(()) => Ok(fence),
            Err(error) => {
                fence.remove();
                Err(error)
            }
        }
    }

    /// The file that a process writes `0` to in order to be in it, and everything that it starts.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Whether the kernel has killed something in it for its memory.
    pub(crate) fn has_killed(&self) -> bool {
        field(&self.folder.join("memory.events"), "oom_kill").is_some_and(|kills| kills > 0)
    }

    /// Kills everything in it.
    pub(crate) fn kill(&self) {
        // Older kernels have no such file: the keeper's sweep finds them all the same.
        let _ = fs::OpenOptions::new()
            .write(true)
            .open(self.folder.join("cgroup.kill"))
            .and_then(|mut file| io::Write::write_all(&mut file, b"1"));
    }

    /// Takes it away, once nothing is in it. What cannot be removed the next start removes.
    pub(crate) fn remove(&self) {
        self.kill();
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A root folder with a process in the cgroup `/pod`, which offers this.
    fn root(controllers: &str) -> (TempDir, PathBuf) {
        let root = TempDir::new().unwrap();
        let pod = root.path().join("sys/fs/cgroup/pod");
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/cgroup"), "0::/pod\n").unwrap();
        fs::write(pod.join("cgroup.controllers"), controllers).unwrap();
        (root, pod)
    }

    fn text(file: PathBuf) -> String {
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn a_node_in_a_cgroup_of_its_own_makes_one_for_each_attempt() {
        let (root, pod) = root("cpu memory pids\n");
        let jobs = prepare(root.path()).unwrap();
        assert_eq!(jobs, pod.join(JOBS));
        assert_eq!(text(pod.join(NODE).join("cgroup.procs")), "0");
        for shares in [&pod, &jobs] {
            assert_eq!(text(shares.join("cgroup.subtree_control")), "+memory +pids");
        }
        let fence = Fence::make(&jobs, "7.1.0", 1 << 28, 4_096).unwrap();
        let folder = jobs.join("7.1.0");
        let said = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"]
            .map(|file| text(folder.join(file)));
        assert_eq!(said, ["268435456", "0", "1", "4096"]);
        assert_eq!(fence.entrance(), folder.join("cgroup.procs"));
        assert!(!fence.has_killed());
        fs::write(folder.join("memory.events"), "low 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n")
            .unwrap();
        assert!(fence.has_killed());
        assert!(Fence::make(&jobs, "7.1.0", 0, 1).is_err(), "two attempts never share one");
        // Resumed: from where the first start went, the same place is found.
        fs::write(root.path().join("proc/self/cgroup"), format!("0::/pod/{NODE}\n")).unwrap();
        assert_eq!(prepare(root.path()), Some(jobs));
    }

    #[test]
    fn where_it_may_not_share_out_memory_everything_stays_as_it_is() {
        let (root_of_few, pod) = root("cpu pids\n");
        assert_eq!(prepare(root_of_few.path()), None);
        assert!(!pod.join(NODE).exists());
        let (root, pod) = root("memory pids\n");
        // As the kernel does while another process is in there.
        fs::create_dir(pod.join("cgroup.subtree_control")).unwrap();
        assert_eq!(prepare(root.path()), None);
        assert_eq!(text(pod.join("cgroup.procs")), "0", "it went back");
        assert!(!pod.join(JOBS).exists());
    }
}
