//! The log on disk as bytes: making them. Nothing here touches a file; the body carries out [`Piece`]s.
//!
//! ```text
//!   segment 1                                   segment 2
//!   ┌────────┬───────┬───────┬───────┬────────┐ ┌────────┬───────┬──────────────┐
//!   │ header │ batch │ batch │ batch │ zeros  │ │ header │ batch │ zeros        │
//!   └────────┴───────┴───────┴───────┴────────┘ └────────┴───────┴──────────────┘
//!                                    ▲ where segment 2's header says that it goes on from
//! ```
//!
//! A batch is all writes that waited together: one write to the file, one sync. Its header repeats how far the log was
//! *synced* when it was made. That is how a reader tells a torn tail (nothing later counts on it) from damage (something
//! later says that this had been safe).
//!
//! A segment begins with the hard state so far. So the ones before it can go as soon as a snapshot holds their entries.

use std::collections::BTreeMap;

use crate::{Entry, HardState, Write};

/// Whose log it is. Both are in every segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Id of the cluster.
    pub cluster: u128,
    /// Id of the node.
    pub node: u64,
}

/// Bytes for one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the segment file: 1, 2, 3 …
    pub segment: u64,
    /// The file is to be made anew, of this many zero bytes (an older one of that number is replaced). That must be synced,
    /// file and folder, *before* the bytes are written: a file shorter than its header says counts as damaged.
    pub create: Option<u64>,
    /// Where the bytes go, from the start of the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A place in the log. Places rise along it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Turns writes into bytes, one batch after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub(crate) origin: Origin,
    pub(crate) segment_bytes: u64,
    pub(crate) generation: u64,
    /// Where the next batch goes, if it fits.
    pub(crate) end: Place,
    /// Size of the segment that `end` is in; 0: none, or not to be used again.
    pub(crate) room: u64,
    /// Everything before is durable.
    pub(crate) synced: Place,
    /// Highest segment number in use.
    pub(crate) newest: u64,
    /// Old bytes of a torn tail reach up to here; the next batch in this segment overwrites them with zeros.
    pub(crate) torn_until: u64,
    /// The newest hard state handed in, and the segment it stands in.
    pub(crate) hard: Hard,
    /// The same of all that is durable.
    pub(crate) hard_synced: Hard,
    /// A snapshot took the place of the log and the log does not say so yet: its index and term.
    pub(crate) owed: Option<(u64, u64)>,
    /// That is written, and not known to be durable.
    pub(crate) owed_written: bool,
    /// Every segment there is, with the highest index of an entry in it; 0: none.
    pub(crate) tops: BTreeMap<u64, u64>,
}

/// A hard state in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hard {
    pub(crate) state: Option<HardState>,
    pub(crate) segment: u64,
}

impl Writer {
    /// A fresh log, without a file yet. `segment_bytes` is [`crate::limits::SEGMENT_BYTES`] outside of tests.
    pub fn new(origin: Origin, segment_bytes: u64) -> Self {
        Self {
            origin,
            segment_bytes,
            generation: 1,
            end: Place::default(),
            room: 0,
            synced: Place::default(),
            newest: 0,
            torn_until: 0,
            hard: Hard::default(),
            hard_synced: Hard::default(),
            owed: None,
            owed_written: false,
            tops: BTreeMap::new(),
        }
    }

    /// Makes new segments of this size from now on (after a recovery they have the usual one).
    pub fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.segment_bytes = segment_bytes;
    }

    /// One batch of all these writes; no piece when there are none. Write the pieces in order, then sync every file that
    /// got one since the last sync, then call [`Writer::synced`].
    pub fn batch(&mut self, writes: &[Write]) -> Vec<Piece> {
        self.batch_in(Vec::new(), writes)
    }

    /// [`Writer::batch`], made in memory that was used before: what is in `room` goes. New memory for every large batch costs
    /// more than to fill it. Where it does not do, it gives way to what is just enough.
    pub fn batch_in(&mut self, room: Vec<u8>, writes: &[Write]) -> Vec<Piece> {
        if writes.is_empty() {
            return Vec::new();
        }
        let mut bytes = self.records(room, 0, None, writes);
        if self.end.offset + batch_bytes(bytes.len()) > self.room {
            // A new segment says the hard state first: then none before it is needed for that.
            bytes = self.records(bytes, SEGMENT_HEADER_BYTES, self.hard.state, writes);
        }
        self.owed_written |= self.owed.is_some();
        let end = bytes.len();
        bytes.resize(end.next_multiple_of(ALIGN), 0);
        let (mut piece, header) = self.place(&bytes);
        bytes[..header.len()].copy_from_slice(&header);
        let at = Place { segment: piece.segment, offset: piece.offset + header.len() as u64 };
        BatchHeader::of(&bytes[header.len() + BATCH_HEADER_BYTES..end], self.generation, self.synced)
            .put(at, &mut bytes[header.len()..]);
        self.note(writes, &piece);
        self.end = Place { segment: at.segment, offset: piece.offset + bytes.len() as u64 };
        if self.torn_until > self.end.offset {
            // Fits: it is within a segment.
            bytes.resize((self.torn_until - piece.offset) as usize, 0);
        }
        self.torn_until = 0;
        piece.bytes = bytes;
        vec![piece]
    }

    /// All that the writes say, behind room for the batch's header and, before that, for so many bytes in front.
    fn records(
        &self,
        room: Vec<u8>,
        front_bytes: usize,
        hard: Option<HardState>,
        writes: &[Write],
    ) -> Vec<u8> {
        let size: usize =
            writes.iter().flat_map(|write| &write.entries).map(|entry| entry.data.len() + 32).sum();
        // As much as if it began a segment: it may turn out to.
        let most = SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES + size + 64 * (writes.len() + 3);
        // Not grown: what is in it would be copied.
        let mut batch = if room.capacity() < most { Vec::with_capacity(most) } else { room };
        batch.clear();
        batch.resize(front_bytes + BATCH_HEADER_BYTES, 0);
        if let Some(hard) = hard {
            batch = put(&RecordRef::Hard(hard), batch);
        }
        if let Some((index, term)) = self.owed.filter(|_| !self.owed_written) {
            batch = put(&RecordRef::Base { index, term }, batch);
        }
        for write in writes {
            if let Some(base) = &write.base {
                batch = put(&RecordRef::Base { index: base.index, term: base.term }, batch);
            }
            for entry in &write.entries {
                batch = put(&RecordRef::Entry(entry), batch);
            }
            // After its entries: it may commit them.
            if let Some(hard) = write.hard {
                batch = put(&RecordRef::Hard(hard), batch);
            }
        }
        batch
    }

    /// Remembers what of the writes decides how long their segment is needed.
    fn note(&mut self, writes: &[Write], piece: &Piece) {
        let newest = writes.iter().rev().find_map(|write| write.hard).or(self.hard.state);
        if newest != self.hard.state || piece.create.is_some() {
            self.hard = Hard { state: newest, segment: piece.segment };
        }
        let entries = writes.iter().flat_map(|write| &write.entries).map(|entry| entry.index);
        let bases = writes.iter().filter_map(|write| write.base.as_ref()).map(|base| base.index);
        let top = self.tops.entry(piece.segment).or_insert(0);
        *top = entries.chain(bases).fold(*top, u64::max);
    }

    /// All pieces so far are durable.
    pub fn synced(&mut self) {
        self.synced = self.end;
        self.hard_synced = self.hard;
        if self.owed_written {
            self.owed = None;
            self.owed_written = false;
        }
    }

    /// Segments that nobody needs any more when every entry up to `upto` is in a snapshot: lowest first, without a hole.
    /// They are forgotten here; the body recycles or removes their files in this order. None while a write is under way.
    pub fn forget(&mut self, upto: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        if self.synced != self.end {
            return gone;
        }
        let needed = self.end.segment.min(self.hard_synced.segment);
        while let Some(first) = self.tops.first_entry() {
            if *first.key() >= needed || *first.get() > upto {
                break;
            }
            gone.push(*first.key());
            first.remove();
        }
        gone
    }

    /// Up to where everything is durable: for [`crate::recover_until`], when the log is read again by the same process.
    #[must_use]
    pub fn durable_end(&self) -> Place {
        self.synced
    }

    /// A write or sync failed: nothing since the last [`Writer::synced`] counts, and its segment is not used again. The
    /// next batch opens a fresh one that goes on from there; it must bring all writes since then again.
    pub fn renew(&mut self) {
        self.end = self.synced;
        self.room = 0;
        self.generation += 1;
        self.hard = self.hard_synced;
        self.owed_written = false;
    }

    /// Where a batch goes that may have room for a segment's header in front, and that header: empty when it fits into the
    /// segment there is.
    fn place(&mut self, batch: &[u8]) -> (Piece, Vec<u8>) {
        let bytes = batch.len() as u64;
        let piece = |segment, create, offset| Piece { segment, create, offset, bytes: Vec::new() };
        if self.end.offset + bytes <= self.room {
            return (piece(self.end.segment, None, self.end.offset), Vec::new());
        }
        self.newest += 1;
        self.room = self.segment_bytes.max(bytes);
        self.torn_until = 0;
        let header = SegmentHeader {
            origin: self.origin,
            segment: self.newest,
            generation: self.generation,
            size: self.room,
            previous: self.end,
        };
        (piece(self.newest, Some(self.room), 0), header.encode())
    }
}

/// Batches start at multiples of this, so a reader can look for them behind damage.
pub(crate) const ALIGN: usize = 8;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 88;
pub(crate) const BATCH_HEADER_BYTES: usize = 40;
/// What is written. Format 1 had no record of a base, and segments that did not begin with the hard state.
pub(crate) const FORMAT: u32 = 2;
/// The oldest that can be read.
pub(crate) const OLDEST_FORMAT: u32 = 1;
const SEGMENT_MAGIC: [u8; 8] = *b"UNDRSTDY";
const BATCH_MAGIC: [u8; 4] = *b"UBAT";

/// What a batch holds. An entry replaces all entries at its index and above; a base replaces all entries.
#[derive(serde::Serialize)]
enum RecordRef<'a> {
    Hard(HardState),
    Entry(&'a Entry),
    Base { index: u64, term: u64 },
}

/// The same, read back (same order of variants).
#[derive(serde::Deserialize)]
pub(crate) enum Record {
    Hard(HardState),
    Entry(Entry),
    Base { index: u64, term: u64 },
}

/// Bytes of a batch of so many, with padding.
fn batch_bytes(length: usize) -> u64 {
    (length as u64).next_multiple_of(ALIGN as u64)
}

fn put(record: &RecordRef<'_>, to: Vec<u8>) -> Vec<u8> {
    match postcard::serialize_with_flavor(record, Onto(to)) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("plain values always serialize into a growing vector: {error}"),
    }
}

/// Writes at the end of a vector. (Postcard's own way there takes a command byte by byte.)
struct Onto(Vec<u8>);

impl postcard::ser_flavors::Flavor for Onto {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// First bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) origin: Origin,
    pub(crate) segment: u64,
    pub(crate) generation: u64,
    /// Size of the whole file.
    pub(crate) size: u64,
    /// The log before this segment ends here (0, 0 before the first).
    pub(crate) previous: Place,
}

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.origin.cluster.to_le_bytes());
        let Place { segment, offset } = self.previous;
        for number in [self.origin.node, self.segment, self.generation, self.size, segment, offset] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        bytes
    }

    /// The format and the header, when its checksum is right.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(u32, SegmentHeader)> {
        let mut from = Cursor(bytes.get(..SEGMENT_HEADER_BYTES)?);
        let magic = from.take::<8>()?;
        let format = u32::from_le_bytes(from.take()?);
        from.take::<4>()?;
        let cluster = u128::from_le_bytes(from.take()?);
        let node = from.number()?;
        let (segment, generation, size) = (from.number()?, from.number()?, from.number()?);
        let previous = Place { segment: from.number()?, offset: from.number()? };
        let crc = u32::from_le_bytes(from.take()?);
        let header = SegmentHeader { origin: Origin { cluster, node }, segment, generation, size, previous };
        let checked = &bytes[..SEGMENT_HEADER_BYTES - 8];
        (magic == SEGMENT_MAGIC && crc == crc32fast::hash(checked)).then_some((format, header))
    }
}

/// First bytes of a batch. The checksum covers its place too: the same bytes elsewhere are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Bytes of the records, without padding.
    pub(crate) length: u32,
    pub(crate) generation: u64,
    /// How far the log was durable when this was made.
    pub(crate) synced: Place,
    payload_crc: u32,
}

impl BatchHeader {
    fn of(payload: &[u8], generation: u64, synced: Place) -> Self {
        let Ok(length) = u32::try_from(payload.len()) else {
            unreachable!("writes are bounded far below 4 GiB, these are {} bytes", payload.len())
        };
        Self { length, generation, synced, payload_crc: crc32fast::hash(payload) }
    }

    fn put(&self, at: Place, into: &mut [u8]) {
        let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES);
        bytes.extend_from_slice(&BATCH_MAGIC);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        for number in [self.generation, self.synced.segment, self.synced.offset] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.payload_crc.to_le_bytes());
        bytes.extend_from_slice(&header_crc(&bytes, at).to_le_bytes());
        into[..BATCH_HEADER_BYTES].copy_from_slice(&bytes);
    }

    /// The header at the front of these bytes, when its checksum is right for this place.
    pub(crate) fn decode(bytes: &[u8], at: Place) -> Option<BatchHeader> {
        let mut from = Cursor(bytes.get(..BATCH_HEADER_BYTES)?);
        if from.take::<4>()? != BATCH_MAGIC {
            return None;
        }
        let length = u32::from_le_bytes(from.take()?);
        let generation = from.number()?;
        let synced = Place { segment: from.number()?, offset: from.number()? };
        let payload_crc = u32::from_le_bytes(from.take()?);
        let crc = u32::from_le_bytes(from.take()?);
        let right = crc == header_crc(&bytes[..BATCH_HEADER_BYTES - 4], at);
        right.then_some(BatchHeader { length, generation, synced, payload_crc })
    }

    /// The records behind this header, when they are all there.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = BATCH_HEADER_BYTES.checked_add(self.length as usize)?;
        let payload = bytes.get(BATCH_HEADER_BYTES..end)?;
        (crc32fast::hash(payload) == self.payload_crc).then_some(payload)
    }

    /// The bytes behind this header, whatever they are.
    #[cfg(feature = "mutants")]
    pub(crate) fn payload_unchecked<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES.checked_add(self.length as usize)?)
    }

    /// Bytes of the whole batch, with padding.
    pub(crate) fn total(&self) -> u64 {
        (BATCH_HEADER_BYTES as u64 + u64::from(self.length)).next_multiple_of(ALIGN as u64)
    }
}

fn header_crc(header: &[u8], at: Place) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(&at.segment.to_le_bytes());
    hasher.update(&at.offset.to_le_bytes());
    hasher.finalize()
}

/// Takes fixed pieces off the front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
