//! A new memory in place of an old one: how `understudy recover` changes a folder, so that a crash at any moment leaves the old
//! memory, or the new one, or a folder that a node refuses until the command has been run again.
//!
//! ```text
//!   recovering.part/new/{log,snap,boot,identity}   being written: the old memory counts, a start sees nothing of it
//!          │ whole, synced, read back: renamed
//!          ▼
//!   recovering/new/…                               from here on a start refuses; the old memory counts no more
//!          │ each of the four: the old one into recovering/, the new one into its place, the identity last
//!          ▼
//!   set-aside-N/{log,snap,boot,identity}           the old memory, yours to keep or to remove
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use consensus::limits::SEGMENT_BYTES;
use consensus::{Base, HardState, Write, Writer};
use master::Ledger;
use protocol::{Boot, native};

use super::error::DiskError;
use super::folder::{Folder, Identity, Progress, identity_file, write_progress};
use super::repair::next_aside;
use super::segments::{self, Segments};
use super::small::sync_folder;
use super::snapshots::Snapshots;

/// A recovery that has to be brought to its end.
const BEGUN: &str = "recovering";
/// One in the making.
const DRAFT: &str = "recovering.part";
/// The new memory, in either.
const NEW: &str = "new";
/// What a memory is, in the order in which it is exchanged.
const MEMORY: [&str; 4] = ["log", "snap", "boot", "identity"];

/// A memory to be: everything up to `base` in one snapshot, and an empty log behind it.
#[derive(Debug)]
pub(crate) struct NewMemory<'a> {
    pub(crate) identity: Identity,
    /// The newest start of the node that counts.
    pub(crate) boot: Boot,
    pub(crate) base: &'a Base,
    pub(crate) ledger: &'a Ledger,
}

/// Whether a recovery was begun here that has not ended.
pub(crate) fn is_begun(data: &Path) -> bool {
    data.join(BEGUN).exists()
}

/// Whether the old memory is whole in its place yet.
pub(crate) fn is_untouched(data: &Path) -> bool {
    !MEMORY.iter().any(|name| data.join(BEGUN).join(name).exists())
}

/// Writes a new memory beside the old one. When this returns, a start refuses the folder until [`exchange`] has ended.
pub(crate) fn begin(data: &Path, memory: &NewMemory<'_>) -> Result<(), DiskError> {
    let (draft, begun) = (data.join(DRAFT), data.join(BEGUN));
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(DiskError::system("removing", &draft))?;
    }
    let new = draft.join(NEW);
    write(&new, memory)?;
    let (identity, base, _) = read(&new)?;
    if (identity, &base) != (memory.identity, memory.base) {
        return Err(DiskError::damaged(&new, 0, "the new memory is not what was written"));
    }
    sync_folder(&draft)?;
    fs::rename(&draft, &begun).map_err(DiskError::system("naming", &begun))?;
    sync_folder(data)
}

fn write(new: &Path, memory: &NewMemory<'_>) -> Result<(), DiskError> {
    let NewMemory { identity, boot, base, ledger } = memory;
    let log = segments::folder(new);
    fs::create_dir_all(&log).map_err(DiskError::system("creating the folder", &log))?;
    let snapshots = Snapshots::of(new, *identity);
    snapshots.open()?;
    if let Some(draft) = snapshots.draft(base, ledger.pieces(), || false)? {
        draft.publish()?;
    }
    let progress = Progress { boot: *boot, ..Progress::default() };
    write_progress(new, progress)?;
    let mut writer = Writer::new(identity.origin(), SEGMENT_BYTES);
    let hard = HardState { term: base.term, vote: None, commit: base.index };
    let first = Write { number: 1, hard: Some(hard), entries: Vec::new(), base: Some((*base).clone()) };
    Segments::new(new, progress).write(&writer.batch(&[first]))?;
    identity_file(new).replace(&native::encode(identity))?;
    sync_folder(new)
}

/// Reads a new memory as a start would.
fn read(new: &Path) -> Result<(Identity, Base, Ledger), DiskError> {
    let mut folder = Folder::lock(new)?;
    let looked = folder.look()?;
    let lock = new.join("lock");
    fs::remove_file(&lock).map_err(DiskError::system("removing", &lock))?;
    match (looked, folder.take_snapshot()) {
        (Some((identity, _, recovered)), Some((base, ledger))) if recovered.entries.is_empty() => {
            Ok((identity, base, ledger))
        }
        _ => Err(DiskError::damaged(new, 0, "the new memory has no snapshot, or more than that")),
    }
}

/// The new memory of a recovery that was begun and has moved nothing yet.
pub(crate) fn begun(data: &Path) -> Result<(Identity, Base, Ledger), DiskError> {
    read(&data.join(BEGUN).join(NEW))
}

/// Puts the new memory into its place, and the old one aside; goes on where an earlier run ended. Gives where the old one is.
pub(crate) fn exchange(data: &Path) -> Result<PathBuf, DiskError> {
    let work = data.join(BEGUN);
    let new = work.join(NEW);
    for name in MEMORY {
        step(data, &work, &new, name)?;
    }
    if new.exists() {
        fs::remove_dir(&new).map_err(DiskError::system("removing", &new))?;
    }
    let aside = next_aside(data);
    fs::rename(&work, &aside).map_err(DiskError::system("setting aside", &work))?;
    sync_folder(data)?;
    Ok(aside)
}

/// Exchanges one part of the memory, unless it is done.
fn step(data: &Path, work: &Path, new: &Path, name: &str) -> Result<(), DiskError> {
    let (place, old, fresh) = (data.join(name), work.join(name), new.join(name));
    if !fresh.exists() {
        return Ok(());
    }
    if place.exists() && !old.exists() {
        fs::rename(&place, &old).map_err(DiskError::system("setting aside", &place))?;
        sync_folder(work)?;
        sync_folder(data)?;
    }
    // Whoever locked the folder meanwhile has made an empty `log`: a rename takes its place.
    fs::rename(&fresh, &place).map_err(DiskError::system("putting into place", &place))?;
    sync_folder(data)?;
    sync_folder(new)
}
