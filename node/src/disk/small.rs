//! Small files that are replaced whole: after a crash either the old or the new one is there, never a mixture.
//!
//! ```text
//!   8 bytes: what it is │ payload │ 4 bytes: CRC-32 of all before, little endian
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::DiskError;

/// The largest such file.
const SMALL_FILE_BYTES: u64 = 4096;
const SUM_BYTES: usize = 4;

/// One such file: where it is and what it says it is.
#[derive(Clone, Debug)]
pub(super) struct Small {
    pub(super) folder: PathBuf,
    pub(super) name: &'static str,
    pub(super) kind: &'static [u8; 8],
}

impl Small {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// The payload; `None` when there is no such file.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::system("opening", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(SMALL_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(DiskError::system("reading", &path))?;
        let Some(rest) = bytes.strip_prefix(self.kind) else {
            return Err(DiskError::damaged(&path, 0, "it does not begin like such a file"));
        };
        let Some((payload, sum)) = rest.split_last_chunk::<SUM_BYTES>() else {
            return Err(DiskError::damaged(&path, bytes.len() as u64, "it is cut short"));
        };
        let summed = &bytes[..bytes.len() - SUM_BYTES];
        if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return Err(DiskError::damaged(&path, 0, "its checksum does not fit"));
        }
        Ok(Some(payload.to_vec()))
    }

    /// Replaces it; durable on return.
    pub(super) fn replace(&self, payload: &[u8]) -> Result<(), DiskError> {
        let mut bytes = self.kind.to_vec();
        bytes.extend_from_slice(payload);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());

        let path = self.path();
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh).map_err(DiskError::system("creating", &fresh))?;
        file.write_all(&bytes).map_err(DiskError::system("writing", &fresh))?;
        file.sync_all().map_err(DiskError::system("syncing", &fresh))?;
        std::fs::rename(&fresh, &path).map_err(DiskError::system("renaming into place", &path))?;
        sync_folder(&self.folder)
    }
}

/// Makes creations and renames in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    let opened = File::open(folder).map_err(DiskError::system("opening the folder", folder))?;
    opened.sync_all().map_err(DiskError::system("syncing the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(folder: &Path) -> Small {
        Small { folder: folder.to_owned(), name: "note", kind: b"UNDRTEST" }
    }

    #[test]
    fn holds_what_was_put_there_last() {
        let dir = tempfile::tempdir().unwrap();
        let note = small(dir.path());
        assert_eq!(note.read().unwrap(), None);
        note.replace(b"one").unwrap();
        note.replace(b"").unwrap();
        assert_eq!(note.read().unwrap(), Some(Vec::new()));
        note.replace(b"three").unwrap();
        assert_eq!(note.read().unwrap(), Some(b"three".to_vec()));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed_and_the_file_named() {
        let dir = tempfile::tempdir().unwrap();
        let note = small(dir.path());
        note.replace(b"payload").unwrap();
        let whole = std::fs::read(note.path()).unwrap();
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            std::fs::write(note.path(), &bent).unwrap();
            assert!(note.read().unwrap_err().to_string().contains("note"), "byte {at}");
            std::fs::write(note.path(), &whole[..at]).unwrap();
            assert!(note.read().is_err(), "cut at {at}");
        }
    }
}
