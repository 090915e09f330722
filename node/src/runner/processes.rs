//! What the kernel says about processes, read below a `proc` folder (tests give a made one).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The kernel's own folder.
pub(crate) const PROC: &str = "/proc";

/// The line `/proc/PID/stat`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Whether only its end waits to be noticed.
    pub(crate) zombie: bool,
    /// Its parent.
    pub(crate) parent: i32,
    /// Its process group.
    pub(crate) group: i32,
    /// Its session.
    pub(crate) session: i32,
    /// Processor time of its own, ticks of 10 ms.
    pub(crate) own_ticks: u64,
    /// Processor time of its ended children and of theirs, ticks of 10 ms.
    pub(crate) ended_children_ticks: u64,
    /// When it started, ticks of 10 ms since the machine did: with the pid, its identity.
    pub(crate) start_ticks: u64,
}

/// Reads a process; none when there is no such (or not any more).
pub(crate) fn stat(proc: &Path, pid: i32) -> Option<Stat> {
    let line = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    parse(&line)
}

fn parse(line: &str) -> Option<Stat> {
    // The name in parentheses may itself hold blanks and parentheses: all that counts is behind the last one.
    let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let id = |at: usize| fields.get(at)?.parse::<i32>().ok();
    Some(Stat {
        zombie: *fields.first()? == "Z",
        parent: id(1)?,
        group: id(2)?,
        session: id(3)?,
        own_ticks: number(11)?.saturating_add(number(12)?),
        ended_children_ticks: number(13)?.saturating_add(number(14)?),
        start_ticks: number(19)?,
    })
}

/// The numbers of every process.
pub(crate) fn all(proc: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process and everything that descends from it, parents before children, at most `bound` of them.
pub(crate) fn tree(proc: &Path, pid: i32, bound: usize) -> Vec<i32> {
    let mut found = vec![pid];
    let mut known = BTreeSet::from([pid]);
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for child in children(proc, parent) {
            if found.len() < bound && known.insert(child) {
                found.push(child);
            }
        }
    }
    found
}

/// The children of all threads of a process.
fn children(proc: &Path, pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(proc.join(pid.to_string()).join("task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 7 40 41 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5555 1 2 3";
        let stat = parse(line).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session), (7, 40, 41));
        assert_eq!((stat.own_ticks, stat.ended_children_ticks, stat.start_ticks), (30, 70, 5555));
        assert!(!stat.zombie);
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn this_process_is_the_root_of_its_tree() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(stat(Path::new(PROC), me).is_some());
        assert_eq!(tree(Path::new(PROC), me, 100)[0], me);
        assert!(all(Path::new(PROC)).contains(&me));
    }
}
