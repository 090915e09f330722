//! A private folder for as long as a program runs that has none of its own.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Only its owner may enter.
const MODE: u32 = 0o700;

/// The folder; dropping this removes it with what is in it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Programs that tidy the folder for temporary files leave alone what is locked.
    _lock: File,
}

impl Scratch {
    /// Makes a folder of a new name among the system's temporary ones.
    ///
    /// # Errors
    /// Names the folder.
    pub(super) fn new() -> io::Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("understudy-{:032x}", u128::from_be_bytes(name)));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // Not recursive: what is there already, by whomever, is an error.
        DirBuilder::new().mode(MODE).create(&path).map_err(named)?;
        let lock = File::open(&path).and_then(|folder| folder.lock_shared().map(|()| folder));
        let lock = lock.map_err(|error| {
            // Empty yet; if this fails, an empty folder stays.
            let _ = fs::remove_dir(&path);
            named(error)
        })?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "news: a temporary folder stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_the_owners_alone_and_goes_with_what_is_in_it() {
        let (one, other) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        assert_ne!(one.path(), other.path());
        assert_eq!(fs::metadata(one.path()).unwrap().mode() & 0o777, MODE);
        fs::write(one.path().join("file"), "").unwrap();
        let path = one.path().to_path_buf();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
