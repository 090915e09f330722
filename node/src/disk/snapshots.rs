//! The files of snapshots. Which bytes are in them, the rooms `consensus` and `master` decide; this puts them there, whole
//! or not at all, and reads them back.
//!
//! ```text
//!   snap/NUMBER.snap      of everything up to the entry NUMBER; the newest two
//!   snap/*.part           one in the making, or on its way from a peer: nothing counts on it
//!   snap/NUMBER.damaged   one that could not be read when an older one and the log could
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consensus::{Base, Found, ImageReader, ImageWriter, Origin};
use master::{Ledger, Restoring};

use super::direct::{self, Direct};
use super::error::DiskError;
use super::folder::Identity;
use super::small::sync_folder;

const SUFFIX: &str = ".snap";
const UNFINISHED: &str = ".part";
const FETCHED: &str = "fetched-";
/// Snapshots that are kept: the newest, and the one before in case the newest cannot be read one day.
const KEPT: usize = 2;
/// Bytes read or written at a time.
const STEP_BYTES: usize = 1 << 20;

/// The folder of snapshots of one member.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
    origin: Origin,
}

/// A snapshot that is on disk, synced, and not there yet for anybody: it has no number.
#[derive(Debug)]
pub struct Draft {
    of: Snapshots,
    path: PathBuf,
    /// Where it stands.
    pub base: Base,
    /// How large it is.
    pub bytes: u64,
}

impl Snapshots {
    pub(super) fn new(data: &Path, origin: Origin) -> Self {
        Self { folder: data.join("snap"), origin }
    }

    /// Those of this member, in its data folder.
    #[must_use]
    pub fn of(data: &Path, identity: Identity) -> Self {
        Self::new(data, identity.origin())
    }

    /// The file of one snapshot.
    pub(super) fn path(&self, index: u64) -> PathBuf {
        self.folder.join(format!("{index:020}{SUFFIX}"))
    }

    /// Makes the folder, and removes what was left unfinished.
    pub(super) fn open(&self) -> Result<(), DiskError> {
        if !self.folder.is_dir() {
            fs::create_dir_all(&self.folder)
                .map_err(DiskError::system("creating the folder", &self.folder))?;
            if let Some(data) = self.folder.parent() {
                sync_folder(data)?;
            }
        }
        for name in self.names()? {
            if name.ends_with(UNFINISHED) {
                let path = self.folder.join(name);
                fs::remove_file(&path).map_err(DiskError::system("removing", &path))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let failed = || DiskError::system("listing the folder", &self.folder);
        let entries = fs::read_dir(&self.folder).map_err(failed())?;
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed())?.file_name().into_string().ok());
        }
        Ok(names)
    }

    /// Numbers of those there are, newest first.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, DiskError> {
        let names = self.names()?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// Writes a snapshot without giving it its number; synced on return. `None`: `over` said that nobody wants it any more.
    ///
    /// # Errors
    /// [`DiskError`], naming the file, which is removed.
    pub fn draft(
        &self,
        base: &Base,
        pieces: impl Iterator<Item = Vec<u8>>,
        over: impl Fn() -> bool,
    ) -> Result<Option<Draft>, DiskError> {
        let path = self.folder.join(format!("own-{}{UNFINISHED}", base.index));
        let mut sheet = Sheet::create(&path).map_err(DiskError::system("creating", &path))?;
        let (mut image, mut waiting) = ImageWriter::new(self.origin, base);
        let failed = |error| {
            remove(&path);
            DiskError::system("writing", &path)(error)
        };
        for piece in pieces {
            if over() {
                remove(&path);
                return Ok(None);
            }
            waiting.extend(image.piece(&piece));
            if waiting.len() >= STEP_BYTES {
                sheet.write(&waiting).map_err(failed)?;
                waiting.clear();
            }
        }
        waiting.extend(image.end());
        let bytes = sheet.write(&waiting).and_then(|()| sheet.end()).map_err(failed)?;
        Ok(Some(Draft { of: self.clone(), path, base: base.clone(), bytes }))
    }

    /// Where a snapshot from a peer is gathered; empty. What was gathered before and not taken goes.
    ///
    /// # Errors
    /// [`DiskError`], naming the file.
    pub fn gather(&self, index: u64) -> Result<(PathBuf, File), DiskError> {
        for name in self.names()? {
            if name.starts_with(FETCHED) && name.ends_with(UNFINISHED) {
                remove(&self.folder.join(name));
            }
        }
        let path = self.folder.join(format!("{FETCHED}{index}{UNFINISHED}"));
        let file = File::create(&path).map_err(DiskError::system("creating", &path))?;
        Ok((path, file))
    }

    /// What was gathered, once it is whole: synced, checked, with the ledger in it. It must stand where it was said to.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset; the file is removed.
    pub fn gathered(&self, path: PathBuf, file: &File, base: &Base) -> Result<(Draft, Ledger), DiskError> {
        let read = || {
            file.sync_all().map_err(DiskError::system("syncing", &path))?;
            let (stands, ledger) = self.read_file(&path)?;
            if stands != *base {
                return Err(DiskError::damaged(&path, 0, "it is not the snapshot that was asked for"));
            }
            let bytes = file.metadata().map_err(DiskError::system("measuring", &path))?.len();
            Ok((bytes, ledger))
        };
        let (bytes, ledger) = read().inspect_err(|_| remove(&path))?;
        Ok((Draft { of: self.clone(), path, base: base.clone(), bytes }, ledger))
    }

    /// Reads the snapshot of this number, whole.
    ///
    /// # Errors
    /// [`DiskError`], naming file and offset.
    pub(super) fn read(&self, index: u64) -> Result<(Base, Ledger), DiskError> {
        let path = self.path(index);
        let (base, ledger) = self.read_file(&path)?;
        if base.index != index {
            return Err(DiskError::damaged(&path, 0, "its header names another number"));
        }
        Ok((base, ledger))
    }

    fn read_file(&self, path: &Path) -> Result<(Base, Ledger), DiskError> {
        let mut file = File::open(path).map_err(DiskError::system("opening", path))?;
        let (mut reader, mut step) = (ImageReader::new(), vec![0; STEP_BYTES]);
        let mut restoring = Restoring::new(Ledger::new());
        let (mut place, mut ended) = (None, false);
        loop {
            let count = file.read(&mut step).map_err(DiskError::system("reading", path))?;
            if count == 0 {
                break;
            }
            reader.feed(&step[..count]);
            while let Some(found) =
                reader.take().map_err(|bad| DiskError::damaged(path, bad.offset, bad.why))?
            {
                match found {
                    Found::Header { origin, base } if origin.cluster == self.origin.cluster => {
                        place = Some(base)
                    }
                    Found::Header { .. } => {
                        return Err(DiskError::damaged(path, 0, "it belongs to another cluster"));
                    }
                    Found::Piece(piece) => restoring
                        .take(&piece)
                        .map_err(|bad| DiskError::damaged(path, reader.offset(), bad.to_string()))?,
                    Found::End => ended = true,
                }
            }
        }
        let (Some(base), true) = (place, ended) else {
            let cut = reader.cut();
            return Err(DiskError::damaged(path, cut.offset, cut.why));
        };
        let ledger = restoring.finish().map_err(|bad| DiskError::damaged(path, 0, bad.to_string()))?;
        if ledger.applied() > base.index {
            return Err(DiskError::damaged(path, 0, "its ledger is further than its header says"));
        }
        Ok((base, ledger))
    }

    /// Puts one that cannot be read out of the way, and keeps it for whoever wants to look.
    pub(super) fn set_aside(&self, index: u64) -> Result<(), DiskError> {
        let path = self.path(index);
        let aside = path.with_extension("damaged");
        fs::rename(&path, &aside).map_err(DiskError::system("setting aside", &path))?;
        sync_folder(&self.folder)
    }

    /// A part of a snapshot's file, and how long the file is; `None`: there is no such snapshot (any more).
    ///
    /// # Errors
    /// [`DiskError`], naming the file.
    pub fn part(&self, index: u64, offset: u64, bytes: usize) -> Result<Option<(u64, Vec<u8>)>, DiskError> {
        let path = self.path(index);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::system("opening", &path)(error)),
        };
        let whole = file.metadata().map_err(DiskError::system("measuring", &path))?.len();
        // Fits: it is bounded by `bytes`.
        let length = whole.saturating_sub(offset).min(bytes as u64) as usize;
        let mut part = vec![0; length];
        file.read_exact_at(&mut part, offset).map_err(DiskError::system("reading", &path))?;
        Ok(Some((whole, part)))
    }
}

impl Draft {
    /// Gives it its number: from here on a start finds it. Durable on return; all but the newest two are removed.
    ///
    /// # Errors
    /// [`DiskError`], naming the file.
    pub fn publish(self) -> Result<(), DiskError> {
        let path = self.of.path(self.base.index);
        fs::rename(&self.path, &path).map_err(DiskError::system("naming", &path))?;
        sync_folder(&self.of.folder)?;
        for old in self.of.numbers()?.into_iter().skip(KEPT) {
            remove(&self.of.path(old));
        }
        Ok(())
    }
}

/// A file that is written from its beginning to its end.
struct Sheet {
    file: File,
    /// None where the file system cannot do this.
    direct: Option<Direct>,
    bytes: u64,
}

impl Sheet {
    fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self { file, direct: Direct::open(path), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = self.bytes;
        self.bytes += bytes.len() as u64;
        if let Some(direct) = &mut self.direct {
            match direct.write(&self.file, bytes, at) {
                Err(error) if direct::is_unfit(&error) => self.direct = None,
                done => return done,
            }
        }
        self.file.write_all_at(bytes, at)?;
        // Little at a time: a sync of all at once would make the log's syncs wait for it.
        self.file.sync_data()
    }

    /// Durable on return; how large it is.
    fn end(&self) -> io::Result<u64> {
        // Its last block may be longer.
        self.file.set_len(self.bytes)?;
        self.file.sync_all()?;
        Ok(self.bytes)
    }
}

/// Room that is not needed any more. A file that cannot be removed is tried again with the next snapshot or start.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an old snapshot could not be removed");
    }
}
