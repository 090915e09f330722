//! The last lines on disk: a few files of JSON lines, the oldest removed. Best effort; never synced.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::limits;
use crate::record::Record;
use crate::rotating::{Rotating, Shape};

/// `log.jsonl`, `log.1.jsonl` …
fn shape(folder: &Path) -> Shape {
    let (max_bytes, rotations) = (limits::FILE_BYTES, limits::FILES - 1);
    Shape { stem: folder.join("log"), suffix: "jsonl", max_bytes, rotations }
}

/// Makes the folder and shows that a file can be written there.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
    shape(folder).check()
}

/// Appends lines and begins a new file when the present one is full.
pub(crate) struct Files {
    file: Rotating,
    line: Vec<u8>,
}

impl Files {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: Rotating::open(&shape(folder))?, line: Vec::new() })
    }

    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        record.append_json(&mut self.line);
        self.file.write(&self.line)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The lines of one source, oldest first; what cannot be read is left out. Bounded by the size of the files.
pub(crate) fn read(folder: &Path, source: &str) -> Vec<Arc<Record>> {
    let (mut lines, shape) = (Vec::new(), shape(folder));
    for age in (0..limits::FILES).rev() {
        let Ok(file) = File::open(shape.path(age)) else { continue };
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
    use std::fs;

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
        fs::write(shape(folder.path()).path(0), "{\"source\":\"n/1\",\"se").unwrap();
        let mut files = Files::open(folder.path()).unwrap();
        files.write(&record(1, "whole")).unwrap();
        files.flush().unwrap();
        assert_eq!(read(folder.path(), "n/1").len(), 1);
        assert!(read(folder.path(), "n/2").is_empty());
    }
}
