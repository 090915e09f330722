//! A snapshot's file as bytes: making them, and checking them. Nothing here touches a file.
//!
//! ```text
//!   header: magic, format, origin, base, sum │ piece │ piece │ … │ end: bytes of all before, number of pieces
//! ```
//!
//! Each piece has its length and a checksum that covers its place too. A reader is fed bytes as they come and gives the
//! pieces out; only [`Found::End`] says that all of it was there.

use crate::{Base, Origin};

const MAGIC: [u8; 8] = *b"UNDRSNAP";
/// What is written, and the only one there was so far.
const FORMAT: u32 = 1;
/// Magic, format, length of the base, origin.
const HEADER_BYTES: usize = 8 + 4 + 4 + 16 + 8;
const FRAME_BYTES: usize = 8;
const END_BYTES: usize = 16;
/// A base is some numbers and ids.
const BASE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one piece. The largest job with its result stays far below.
pub const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Makes the bytes of a snapshot's file, in order.
#[derive(Debug)]
pub struct ImageWriter {
    offset: u64,
    pieces: u64,
}

impl ImageWriter {
    /// Begins one; the bytes are the first of the file.
    pub fn new(origin: Origin, base: &Base) -> (Self, Vec<u8>) {
        let base = match postcard::to_allocvec(base) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("plain values always serialize into a growing vector: {error}"),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + base.len() + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&length(base.len()).to_le_bytes());
        bytes.extend_from_slice(&origin.cluster.to_le_bytes());
        bytes.extend_from_slice(&origin.node.to_le_bytes());
        bytes.extend_from_slice(&base);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        (Self { offset: bytes.len() as u64, pieces: 0 }, bytes)
    }

    /// The bytes of the next piece, which is not empty and at most [`PIECE_BYTES_MAX`].
    pub fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES_MAX, "a piece has {} bytes", piece.len());
        self.pieces += 1;
        self.frame(length(piece.len()), piece)
    }

    /// The last bytes.
    pub fn end(mut self) -> Vec<u8> {
        let mut body = [0; END_BYTES];
        body[..8].copy_from_slice(&self.offset.to_le_bytes());
        body[8..].copy_from_slice(&self.pieces.to_le_bytes());
        self.frame(0, &body)
    }

    fn frame(&mut self, length: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_BYTES + body.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&sum(self.offset, length, body).to_le_bytes());
        bytes.extend_from_slice(body);
        self.offset += bytes.len() as u64;
        bytes
    }
}

/// Fits: every length in here is bounded far below 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn sum(offset: u64, length: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// What a reader found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Comes first.
    Header {
        /// Whose cluster it is of, and which node made it.
        origin: Origin,
        /// Where it stands.
        base: Base,
    },
    /// The next piece.
    Piece(Vec<u8>),
    /// All of it was there.
    End,
}

/// The bytes are no whole snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading a snapshot at byte {offset}: {why}")]
pub struct BadImage {
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// Checks the bytes of a snapshot's file as they come.
#[derive(Debug, Default)]
pub struct ImageReader {
    waiting: Vec<u8>,
    /// Bytes of `waiting` that are done with.
    used: usize,
    /// Where the next thing begins in the file.
    offset: u64,
    pieces: u64,
    begun: bool,
    ended: bool,
}

impl ImageReader {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, any number of them.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.waiting.drain(..std::mem::take(&mut self.used));
        self.waiting.extend_from_slice(bytes);
    }

    /// What is whole in the bytes so far; nothing: feed more. At the end of the file, nothing before [`Found::End`] means
    /// that it was cut: see [`ImageReader::cut`].
    pub fn take(&mut self) -> Result<Option<Found>, BadImage> {
        let bytes = &self.waiting[self.used..];
        if self.ended {
            return if bytes.is_empty() { Ok(None) } else { Err(self.bad("there is more behind its end")) };
        }
        let taken = if self.begun { self.frame(bytes)? } else { self.header(bytes)? };
        let Some((found, length)) = taken else { return Ok(None) };
        match found {
            Found::Header { .. } => self.begun = true,
            Found::Piece(_) => self.pieces += 1,
            Found::End => self.ended = true,
        }
        self.used += length;
        self.offset += length as u64;
        Ok(Some(found))
    }

    /// Where the next thing begins in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The error of a file that ends here.
    pub fn cut(&self) -> BadImage {
        self.bad("it is cut short")
    }

    fn bad(&self, why: &'static str) -> BadImage {
        BadImage { offset: self.offset, why }
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<(Found, usize)>, BadImage> {
        let Some(mut fixed) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let mut take = |count: usize| {
            let (front, rest) = fixed.split_at(count);
            fixed = rest;
            front
        };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        if take(8) != MAGIC {
            return Err(self.bad("it does not begin like a snapshot"));
        }
        let format = number(take(4));
        // Fits: four bytes.
        let base_bytes = number(take(4)) as usize;
        let origin = Origin { cluster: number(take(16)), node: number(take(8)) as u64 };
        if base_bytes > BASE_BYTES_MAX {
            return Err(self.bad("its header does not check"));
        }
        let end = HEADER_BYTES + base_bytes;
        let Some((checked, rest)) = bytes.split_at_checked(end) else { return Ok(None) };
        let Some(sum) = rest.first_chunk::<4>() else { return Ok(None) };
        if crc32fast::hash(checked) != u32::from_le_bytes(*sum) {
            return Err(self.bad("its header does not check"));
        }
        if format != u128::from(FORMAT) {
            return Err(self.bad("its format is not known to this version"));
        }
        let base: Base = match postcard::take_from_bytes(&checked[HEADER_BYTES..]) {
            Ok((base, [])) => base,
            _ => return Err(self.bad("its place cannot be read")),
        };
        match base.fault() {
            Some(why) => Err(self.bad(why)),
            None => Ok(Some((Found::Header { origin, base }, end + 4))),
        }
    }

    fn frame(&self, bytes: &[u8]) -> Result<Option<(Found, usize)>, BadImage> {
        let Some((head, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else { return Ok(None) };
        let part =
            |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        let (length, expected) = (part(0), part(4));
        let size = if length == 0 { END_BYTES } else { length as usize };
        if size > PIECE_BYTES_MAX {
            return Err(self.bad("a piece does not check"));
        }
        let Some(body) = rest.get(..size) else { return Ok(None) };
        if sum(self.offset, length, body) != expected {
            return Err(self.bad("a piece does not check"));
        }
        if length > 0 {
            return Ok(Some((Found::Piece(body.to_vec()), FRAME_BYTES + size)));
        }
        let counted = [self.offset.to_le_bytes(), self.pieces.to_le_bytes()].concat();
        if body != counted {
            return Err(self.bad("it has not as many pieces as it says"));
        }
        Ok(Some((Found::End, FRAME_BYTES + size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    const ORIGIN: Origin = Origin { cluster: 5, node: 6 };

    fn image() -> (Base, Vec<Vec<u8>>, Vec<u8>) {
        let base = Base { index: 700, term: 9, ..Base::founded(Peer(4)) };
        let pieces: Vec<Vec<u8>> = (1..6_u8).map(|n| vec![n; usize::from(n) * 37]).collect();
        let (mut writer, mut bytes) = ImageWriter::new(ORIGIN, &base);
        for piece in &pieces {
            bytes.extend(writer.piece(piece));
        }
        bytes.extend(writer.end());
        (base, pieces, bytes)
    }

    /// Everything in these bytes, fed in steps of this size.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Found>, BadImage> {
        let (mut reader, mut all) = (ImageReader::new(), Vec::new());
        for part in bytes.chunks(step) {
            reader.feed(part);
            while let Some(found) = reader.take()? {
                all.push(found);
            }
        }
        if all.last() == Some(&Found::End) { Ok(all) } else { Err(reader.cut()) }
    }

    #[test]
    fn it_comes_back_however_the_bytes_arrive() {
        let (base, pieces, bytes) = image();
        for step in [1, 7, 64, bytes.len()] {
            let mut expected = vec![Found::Header { origin: ORIGIN, base: base.clone() }];
            expected.extend(pieces.iter().cloned().map(Found::Piece));
            expected.push(Found::End);
            assert_eq!(read(&bytes, step).unwrap(), expected);
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed_and_nothing_may_follow() {
        let (_, _, bytes) = image();
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 0x20;
            let error = read(&bad, 50).expect_err("damage must be noticed");
            assert!(error.offset <= place as u64, "byte {place}: {error}");
            assert!(read(&bytes[..place], 50).is_err(), "cut at {place}");
        }
        let mut more = bytes.clone();
        more.push(0);
        assert!(read(&more, 50).is_err());
    }

    #[test]
    fn pieces_cannot_change_places() {
        let base = Base::founded(Peer(4));
        let (mut writer, header) = ImageWriter::new(ORIGIN, &base);
        let (one, two) = (writer.piece(b"one"), writer.piece(b"two"));
        let swapped = [header.clone(), two, one, writer.end()].concat();
        assert_eq!(read(&swapped, 9).unwrap_err().offset, header.len() as u64);
    }
}
