//! Writing past the system's cache, in whole blocks. What a log holds is read again at the next start at the earliest, so a copy
//! of it in the cache is of no use, and to have the kernel find and write the pages of large batches takes longer than the disk.
//!
//! The last block of a write is mostly not full: it is kept, and written again with what follows it. That is what the cache does
//! too. A file system that cannot do this gets its writes through the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// Disks take whole blocks, at places and from memory that are multiples of this.
const BLOCK_BYTES: usize = 4096;
/// Bytes written at a time, at most.
const STEP_BYTES: usize = 4 << 20;
/// Zeros where a block may begin: they are written from there as they are.
#[repr(align(4096))]
struct Zeros([u8; ZEROS_BYTES]);
static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);
/// Zeros that are written at a time, at most.
pub(super) const ZEROS_BYTES: usize = 1 << 20;

/// A file that is written to past the cache.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// What is written is copied to here first. It stays: new memory for each write costs more than to fill it.
    memory: Vec<u8>,
    /// Where the block begins that was written last and is not full, and what is in it.
    last: Option<(u64, Vec<u8>)>,
}

impl Direct {
    /// The file at this path, which must be there; none when its file system cannot do this.
    pub(super) fn open(path: &Path) -> Option<Direct> {
        let flag = OFlag::O_DIRECT.bits();
        let file = File::options().write(true).custom_flags(flag).open(path).ok()?;
        Some(Direct { file, memory: Vec::new(), last: None })
    }

    /// The memory that it wrote from, for the next one.
    pub(super) fn memory_mut(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Writes so many zeros, at most [`ZEROS_BYTES`]; both are whole blocks.
    pub(super) fn write_zeros(&self, bytes: usize, at: u64) -> io::Result<()> {
        self.file.write_all_at(zeros(bytes), at)
    }

    /// Writes all of it there. Up to the end of its last block everything behind becomes zero. `cached` is the same file, for
    /// reading what stands before it in its first block.
    pub(super) fn write(&mut self, cached: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset - offset % BLOCK_BYTES as u64;
        // Fits: less than a block.
        let mut front = self.front(cached, at, (offset - at) as usize)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = rest.len().min(STEP_BYTES - front.len());
            let filled = front.len() + taken;
            let whole = filled.next_multiple_of(BLOCK_BYTES);
            let blocks = aligned(&mut self.memory, whole);
            blocks[..front.len()].copy_from_slice(&front);
            blocks[front.len()..filled].copy_from_slice(&rest[..taken]);
            blocks[filled..].fill(0);
            self.file.write_all_at(blocks, at)?;
            let full = filled - filled % BLOCK_BYTES;
            front = blocks[full..filled].to_vec();
            at += full as u64;
            rest = &rest[taken..];
        }
        self.last = Some((at, front));
        Ok(())
    }

    /// The first bytes of the block at this place.
    fn front(&mut self, cached: &File, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        match self.last.take() {
            Some((block, last)) if block == at && last.len() == bytes => Ok(last),
            _ => {
                let mut front = vec![0; bytes];
                cached.read_exact_at(&mut front, at)?;
                Ok(front)
            }
        }
    }
}

/// So many zeros, at most [`ZEROS_BYTES`].
pub(super) fn zeros(bytes: usize) -> &'static [u8] {
    &ZEROS.0[..bytes]
}

/// Whether a write failed because the file system wants no such writes: some say so only then.
pub(super) fn is_unfit(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINVAL as i32)
}

/// So many bytes of this memory that begin where a block may.
fn aligned(memory: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if memory.len() < bytes + BLOCK_BYTES {
        memory.resize(bytes + BLOCK_BYTES, 0);
    }
    let skipped = memory.as_ptr().align_offset(BLOCK_BYTES);
    &mut memory[skipped..skipped + bytes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_parts_of_any_length_is_read_back_and_the_rest_of_its_last_block_is_zero() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(9 << 20).unwrap();
        file.write_all_at(&[7; 9 << 20], 0).unwrap();
        // Without it the log takes the cached way, which other tests go.
        let Some(mut direct) = Direct::open(&path) else { return };
        let mut expected = Vec::new();
        for (turn, bytes) in [88, 4_000, 8, 4_096, 1, 300_000, 5 << 20, 40].into_iter().enumerate() {
            let part = vec![turn as u8 + 1; bytes];
            if direct.write(&file, &part, expected.len() as u64).is_err_and(|error| is_unfit(&error)) {
                return;
            }
            expected.extend(part);
            if turn % 3 == 2 {
                // As after a start: nothing is known of what stands before.
                direct = Direct::open(&path).unwrap();
            }
        }
        let mut read = vec![0; 9 << 20];
        file.read_exact_at(&mut read, 0).unwrap();
        let end = expected.len().next_multiple_of(BLOCK_BYTES);
        assert!(read[..expected.len()] == expected[..], "the parts stand one behind the other");
        assert!(read[expected.len()..end].iter().all(|byte| *byte == 0), "the last block ends in zeros");
        assert!(read[end..].iter().all(|byte| *byte == 7), "nothing behind it is touched");
    }
}
