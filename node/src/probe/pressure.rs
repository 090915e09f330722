//! How long work waited for a processor or for memory (the kernel's pressure stall information), where the kernel tells it.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::amount::parse_milli;

use super::cgroup::Cgroup;

/// Reads the pressure of this node's cgroup (version 2), else of the machine.
#[derive(Debug)]
pub(super) struct Pressure {
    machine: PathBuf,
}

impl Pressure {
    pub(super) fn new(root: &Path) -> Self {
        Self { machine: root.join("proc/pressure") }
    }

    /// Share of the last ten seconds in which something waited for `what` (`cpu`, `memory`), per mille; 0 where nobody tells.
    pub(super) fn permille(&self, cgroup: &Cgroup, what: &str) -> u32 {
        let own = cgroup.folder().map(|folder| folder.join(format!("{what}.pressure")));
        let files = own.into_iter().chain([self.machine.join(what)]);
        files.into_iter().find_map(|file| some_avg10_permille(&fs::read_to_string(file).ok()?)).unwrap_or(0)
    }
}

/// `some avg10=12.34 avg60=…` among the lines.
fn some_avg10_permille(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    u32::try_from(parse_milli(percent, 100)? / 100).ok()
}
