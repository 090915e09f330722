//! A pretend disk: it holds the very bytes the real log has, and forgets at a crash what was not synced. It can be slow, hang,
//! be full, fail a sync, and lose a byte of what was safe.

use std::collections::BTreeMap;

use consensus::{
    Base, Corrupt, Entry, HardState, Origin, Peer, Piece, Place, Recovered, Write, Writer, recover_after,
    recover_until,
};
use master::Ledger;

use crate::chance::Chance;
use crate::limits::{SECTOR_BYTES, SEGMENT_BYTES};
use crate::snapshots::Image;

pub(crate) const CLUSTER: u128 = 0x5eed;
/// Snapshots that are kept.
const KEPT: usize = 2;
/// A new segment begins with its header; the first batch comes after it.
const SEGMENT_HEADER_BYTES: u64 = 88;
/// All of a batch's header is under its checksum, wherever the batch ends.
const BATCH_HEADER_BYTES: u64 = 40;

/// Files that are safe, and the one batch that is on its way to them.
#[derive(Default)]
pub(crate) struct Disk {
    /// By rising number.
    files: Vec<(u64, Vec<u8>)>,
    writer: Option<Writer>,
    waiting: Vec<Write>,
    flying: Option<Flight>,
    /// By rising index.
    snapshots: Vec<Image>,
    /// Terms of the entries that are safe, by index.
    safe: BTreeMap<u64, u64>,
    /// The same for all that was handed in.
    handed_in: BTreeMap<u64, u64>,
    /// Where each batch that is safe begins: segment and offset.
    batches: Vec<(u64, u64)>,
    /// After a failed write or sync, in the same process, until a batch is safe elsewhere: where the last good one ended.
    durable: Option<Place>,
    /// What a failed sync left in the system's cache alone: it can be read, counts as written, and is gone with the power.
    /// Segment, offset, and what is on the disk there.
    doubtful: Vec<(u64, usize, Vec<u8>)>,
    /// What is wrong with it.
    pub(crate) ill: Option<Ill>,
    /// A byte of it was changed.
    pub(crate) damaged: bool,
}

/// What can be wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ill {
    /// Writes fail, until there is room again.
    Full,
    /// The next sync fails.
    FailsOnce,
    /// A sync does not come to its end.
    Hangs,
}

/// How far a batch on its way came when it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Nothing,
    All,
    Front,
    Sectors,
}

/// A batch between its write and its sync.
struct Flight {
    pieces: Vec<Piece>,
    number: u64,
    /// Index and term of each entry, in order; nothing: a snapshot took the place of all before.
    entries: Vec<Option<(u64, u64)>>,
}

/// What a start reads.
type Kept = (Option<(Base, Ledger)>, Option<HardState>, Vec<Entry>);

impl Disk {
    /// Reads the log as a start does.
    pub(crate) fn open(&mut self, node: u64, mutant: Option<cast::Mutant>) -> Result<Kept, String> {
        let newest = self.snapshots.last();
        let base = newest.map_or_else(|| Base::founded(Peer(1)), |image| image.base.clone());
        let origin = Origin { cluster: CLUSTER, node };
        let recovered =
            read(mutant, origin, &base, &self.files, self.durable).map_err(|error| error.to_string())?;
        let snapshot = newest.map(|image| image.ledger(mutant).map(|ledger| (base, ledger))).transpose()?;
        let mut writer = recovered.writer;
        writer.set_segment_bytes(SEGMENT_BYTES);
        self.writer = Some(writer);
        self.safe = recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect();
        self.handed_in.clone_from(&self.safe);
        Ok((snapshot, recovered.hard, recovered.entries))
    }

    pub(crate) fn write(&mut self, write: Write) {
        places(&write).for_each(|place| put_term(&mut self.handed_in, place));
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
        let entries = writes.iter().flat_map(places).collect();
        let bytes = pieces.iter().map(|piece| piece.bytes.len()).sum();
        self.flying = Some(Flight { pieces, number, entries });
        Some(bytes)
    }

    /// The bytes of the batch on its way.
    pub(crate) fn flying(&self) -> impl Iterator<Item = &[u8]> {
        self.flying.iter().flat_map(|flight| &flight.pieces).map(|piece| piece.bytes.as_slice())
    }

    /// The number of the last write of the batch on its way.
    pub(crate) fn waits_for(&self) -> Option<u64> {
        self.flying.as_ref().map(|flight| flight.number)
    }

    /// The sync is done: the number of the last write that is safe now.
    pub(crate) fn finish(&mut self) -> Option<u64> {
        let flight = self.flying.take()?;
        for piece in &flight.pieces {
            self.create(piece);
            if piece.create.is_some() {
                // Made anew, and safe by now: what a failed sync had left under this number is gone.
                self.doubtful.retain(|(segment, ..)| *segment != piece.segment);
            }
            self.put(piece, 0..piece.bytes.len());
            let header_bytes = if piece.create.is_some() { SEGMENT_HEADER_BYTES } else { 0 };
            self.batches.push((piece.segment, piece.offset + header_bytes));
        }
        flight.entries.into_iter().for_each(|place| put_term(&mut self.safe, place));
        self.durable = None;
        if let Some(writer) = &mut self.writer {
            writer.synced();
        }
        Some(flight.number)
    }

    /// The term of the entry at this index, as handed in.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        self.handed_in.get(&index).copied()
    }

    /// A snapshot is safe under its number: the log before the last but one goes. Says whether it is the newest.
    pub(crate) fn keep(&mut self, image: Image) -> bool {
        let before = self.in_snapshot();
        if image.base.index <= before {
            return false;
        }
        self.snapshots.push(image);
        if self.snapshots.len() > KEPT {
            self.snapshots.remove(0);
        }
        let gone = self.writer.as_mut().map(|writer| writer.forget(before)).unwrap_or_default();
        // What was damaged in there is noticed at a start, or never.
        if !self.damaged {
            self.files.retain(|(number, _)| !gone.contains(number));
            self.batches.retain(|(segment, _)| !gone.contains(segment));
        }
        true
    }

    /// Everything up to this index is in a snapshot that is safe.
    pub(crate) fn in_snapshot(&self) -> u64 {
        self.snapshots.last().map_or(0, |image| image.base.index)
    }

    pub(crate) fn snapshot(&self, index: u64) -> Option<&Image> {
        self.snapshots.iter().find(|image| image.base.index == index)
    }

    /// Whether this entry would be there after a power cut.
    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.in_snapshot() || self.safe.get(&index) == Some(&term)
    }

    /// The end of a start: what waits is lost; of the batch on its way nothing, all, a front part, or any sectors reached
    /// the disk.
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        use Reached::{All, Front, Nothing, Sectors};
        let reached = [Nothing, All, Front, Sectors][chance.place(4)];
        self.give_up(reached, chance);
        self.durable = None;
        for (segment, start, before) in std::mem::take(&mut self.doubtful) {
            if let Some(file) = self.file(segment) {
                for (sector, bytes) in before.chunks(SECTOR_BYTES).enumerate() {
                    if chance.percent(50) {
                        let from = start + sector * SECTOR_BYTES;
                        file[from..from + bytes.len()].copy_from_slice(bytes);
                    }
                }
            }
        }
    }

    /// A stop in good order: what waits is lost, the batch on its way comes to its end.
    pub(crate) fn close(&mut self, chance: &mut Chance) {
        if self.flying.is_some() {
            self.durable = None;
        }
        self.give_up(Reached::All, chance);
    }

    /// The write or sync under way has failed, so nothing after it counts either. A full disk took a front part; what a failed
    /// sync was to bring to the disk can be read all the same, until the power goes.
    pub(crate) fn fail(&mut self, chance: &mut Chance) {
        let durable = self.writer.as_ref().map(Writer::durable_end);
        if self.ill == Some(Ill::Full) {
            self.give_up(Reached::Front, chance);
        } else {
            self.doubt();
            self.give_up(Reached::All, chance);
            self.ill = None;
        }
        self.durable = durable;
    }

    /// Remembers what is on the disk where the batch on its way goes.
    fn doubt(&mut self) {
        let Some(flight) = self.flying.take() else { return };
        for piece in &flight.pieces {
            self.create(piece);
            let start = piece.offset as usize;
            if let Some(file) = self.file(piece.segment) {
                let before = file[start..start + piece.bytes.len()].to_vec();
                self.doubtful.push((piece.segment, start, before));
            }
        }
        self.flying = Some(flight);
    }

    fn give_up(&mut self, reached: Reached, chance: &mut Chance) {
        self.waiting.clear();
        self.writer = None;
        let Some(flight) = self.flying.take() else { return };
        for piece in &flight.pieces {
            // A new file is made, and made safe, before anything is written into it.
            if reached == Reached::Nothing && chance.percent(50) {
                return;
            }
            self.create(piece);
            let length = piece.bytes.len();
            match reached {
                Reached::Nothing => {}
                Reached::All => self.put(piece, 0..length),
                Reached::Front => self.put(piece, 0..chance.place(length + 1)),
                Reached::Sectors => self.put_some_sectors(piece, chance),
            }
        }
    }

    /// Changes a byte of a batch that is safe and that a later one counts on. Says where; nowhere while there are too few.
    pub(crate) fn damage(&mut self, chance: &mut Chance) -> Option<(u64, u64)> {
        let place = chance.place(self.batches.len().checked_sub(1).filter(|older| *older > 0)?);
        let (segment, start) = self.batches[place];
        let offset = start + chance.below(BATCH_HEADER_BYTES);
        let byte = self.file(segment)?.get_mut(offset as usize)?;
        *byte ^= 1 << chance.below(8);
        self.damaged = true;
        Some((segment, offset))
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

    fn file(&mut self, number: u64) -> Option<&mut Vec<u8>> {
        let place = self.files.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&mut self.files[place].1)
    }

    fn create(&mut self, piece: &Piece) {
        if let Some(size) = piece.create {
            let new = (piece.segment, vec![0; size as usize]);
            match self.files.binary_search_by_key(&piece.segment, |(number, _)| *number) {
                Ok(place) => self.files[place] = new,
                Err(place) => self.files.insert(place, new),
            }
        }
    }

    fn put(&mut self, piece: &Piece, range: std::ops::Range<usize>) {
        if let Some(file) = self.file(piece.segment) {
            let start = piece.offset as usize;
            file[start + range.start..start + range.end].copy_from_slice(&piece.bytes[range]);
        }
    }
}

/// Reads a log as a start does; in the process that has seen a write fail, only up to the last good one.
fn read(
    mutant: Option<cast::Mutant>,
    origin: Origin,
    base: &Base,
    files: &[(u64, Vec<u8>)],
    durable: Option<Place>,
) -> Result<Recovered, Corrupt> {
    #[cfg(feature = "mutants")]
    match mutant {
        Some(cast::Mutant::TornTailTaken) => {
            return consensus::recover_torn_tails(Some(origin), base, files);
        }
        Some(cast::Mutant::FailedSyncTrusted) => return recover_after(Some(origin), base, files),
        _ => {}
    }
    #[cfg(not(feature = "mutants"))]
    let None = mutant;
    match durable {
        Some(durable) => recover_until(Some(origin), base, files, durable),
        None => recover_after(Some(origin), base, files),
    }
}

/// What a write puts where, in order.
fn places(write: &Write) -> impl Iterator<Item = Option<(u64, u64)>> + '_ {
    let entries = write.entries.iter().map(|entry| Some((entry.index, entry.term)));
    write.base.iter().map(|_| None).chain(entries)
}

/// An entry replaces all from its index on; a snapshot replaces all.
fn put_term(terms: &mut BTreeMap<u64, u64>, place: Option<(u64, u64)>) {
    match place {
        Some((index, term)) => {
            drop(terms.split_off(&index));
            terms.insert(index, term);
        }
        None => terms.clear(),
    }
}
