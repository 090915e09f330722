//! A file of lines that is put aside when it is full: `stem.suffix`, and older ones `stem.1.suffix`, `stem.2.suffix` …

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Bytes of lines that are written at once.
const GATHERED_BYTES: usize = 64 << 10;

/// Where it is and how large it may become.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Path without the suffix.
    pub(crate) stem: PathBuf,
    /// Without its dot.
    pub(crate) suffix: &'static str,
    /// Bytes that one file holds; a single line that is longer has a file to itself.
    pub(crate) max_bytes: u64,
    /// Older ones that are kept.
    pub(crate) rotations: usize,
}

impl Shape {
    /// The file with the newest lines is 0.
    pub(crate) fn path(&self, age: usize) -> PathBuf {
        let mut name = self.stem.as_os_str().to_owned();
        if age > 0 {
            name.push(format!(".{age}"));
        }
        name.push(format!(".{}", self.suffix));
        PathBuf::from(name)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.path(0))
    }

    /// Makes the folder and shows that the file can be written.
    pub(crate) fn check(&self) -> io::Result<()> {
        if let Some(folder) = self.stem.parent() {
            fs::create_dir_all(folder)?;
        }
        self.open().map(drop)
    }
}

/// The open file.
pub(crate) struct Rotating {
    shape: Shape,
    file: BufWriter<File>,
    bytes: u64,
}

impl Rotating {
    pub(crate) fn open(shape: &Shape) -> io::Result<Self> {
        let mut file = shape.open()?;
        let mut bytes = file.metadata()?.len();
        // The last process may have died in the middle of a line; ours starts on a new one.
        if bytes > 0 && !ends_with_a_line(&shape.path(0)) {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        Ok(Self { shape: shape.clone(), file: BufWriter::with_capacity(GATHERED_BYTES, file), bytes })
    }

    /// Adds a line, which has no end of its own.
    pub(crate) fn write(&mut self, line: impl AsRef<[u8]>) -> io::Result<()> {
        let line = line.as_ref();
        let bytes = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + bytes > self.shape.max_bytes {
            self.rotate()?;
        }
        self.bytes += bytes;
        self.file.write_all(line)?;
        self.file.write_all(b"\n")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        for age in (1..=self.shape.rotations).rev() {
            match fs::rename(self.shape.path(age - 1), self.shape.path(age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = self.shape.open()?;
        if self.shape.rotations == 0 {
            file.set_len(0)?;
        }
        self.file = BufWriter::with_capacity(GATHERED_BYTES, file);
        self.bytes = 0;
        Ok(())
    }
}

/// What cannot be read counts as cut.
fn ends_with_a_line(path: &std::path::Path) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let last = || {
        let (mut file, mut byte) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut byte)?;
        io::Result::Ok(byte[0])
    };
    last().is_ok_and(|byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(folder: &std::path::Path, max_bytes: u64, rotations: usize) -> Shape {
        Shape { stem: folder.join("deep/broker.v2"), suffix: "log", max_bytes, rotations }
    }

    fn names(shape: &Shape) -> Vec<String> {
        let folder = fs::read_dir(shape.stem.parent().unwrap()).unwrap();
        let mut names: Vec<_> =
            folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_put_aside_and_as_many_are_kept_as_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let shape = shape(folder.path(), 10, 2);
        shape.check().unwrap();
        let mut file = Rotating::open(&shape).unwrap();
        for number in 0..9 {
            file.write(format!("line {number}...")).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(names(&shape), ["broker.v2.1.log", "broker.v2.2.log", "broker.v2.log"]);
        let held = [0, 1, 2].map(|age| fs::read_to_string(shape.path(age)).unwrap());
        assert_eq!(held, ["line 8...\n", "line 7...\n", "line 6...\n"]);
    }

    #[test]
    fn a_file_is_filled_to_its_last_byte_and_gone_on_with_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let shape = shape(folder.path(), 20, 1);
        shape.check().unwrap();
        for line in ["123456789", "abcdefghi", "x"] {
            let mut file = Rotating::open(&shape).unwrap();
            file.write(line).unwrap();
            file.flush().unwrap();
        }
        assert_eq!(fs::read_to_string(shape.path(0)).unwrap(), "x\n");
        assert_eq!(fs::read_to_string(shape.path(1)).unwrap(), "123456789\nabcdefghi\n");
    }

    #[test]
    fn without_older_ones_a_full_file_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let shape = shape(folder.path(), 4, 0);
        shape.check().unwrap();
        let mut file = Rotating::open(&shape).unwrap();
        for line in ["one", "two", "a long one", "end"] {
            file.write(line).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(
            (names(&shape).len(), fs::read_to_string(shape.path(0)).unwrap()),
            (1, "end\n".to_string())
        );
    }
}
