//! The last lines on disk: a few files of JSON lines, the oldest removed. Best effort; never synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits;
use crate::record::Record;

/// Makes the folder and shows that a file can be written there.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    open(folder).map(drop)
}

/// The file with the newest lines is 0.
fn path(folder: &Path, age: usize) -> PathBuf {
    if age == 0 { folder.join("log.jsonl") } else { folder.join(format!("log.{age}.jsonl")) }
}

fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path(folder, 0))
}

/// Appends lines and begins a new file when the present one is full.
pub(crate) struct Files {
    folder: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl Files {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let mut file = open(folder)?;
        let bytes = file.metadata()?.len();
        // The last process may have died in the middle of a line; ours starts on a new one.
        if bytes > 0 {
            file.write_all(b"\n")?;
        }
        Ok(Self { folder: folder.to_path_buf(), file: BufWriter::new(file), bytes: bytes + 1 })
    }

    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.bytes >= limits::FILE_BYTES {
            self.rotate()?;
        }
        let line = record.json();
        self.bytes += line.len() as u64 + 1;
        writeln!(self.file, "{line}")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        for age in (1..limits::FILES).rev() {
            match fs::rename(path(&self.folder, age - 1), path(&self.folder, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = BufWriter::new(open(&self.folder)?);
        self.bytes = 0;
        Ok(())
    }
}

/// The lines of one source, oldest first; what cannot be read is left out. Bounded by the size of the files.
pub(crate) fn read(folder: &Path, source: &str) -> Vec<Arc<Record>> {
    let mut lines = Vec::new();
    for age in (0..limits::FILES).rev() {
        let Ok(file) = File::open(path(folder, age)) else { continue };
        let records = BufReader::new(file)
            .split(b'\n')
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_slice::<Record>(&line).ok())
            .filter(|record| &*record.source == source);
        lines.extend(records.map(Arc::new));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Level;

    fn record(seq: u64, message: &str) -> Record {
        Record::new("n/1", seq, 0, Level::Info, "test", None, "n", message)
    }

    #[test]
    fn files_are_bounded_and_keep_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path()).unwrap();
        let mut files = Files::open(folder.path()).unwrap();
        let long = "x".repeat(limits::MESSAGE_BYTES);
        for seq in 1..=3_000 {
            files.write(&record(seq, &long)).unwrap();
        }
        files.flush().unwrap();
        let sizes: u64 =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes < limits::FILES as u64 * (limits::FILE_BYTES + 16_000), "{sizes}");
        let kept = read(folder.path(), "n/1");
        assert_eq!(kept.last().unwrap().seq, 3_000);
        assert!(kept.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    }

    #[test]
    fn a_cut_line_hurts_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path(), 0), "{\"source\":\"n/1\",\"se").unwrap();
        let mut files = Files::open(folder.path()).unwrap();
        files.write(&record(1, "whole")).unwrap();
        files.flush().unwrap();
        assert_eq!(read(folder.path(), "n/1").len(), 1);
        assert!(read(folder.path(), "n/2").is_empty());
    }
}
