//! A pretend disk: it holds the very bytes the real log has, and forgets at a crash what was not synced.

use std::collections::BTreeMap;

use consensus::{Corrupt, Entry, HardState, Origin, Piece, Write, Writer, recover};

use crate::chance::Chance;
use crate::limits::{SECTOR_BYTES, SEGMENT_BYTES};

const CLUSTER: u128 = 0x5eed;
/// The log's first entry comes after the pretended snapshot at index 1.
const FIRST_INDEX: u64 = 2;

/// Files that are safe, and the one batch that is on its way to them.
#[derive(Default)]
pub(crate) struct Disk {
    files: BTreeMap<u64, Vec<u8>>,
    writer: Option<Writer>,
    waiting: Vec<Write>,
    flying: Option<Flight>,
    /// Terms of the entries that are safe, from the first index on.
    safe: Vec<u64>,
    /// The same for all that was handed in.
    handed_in: Vec<u64>,
}

/// A batch between its write and its sync.
struct Flight {
    pieces: Vec<Piece>,
    number: u64,
    /// Index and term of each entry, in order.
    entries: Vec<(u64, u64)>,
}

impl Disk {
    /// Reads the log as a start does.
    pub(crate) fn open(&mut self, node: u64) -> Result<(Option<HardState>, Vec<Entry>), Corrupt> {
        let files: Vec<(u64, Vec<u8>)> = self.files.iter().map(|(n, bytes)| (*n, bytes.clone())).collect();
        let recovered = recover(Some(Origin { cluster: CLUSTER, node }), &files)?;
        let mut writer = recovered.writer;
        writer.set_segment_bytes(SEGMENT_BYTES);
        self.writer = Some(writer);
        self.safe = recovered.entries.iter().map(|entry| entry.term).collect();
        self.handed_in.clone_from(&self.safe);
        Ok((recovered.hard, recovered.entries))
    }

    pub(crate) fn write(&mut self, write: Write) {
        write.entries.iter().for_each(|entry| put_term(&mut self.handed_in, entry.index, entry.term));
        self.waiting.push(write);
    }

    /// Begins to write all that waits, as one batch, when the disk is idle. Says how many bytes.
    pub(crate) fn begin(&mut self) -> Option<usize> {
        if self.flying.is_some() {
            return None;
        }
        let number = self.waiting.last()?.number;
        let writes = std::mem::take(&mut self.waiting);
        let pieces = self.writer.as_mut()?.batch(&writes);
        let entries = writes.iter().flat_map(|w| &w.entries).map(|entry| (entry.index, entry.term)).collect();
        let bytes = pieces.iter().map(|piece| piece.bytes.len()).sum();
        self.flying = Some(Flight { pieces, number, entries });
        Some(bytes)
    }

    /// The bytes of the batch on its way.
    pub(crate) fn flying(&self) -> impl Iterator<Item = &[u8]> {
        self.flying.iter().flat_map(|flight| &flight.pieces).map(|piece| piece.bytes.as_slice())
    }

    /// The sync is done: the number of the last write that is safe now.
    pub(crate) fn finish(&mut self) -> Option<u64> {
        let flight = self.flying.take()?;
        for piece in &flight.pieces {
            self.create(piece);
            self.put(piece, 0..piece.bytes.len());
        }
        for (index, term) in flight.entries {
            put_term(&mut self.safe, index, term);
        }
        if let Some(writer) = &mut self.writer {
            writer.synced();
        }
        Some(flight.number)
    }

    /// The term of the entry at this index, as handed in.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        self.handed_in.get(usize::try_from(index.checked_sub(FIRST_INDEX)?).ok()?).copied()
    }

    /// Whether this entry would be there after a power cut.
    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        let place = index.checked_sub(FIRST_INDEX).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.safe.get(place)) == Some(&term)
    }

    /// The end of a start: what waits is lost; of the batch on its way nothing, all, a front part, or any sectors reached
    /// the disk.
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        self.waiting.clear();
        self.writer = None;
        let Some(flight) = self.flying.take() else { return };
        let how = chance.below(4);
        for piece in &flight.pieces {
            // A new file is made, and made safe, before anything is written into it.
            if how == 0 && chance.percent(50) {
                return;
            }
            self.create(piece);
            let length = piece.bytes.len();
            match how {
                0 => {}
                1 => self.put(piece, 0..length),
                2 => self.put(piece, 0..chance.place(length + 1)),
                _ => self.put_some_sectors(piece, chance),
            }
        }
    }

    fn put_some_sectors(&mut self, piece: &Piece, chance: &mut Chance) {
        let start = piece.offset as usize;
        let mut from = 0;
        while from < piece.bytes.len() {
            let sector_end = (start + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - start;
            let to = sector_end.min(piece.bytes.len());
            if chance.percent(50) {
                self.put(piece, from..to);
            }
            from = to;
        }
    }

    fn create(&mut self, piece: &Piece) {
        if let Some(size) = piece.create {
            self.files.insert(piece.segment, vec![0; size as usize]);
        }
    }

    fn put(&mut self, piece: &Piece, range: std::ops::Range<usize>) {
        if let Some(file) = self.files.get_mut(&piece.segment) {
            let start = piece.offset as usize;
            file[start + range.start..start + range.end].copy_from_slice(&piece.bytes[range]);
        }
    }
}

/// An entry replaces all from its index on.
fn put_term(terms: &mut Vec<u64>, index: u64, term: u64) {
    terms.truncate((index - FIRST_INDEX) as usize);
    terms.push(term);
}
