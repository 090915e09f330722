//! Whether a disk that failed is well again, and the pauses between two looks.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use consensus::limits::SEGMENT_BYTES;
use nix::sys::statvfs::statvfs;

use super::error::DiskError;
use super::folder::Folder;
use super::small::sync_folder;

/// The first pause before a disk is tried again; each further one is twice as long.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A node that served for so long since its disk failed begins with the first pause again.
pub(crate) const WELL_FOR: Duration = Duration::from_secs(60);
/// Bytes of the file that shows whether the disk takes any.
const PROBE_BYTES: usize = 64 << 10;
/// Room a node needs to begin again: the fresh segment that its log goes on in, a spare one, and small files.
const ROOM_BYTES: u64 = 2 * SEGMENT_BYTES + (1 << 20);

/// Bytes of the disk that `folder` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// What the disk of a folder has; none where the system does not say.
pub(crate) fn room(folder: &Path) -> Option<Room> {
    let told = statvfs(folder).ok()?;
    let block_bytes = told.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
    Some(Room { free_bytes: bytes(told.blocks_available()), total_bytes: bytes(told.blocks()) })
}

impl Folder {
    /// Tries the disk: is it there, is it this member's, does it take and sync a file, has it room to go on. May hang as long
    /// as the disk does.
    ///
    /// # Errors
    /// [`DiskError`], naming what failed at which file.
    pub fn probe(&mut self) -> Result<(), DiskError> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it is gone; is the disk mounted?");
        let identity = self.path().join("identity");
        if !self.has_identity() {
            return Err(DiskError::system("looking for", &identity)(missing()));
        }
        self.relock()?;
        let path = self.path().join("probe");
        let mut file = File::create(&path).map_err(DiskError::system("creating", &path))?;
        file.write_all(&[0x5a; PROBE_BYTES]).map_err(DiskError::system("writing", &path))?;
        file.sync_all().map_err(DiskError::system("syncing", &path))?;
        drop(file);
        fs::remove_file(&path).map_err(DiskError::system("removing", &path))?;
        sync_folder(self.path())?;
        match room(self.path()) {
            Some(room) if room.free_bytes < ROOM_BYTES => {
                let text =
                    format!("{} MiB are free, {} MiB are needed", room.free_bytes >> 20, ROOM_BYTES >> 20);
                let full = io::Error::new(io::ErrorKind::StorageFull, text);
                Err(DiskError::system("finding room in", self.path())(full))
            }
            _ => Ok(()),
        }
    }
}

/// Pauses that grow, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pauses = Pauses::new();
        let all: Vec<u128> = (0..7).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(all, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn a_disk_says_how_much_room_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path()).unwrap();
        assert!(room.total_bytes > 0 && room.free_bytes <= room.total_bytes);
        assert_eq!(super::room(&dir.path().join("nowhere")), None);
    }
}
