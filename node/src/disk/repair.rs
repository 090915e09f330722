//! A memory that must not be used any more is set aside, never removed: the node then begins as a new one.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DiskError;
use super::folder::Folder;
use super::small::sync_folder;

/// What is no part of the memory and stays: the lock, the node's own lines, scratch, sockets, the file system's own folder.
const STAYS: [&str; 5] = ["lock", "logging", "scratch", "gate", "lost+found"];
/// How the folders of what was set aside begin.
const ASIDE: &str = "set-aside-";
/// Moved last, in this order: without them a half-moved memory is still refused.
const LAST: [&str; 2] = ["boot", "identity"];

/// What was set aside, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub to: PathBuf,
    /// The names of the files and folders that were moved there, in this order.
    pub names: Vec<String>,
}

/// What [`set_aside`] would do.
///
/// # Errors
/// [`DiskError`]: there is no memory in the folder, or it cannot be listed.
pub fn would_set_aside(data: &Path) -> Result<SetAside, DiskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data).map_err(DiskError::system("listing the folder", data))? {
        let name = entry.map_err(DiskError::system("listing the folder", data))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !STAYS.contains(&name.as_str()) && !name.starts_with(ASIDE) {
            names.push(name);
        }
    }
    let rank = |name: &String| LAST.iter().position(|last| last == name).map_or(0, |place| place + 1);
    names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
    let has_log = fs::read_dir(data.join("log")).is_ok_and(|mut files| files.next().is_some());
    if !has_log && !LAST.iter().any(|last| names.iter().any(|name| name == last)) {
        let error = std::io::Error::new(std::io::ErrorKind::NotFound, "it is nobody's");
        return Err(DiskError::system("looking for a node's memory in", data)(error));
    }
    Ok(SetAside { to: next_aside(data), names })
}

/// Where the next memory is set aside.
pub(super) fn next_aside(data: &Path) -> PathBuf {
    match (1..).map(|number| data.join(format!("{ASIDE}{number}"))).find(|place| !place.exists()) {
        Some(to) => to,
        None => unreachable!("a folder has fewer entries than there are numbers"),
    }
}

/// Moves the memory of a node that does not run into a folder beside it. Nothing is removed; done again after a crash, it goes
/// on with what is left.
///
/// # Errors
/// [`DiskError`]: the node runs, there is no memory in the folder, or something cannot be moved.
pub fn set_aside(data: &Path) -> Result<SetAside, DiskError> {
    // Before it is locked: that would make a folder where there is none.
    would_set_aside(data)?;
    let _locked = Folder::lock(data)?;
    let aside = would_set_aside(data)?;
    fs::create_dir(&aside.to).map_err(DiskError::system("creating", &aside.to))?;
    for name in &aside.names {
        let from = data.join(name);
        fs::rename(&from, aside.to.join(name)).map_err(DiskError::system("setting aside", &from))?;
    }
    sync_folder(&aside.to)?;
    sync_folder(data)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Found, Identity};
    use protocol::{ClusterId, NodeId};

    #[test]
    fn a_memory_is_set_aside_whole_and_the_folder_is_nobodys_again() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cluster: ClusterId(1), node: NodeId(2), founder: NodeId(2) };
        let Found::Empty(folder) = Folder::open(dir.path()).unwrap() else { panic!("it is new") };
        let (folder, ..) = folder.found(identity).unwrap();
        fs::create_dir(dir.path().join("logging")).unwrap();
        fs::create_dir(dir.path().join("archive")).unwrap();
        fs::write(dir.path().join("archive/history.sqlite"), "history").unwrap();
        let error = set_aside(dir.path()).unwrap_err();
        assert!(matches!(error, DiskError::Locked { .. }), "its node runs: {error}");
        drop(folder);

        let plan = would_set_aside(dir.path()).unwrap();
        assert!(!plan.to.exists(), "asking moves nothing");
        let aside = set_aside(dir.path()).unwrap();
        assert_eq!(aside, plan);
        assert_eq!(aside.names, ["archive", "log", "snap", "boot", "identity"]);
        assert_eq!(fs::read(aside.to.join("archive/history.sqlite")).unwrap(), b"history");
        assert!(dir.path().join("logging").is_dir());
        assert!(matches!(Folder::open(dir.path()).unwrap(), Found::Empty(_)));

        let again = set_aside(dir.path()).unwrap_err().to_string();
        assert!(again.contains("nobody's"), "{again}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("typo");
        assert!(set_aside(&data).is_err());
        assert!(!data.exists());
    }
}
