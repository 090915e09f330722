//! The files of the log. Which bytes go where, the room `consensus` decides; this puts them there and syncs.
//!
//! A segment is filled with zeros before its use, so that a sync later has no metadata to write. It is prepared under the
//! name `spare`, ahead and in small steps, and gets its own name only after its first batch is synced: a segment with a
//! number always begins with whole data. One that a snapshot made needless becomes a spare again (first as `NUMBER.old`).

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consensus::Piece;
use consensus::limits::SEGMENT_BYTES;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise, posix_fallocate};

use super::error::DiskError;
use super::folder::{Progress, write_progress};
use super::small::sync_folder;

/// Zeros written (and synced) in one step, so that a write that comes meanwhile waits only a little.
const ZEROS_BYTES: usize = 1 << 20;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

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
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    /// Still called `spare`.
    unnamed: bool,
    dirty: bool,
}

#[derive(Debug)]
struct Spare {
    file: File,
    bytes: u64,
    zeroed: u64,
}

impl Segments {
    pub(super) fn new(data: &Path, progress: Progress) -> Self {
        Self { data: data.to_owned(), progress, open: None, spare: None, recycled: Vec::new(), syncs: 0 }
    }

    /// How often data was synced for a batch (preparing spares not counted).
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Writes one batch; durable on return. After an error the value must not be used again.
    pub(super) fn write(&mut self, pieces: &[Piece]) -> Result<(), DiskError> {
        for piece in pieces {
            self.turn_to(piece)?;
            let Some(open) = &mut self.open else { unreachable!("a segment was opened above") };
            open.dirty = true;
            let path = path(&self.data, piece.segment);
            open.file.write_all_at(&piece.bytes, piece.offset).map_err(|source| DiskError::Unwritten {
                path,
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
        let (file, unnamed) = match piece.create {
            Some(bytes) => (self.take_spare(bytes)?, true),
            None => {
                let path = path(&self.data, piece.segment);
                let file = File::options().write(true).open(&path);
                (file.map_err(DiskError::system("opening", &path))?, false)
            }
        };
        self.open = Some(Open { number: piece.segment, file, unnamed, dirty: false });
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

    fn take_spare(&mut self, bytes: u64) -> Result<File, DiskError> {
        if self.spare.as_ref().is_none_or(|spare| spare.bytes != bytes) {
            self.spare = Some(self.new_spare(bytes)?);
        }
        while self.step(bytes, false)? {}
        match self.spare.take() {
            Some(spare) => Ok(spare.file),
            None => unreachable!("the spare was made above"),
        }
    }

    /// One step towards having a spare segment; false when there is nothing left to do. For idle moments. An error here
    /// concerns only the spare.
    pub(super) fn prepare(&mut self) -> Result<bool, DiskError> {
        if self.spare.is_none() {
            self.spare = Some(self.new_spare(SEGMENT_BYTES)?);
        }
        self.step(SEGMENT_BYTES, true)
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

    /// A recycled file of that size under the name of the spare. Its old bytes are overwritten as those of a new one.
    fn recycled_spare(&mut self, bytes: u64) -> Result<Option<Spare>, DiskError> {
        let path = spare_path(&self.data);
        while let Some(old) = self.recycled.pop() {
            let file = File::options().write(true).open(&old).map_err(DiskError::system("opening", &old))?;
            if file.metadata().map_err(DiskError::system("measuring", &old))?.len() == bytes {
                fs::rename(&old, &path).map_err(DiskError::system("naming", &path))?;
                return Ok(Some(Spare { file, bytes, zeroed: 0 }));
            }
            fs::remove_file(&old).map_err(DiskError::system("removing", &old))?;
        }
        Ok(None)
    }

    fn new_spare(&mut self, bytes: u64) -> Result<Spare, DiskError> {
        if let Some(spare) = self.recycled_spare(bytes)? {
            return Ok(spare);
        }
        let path = spare_path(&self.data);
        let file = File::create(&path).map_err(DiskError::system("creating", &path))?;
        let length = i64::try_from(bytes).unwrap_or(i64::MAX);
        posix_fallocate(file.as_fd(), 0, length)
            .map_err(|errno| DiskError::system("reserving room for", &path)(errno.into()))?;
        Ok(Spare { file, bytes, zeroed: 0 })
    }

    fn step(&mut self, bytes: u64, gently: bool) -> Result<bool, DiskError> {
        let Some(spare) = self.spare.as_mut().filter(|spare| spare.zeroed < bytes) else { return Ok(false) };
        let path = spare_path(&self.data);
        let step = (spare.bytes - spare.zeroed).min(ZEROS_BYTES as u64);
        let zeros = &ZEROS[..usize::try_from(step).unwrap_or(ZEROS_BYTES)];
        spare.file.write_all_at(zeros, spare.zeroed).map_err(DiskError::system("writing zeros to", &path))?;
        spare.zeroed += step;
        if gently || spare.zeroed == spare.bytes {
            spare.file.sync_all().map_err(DiskError::system("syncing", &path))?;
        }
        Ok(spare.zeroed < spare.bytes)
    }
}
