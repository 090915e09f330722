//! The files of the log. Which bytes go where, the room `consensus` decides; this puts them there and syncs.
//!
//! A segment has its whole length, and reads as zeros, before its use. It is prepared under the name `spare`, and gets its own
//! name only after its first batch is synced: a segment with a number always begins with whole data. One that a snapshot made
//! needless becomes a spare again (first as `NUMBER.old`).
//!
//! Zeros are also written to it, ahead and in small steps, so that a sync later has no metadata to write. That is a help for
//! small batches only: where batches are large, the zeros would be half of what the disk has to take. Then they are left out.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consensus::Piece;
use consensus::limits::SEGMENT_BYTES;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise, posix_fallocate};

use super::direct::{self, Direct, ZEROS_BYTES};
use super::error::DiskError;
use super::folder::{Progress, write_progress};
use super::small::sync_folder;

/// After a batch of more than this no zeros are written.
const SMALL_BATCH_BYTES: usize = 256 << 10;

const SUFFIX: &str = ".seg";
const RECYCLED: &str = ".old";
/// Needless segments that are kept to become spares.
const RECYCLED_KEPT: usize = 4;

/// The log's own folder.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("log")
}

/// The file of one segment.
pub(super) fn path(data: &Path, number: u64) -> PathBuf {
    folder(data).join(format!("{number:010}{SUFFIX}"))
}

fn spare_path(data: &Path) -> PathBuf {
    folder(data).join("spare")
}

/// Removes left-over spares.
pub(super) fn tidy(data: &Path) -> Result<(), DiskError> {
    let log = folder(data);
    let mut needless = vec![spare_path(data)];
    for entry in fs::read_dir(&log).map_err(DiskError::system("listing the folder", &log))? {
        let name = entry.map_err(DiskError::system("listing the folder", &log))?.file_name();
        if name.to_str().is_some_and(|name| name.ends_with(RECYCLED)) {
            needless.push(log.join(&name));
        }
    }
    for path in needless.iter().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(DiskError::system("removing", path))?;
    }
    Ok(())
}

/// All segments in order, as they are on the disk itself.
pub(super) fn read(data: &Path) -> Result<Vec<(u64, Vec<u8>)>, DiskError> {
    let log = folder(data);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&log).map_err(DiskError::system("listing the folder", &log))? {
        let name = entry.map_err(DiskError::system("listing the folder", &log))?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else { continue };
        match stem.parse() {
            Ok(number) if path(data, number).file_name() == Some(name.as_os_str()) => numbers.push(number),
            _ => {
                return Err(DiskError::damaged(&log.join(&name), 0, "the name of a log segment is a number"));
            }
        }
    }
    numbers.sort_unstable();
    numbers.into_iter().map(|number| Ok((number, read_one(&path(data, number))?))).collect()
}

/// What an earlier process wrote may still be in the page cache alone, and after a failed sync the cache may hold what
/// the disk never got. So: sync first, forget the cache, then read.
fn read_one(path: &Path) -> Result<Vec<u8>, DiskError> {
    let file =
        File::options().read(true).write(true).open(path).map_err(DiskError::system("opening", path))?;
    file.sync_data().map_err(DiskError::system("syncing", path))?;
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .map_err(|errno| DiskError::system("uncaching", path)(errno.into()))?;
    let bytes = file.metadata().map_err(DiskError::system("measuring", path))?.len();
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut content, 0).map_err(DiskError::system("reading", path))?;
    Ok(content)
}

/// The files being written.
#[derive(Debug)]
pub(super) struct Segments {
    data: PathBuf,
    progress: Progress,
    open: Option<Open>,
    spare: Option<Spare>,
    recycled: Vec<PathBuf>,
    syncs: u64,
    /// Bytes of the last batch.
    last_bytes: usize,
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    /// None where the file system cannot do this.
    direct: Option<Direct>,
    /// Still called `spare`.
    unnamed: bool,
    dirty: bool,
}

#[derive(Debug)]
struct Spare {
    file: File,
    /// The same past the cache; none where the file system cannot do that.
    direct: Option<Direct>,
    bytes: u64,
    zeroed: u64,
}

impl Segments {
    pub(super) fn new(data: &Path, progress: Progress) -> Self {
        let (open, spare, recycled) = (None, None, Vec::new());
        Self { data: data.to_owned(), progress, open, spare, recycled, syncs: 0, last_bytes: 0 }
    }

    /// How often data was synced for a batch (preparing spares not counted).
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Memory kept from write to write.
    pub(super) fn memory_mut(&mut self) -> Option<&mut Vec<u8>> {
        self.open.as_mut().and_then(|open| open.direct.as_mut()).map(Direct::memory_mut)
    }

    /// Writes one batch; durable on return. After an error the value must not be used again.
    pub(super) fn write(&mut self, pieces: &[Piece]) -> Result<(), DiskError> {
        self.last_bytes = pieces.iter().map(|piece| piece.bytes.len()).sum();
        for piece in pieces {
            self.turn_to(piece)?;
            let Some(open) = &mut self.open else { unreachable!("a segment was opened above") };
            open.dirty = true;
            open.write(piece).map_err(|source| DiskError::Unwritten {
                path: path(&self.data, piece.segment),
                offset: piece.offset,
                source,
            })?;
        }
        self.sync()
    }

    /// Opens the file a piece goes to. What was written elsewhere is synced first: a later segment never outlives an
    /// earlier one.
    fn turn_to(&mut self, piece: &Piece) -> Result<(), DiskError> {
        if piece.create.is_none() && self.open.as_ref().is_some_and(|open| open.number == piece.segment) {
            return Ok(());
        }
        self.sync()?;
        let mut before = self.open.take().and_then(|open| open.direct);
        let (file, mut direct, unnamed) = match piece.create {
            Some(bytes) => {
                let spare = self.take_spare(bytes)?;
                (spare.file, spare.direct, true)
            }
            None => {
                let path = path(&self.data, piece.segment);
                let file = File::options().read(true).write(true).open(&path);
                (file.map_err(DiskError::system("opening", &path))?, Direct::open(&path), false)
            }
        };
        if let (Some(direct), Some(before)) = (&mut direct, &mut before) {
            std::mem::swap(direct.memory_mut(), before.memory_mut());
        }
        self.open = Some(Open { number: piece.segment, file, direct, unnamed, dirty: false });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let Some(open) = self.open.as_mut().filter(|open| open.dirty) else { return Ok(()) };
        let path = path(&self.data, open.number);
        open.file.sync_data().map_err(DiskError::system("syncing", &path))?;
        self.syncs += 1;
        open.dirty = false;
        if open.unnamed {
            fs::rename(spare_path(&self.data), &path).map_err(DiskError::system("naming", &path))?;
            sync_folder(&folder(&self.data))?;
            open.unnamed = false;
            self.progress.segment = self.progress.segment.max(open.number);
            write_progress(&self.data, self.progress)?;
        }
        Ok(())
    }

    fn take_spare(&mut self, bytes: u64) -> Result<Spare, DiskError> {
        if self.spare.as_ref().is_none_or(|spare| spare.bytes != bytes) {
            self.spare = Some(self.new_spare(bytes)?);
        }
        match self.spare.take() {
            Some(spare) => Ok(spare),
            None => unreachable!("the spare was made above"),
        }
    }

    /// One step towards having a spare segment; false when there is nothing left to do. For idle moments. An error here
    /// concerns only the spare.
    pub(super) fn prepare(&mut self) -> Result<bool, DiskError> {
        if self.spare.is_none() {
            self.spare = Some(self.new_spare(SEGMENT_BYTES)?);
        }
        if self.last_bytes > SMALL_BATCH_BYTES {
            return Ok(false);
        }
        self.step()
    }

    /// Segments that are in a snapshot, lowest first: their files become spares, or room on the disk. An error here costs
    /// that room and nothing else.
    pub(super) fn recycle(&mut self, gone: &[u64]) -> Result<(), DiskError> {
        let Some(newest) = gone.last() else { return Ok(()) };
        // First it is said that they may be missing. Should it end half way, the rest is found at the next start, without a
        // hole, and goes with the next snapshot.
        let progress = Progress { first: newest + 1, ..self.progress };
        write_progress(&self.data, progress)?;
        self.progress = progress;
        for number in gone {
            let path = path(&self.data, *number);
            if self.recycled.len() < RECYCLED_KEPT {
                let old = path.with_extension(&RECYCLED[1..]);
                fs::rename(&path, &old).map_err(DiskError::system("recycling", &path))?;
                self.recycled.push(old);
            } else {
                fs::remove_file(&path).map_err(DiskError::system("removing", &path))?;
            }
        }
        sync_folder(&folder(&self.data))
    }

    /// A recycled file of that size under the name of the spare, with zeros in place of its old bytes.
    fn recycled_spare(&mut self, bytes: u64) -> Result<Option<Spare>, DiskError> {
        let path = spare_path(&self.data);
        while let Some(old) = self.recycled.pop() {
            let file = File::options().read(true).write(true).open(&old);
            let file = file.map_err(DiskError::system("opening", &old))?;
            let fits = file.metadata().map_err(DiskError::system("measuring", &old))?.len() == bytes;
            if fits && is_zeroed(&file, bytes) {
                fs::rename(&old, &path).map_err(DiskError::system("naming", &path))?;
                return Ok(Some(Spare { file, direct: Direct::open(&path), bytes, zeroed: 0 }));
            }
            fs::remove_file(&old).map_err(DiskError::system("removing", &old))?;
        }
        Ok(None)
    }

    fn new_spare(&mut self, bytes: u64) -> Result<Spare, DiskError> {
        let path = spare_path(&self.data);
        let spare = match self.recycled_spare(bytes)? {
            Some(spare) => spare,
            None => {
                let mut how = File::options();
                let file = how.read(true).write(true).create(true).truncate(true).open(&path);
                let file = file.map_err(DiskError::system("creating", &path))?;
                posix_fallocate(file.as_fd(), 0, signed(bytes))
                    .map_err(|errno| DiskError::system("reserving room for", &path)(errno.into()))?;
                Spare { file, direct: Direct::open(&path), bytes, zeroed: 0 }
            }
        };
        // A segment that is shorter than it says counts as damaged.
        spare.file.sync_all().map_err(DiskError::system("syncing", &path))?;
        Ok(spare)
    }

    fn step(&mut self) -> Result<bool, DiskError> {
        let Some(spare) = self.spare.as_mut().filter(|spare| spare.zeroed < spare.bytes) else {
            return Ok(false);
        };
        let path = spare_path(&self.data);
        // Fits: a step is small. And small, so that a write that comes meanwhile waits only a little.
        let step = (spare.bytes - spare.zeroed).min(ZEROS_BYTES as u64) as usize;
        spare.write_zeros(step).map_err(DiskError::system("writing zeros to", &path))?;
        spare.zeroed += step as u64;
        spare.file.sync_all().map_err(DiskError::system("syncing", &path))?;
        Ok(spare.zeroed < spare.bytes)
    }
}

impl Spare {
    fn write_zeros(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(direct) = &self.direct {
            match direct.write_zeros(bytes, self.zeroed) {
                Err(error) if direct::is_unfit(&error) => self.direct = None,
                done => return done,
            }
        }
        self.file.write_all_at(direct::zeros(bytes), self.zeroed)
    }
}

impl Open {
    fn write(&mut self, piece: &Piece) -> io::Result<()> {
        if let Some(direct) = &mut self.direct {
            match direct.write(&self.file, &piece.bytes, piece.offset) {
                Err(error) if direct::is_unfit(&error) => self.direct = None,
                done => return done,
            }
        }
        self.file.write_all_at(&piece.bytes, piece.offset)
    }
}

/// Makes the file read as zeros; false: the file system cannot do that but by writing them.
fn is_zeroed(file: &File, bytes: u64) -> bool {
    fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_ZERO_RANGE, 0, signed(bytes)).is_ok()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
