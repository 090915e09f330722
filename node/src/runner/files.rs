//! The files that belong to a result: read out of the folder of a program that ended well, when nothing of it runs any more.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::libc;
use protocol::limits::RESULT_FILES_BYTES;
use protocol::submit::is_file_name;

/// Reads these files below `folder`. A link leads nowhere: neither a file nor a folder on the way may be one.
///
/// # Errors
/// In words for the user: which one is not there, is no file, or is too much.
pub(super) fn collect(folder: &Path, names: &[String]) -> Result<BTreeMap<String, Bytes>, String> {
    let mut files = BTreeMap::new();
    let mut left = RESULT_FILES_BYTES;
    for name in names {
        let bytes = read(folder, name, left).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("its output file {name:?} is not there"),
            io::ErrorKind::FileTooLarge => {
                format!("with {name:?} its output files are over the limit of {RESULT_FILES_BYTES} bytes")
            }
            _ => format!("its output file {name:?} cannot be read: {error}"),
        })?;
        left -= bytes.len();
        files.insert(name.clone(), bytes);
    }
    Ok(files)
}

fn read(folder: &Path, name: &str, most: usize) -> io::Result<Bytes> {
    let no_file = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}"));
    if !is_file_name(name) {
        return Err(no_file("no name of a file"));
    }
    let mut path = PathBuf::from(folder);
    for word in name.split('/') {
        path.push(word);
        if fs::symlink_metadata(&path)?.is_symlink() {
            return Err(no_file("a link, or lies behind one"));
        }
    }
    // Nothing waits for the other end of a pipe, and a link that came to be meanwhile is none to follow.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file("no file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_are_read_from_below_the_folder_alone() {
        let outside = tempfile::TempDir::new().unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/one"), "1").unwrap();
        fs::write(at("two"), "22").unwrap();
        symlink(outside.path().join("secret"), at("link")).unwrap();
        symlink(outside.path(), at("way")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let read = collect(folder.path(), &names(&["sub/one", "two"])).unwrap();
        assert_eq!((&read["sub/one"][..], &read["two"][..]), (&b"1"[..], &b"22"[..]));
        for (name, why) in [
            ("none", "is not there"),
            ("link", "a link"),
            ("way/secret", "a link"),
            ("sub", "no file"),
            ("pipe", "no file"),
            ("../secret", "no name"),
        ] {
            let error = collect(folder.path(), &names(&[name])).unwrap_err();
            assert!(error.contains(why) && error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn all_files_together_have_one_bound() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("a"), vec![0; RESULT_FILES_BYTES - 1]).unwrap();
        fs::write(folder.path().join("b"), "1").unwrap();
        fs::write(folder.path().join("c"), "1").unwrap();
        assert_eq!(collect(folder.path(), &names(&["a", "b"])).unwrap().len(), 2);
        let error = collect(folder.path(), &names(&["a", "b", "c"])).unwrap_err();
        assert!(error.contains("\"c\"") && error.contains("1048576"), "{error}");
    }
}
