//! The log on disk as bytes: reading them, and telling a torn tail from damage.

use std::collections::BTreeMap;

use crate::base::{FIRST_INDEX, FIRST_TERM};
use crate::limits::SEGMENT_BYTES;
use crate::segment::{
    ALIGN, BatchHeader, FORMAT, Hard, OLDEST_FORMAT, Place, Record, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::{Base, Entry, HardState, Origin, Peer, Writer};

/// What the files held. The body syncs all files and the folder once before it uses any of this: what was read may so
/// far be in the system's cache only.
#[derive(Debug)]
pub struct Recovered {
    /// Whose log it is.
    pub origin: Origin,
    /// The last hard state.
    pub hard: Option<HardState>,
    /// Entries without a hole, up to the end of the log: from the one after the base on, or from an earlier one.
    pub entries: Vec<Entry>,
    /// What was left out at the end, if anything but zeros was there.
    pub cut: Option<Cut>,
    /// Goes on after the last good batch, in a new generation: what was cut can never be taken for good later.
    pub writer: Writer,
}

/// A torn tail: a write that was under way when the node stopped, so nothing counted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Number of the segment.
    pub segment: u64,
    /// Where it begins in there.
    pub offset: u64,
    /// Bytes up to the last one that is not zero.
    pub bytes: u64,
}

/// The log lost or changed something that was safe. Nothing of it may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading log segment {segment} at offset {offset}: {why}")]
pub struct Corrupt {
    /// Number of the segment.
    pub segment: u64,
    /// Where in there, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// Reads a log that has no snapshot: see [`recover_after`].
pub fn recover(origin: Option<Origin>, segments: &[(u64, Vec<u8>)]) -> Result<Recovered, Corrupt> {
    recover_after(origin, &Base::founded(Peer::default()), segments)
}

/// Reads what a log has after the newest snapshot, which stands at `base`: all its segments by number (any order), whole.
/// With an `origin`, every segment must be of that cluster and node, and no segment at all is a fresh log; without, the
/// first readable header says whose it is. Segments before the first one are recycled: all that they held must be in the
/// snapshot, or it is missed here.
pub fn recover_after(
    origin: Option<Origin>,
    base: &Base,
    segments: &[(u64, Vec<u8>)],
) -> Result<Recovered, Corrupt> {
    read(Files::open(origin, base, segments)?, base, None)
}

/// The same by a process that has written this log itself and lost the disk for a while: it knows where the last sync
/// ended ([`Writer::durable_end`]). What stands behind may be nowhere but in the system's cache (after a failed sync the
/// pages count as written), so it is left out, and the writer goes on in a fresh segment. A log that ends earlier is damaged.
pub fn recover_until(
    origin: Option<Origin>,
    base: &Base,
    segments: &[(u64, Vec<u8>)],
    durable: Place,
) -> Result<Recovered, Corrupt> {
    let mut recovered = read(Files::open(origin, base, segments)?, base, Some(durable))?;
    recovered.writer.renew();
    Ok(recovered)
}

/// Like [`recover_after`], but a batch whose header is whole is taken for good, torn or not: a broken rule.
///
/// # Errors
/// As [`recover_after`].
#[cfg(feature = "mutants")]
pub fn recover_torn_tails(
    origin: Option<Origin>,
    base: &Base,
    segments: &[(u64, Vec<u8>)],
) -> Result<Recovered, Corrupt> {
    read(Files { unchecked: true, ..Files::open(origin, base, segments)? }, base, None)
}

fn read(files: Files<'_>, base: &Base, durable: Option<Place>) -> Result<Recovered, Corrupt> {
    let (mut end, mut generation) = files.start()?;
    let mut log = Log::new(files.first);
    while durable != Some(end) {
        if let Some(next) = files.next(end, generation) {
            generation = next.generation;
            end = Place { segment: next.segment, offset: SEGMENT_HEADER_BYTES as u64 };
        } else if let Some((header, payload)) = files.batch(end, generation) {
            log.take(payload, end)?;
            generation = header.generation;
            end.offset += header.total();
        } else {
            break;
        }
    }
    if durable.is_some_and(|durable| durable != end) {
        let Place { segment, offset } = end;
        return Err(Corrupt { segment, offset, why: "the log ends before what this process had synced" });
    }
    let newest = files.nothing_counts_on(end)?;
    let owed = log.fit(base, files.first, end)?;
    let Some(origin) = files.origin else {
        return Err(Corrupt { segment: end.segment, offset: 0, why: "no segment says whose log it is" });
    };
    let cut = files.garbage(end);
    let torn = cut.filter(|cut| cut.segment == end.segment);
    let hard = Hard { state: log.hard, segment: log.hard_segment };
    let tops = files.files.iter().map(|file| file.number).filter(|number| *number <= end.segment);
    let writer = Writer {
        origin,
        segment_bytes: SEGMENT_BYTES,
        generation: newest.max(generation) + 1,
        end,
        // A segment of an older format is not written to any more.
        room: files
            .header(end.segment)
            .filter(|_| files.is_current(end.segment))
            .map_or(0, |header| header.size),
        synced: end,
        newest: end.segment,
        torn_until: torn.map_or(0, |cut| cut.offset + cut.bytes),
        hard,
        hard_synced: hard,
        owed: owed.then_some((base.index, base.term)),
        owed_written: false,
        tops: tops.map(|number| (number, log.tops.get(&number).copied().unwrap_or(0))).collect(),
    };
    Ok(Recovered { origin, hard: log.hard, entries: log.entries, cut, writer })
}

/// One segment: its number, its bytes (no longer than its header says), its header if that can be read.
struct File<'a> {
    number: u64,
    bytes: &'a [u8],
    header: Option<SegmentHeader>,
    format: u32,
}

/// All segments, by rising number, without a hole.
struct Files<'a> {
    /// Number of the first one: higher than 1 when those before it are recycled.
    first: u64,
    files: Vec<File<'a>>,
    /// By the place that they go on from.
    following: BTreeMap<Place, Vec<SegmentHeader>>,
    origin: Option<Origin>,
    #[cfg(feature = "mutants")]
    unchecked: bool,
}

impl<'a> Files<'a> {
    fn open(origin: Option<Origin>, base: &Base, segments: &'a [(u64, Vec<u8>)]) -> Result<Self, Corrupt> {
        let mut sorted: Vec<(u64, &[u8])> =
            segments.iter().map(|(n, bytes)| (*n, bytes.as_slice())).collect();
        sorted.sort_by_key(|(number, _)| *number);
        // Without a snapshot there was nothing to recycle a segment for.
        let first = sorted.first().map(|(number, _)| *number).filter(|_| base.is_real()).unwrap_or(1);
        let mut this = Files {
            first,
            files: Vec::with_capacity(sorted.len()),
            following: BTreeMap::new(),
            origin,
            #[cfg(feature = "mutants")]
            unchecked: false,
        };
        for (expected, (number, bytes)) in (first..).zip(sorted) {
            if number != expected {
                let why = if number < expected { "it is there twice" } else { "the segment is missing" };
                return Err(Corrupt { segment: number.min(expected), offset: 0, why });
            }
            let (format, header) = this.read_header(number, bytes)?;
            // Fits when it is smaller than the length.
            let bytes = header.map_or(bytes, |header| &bytes[..header.size as usize]);
            if let Some(header) = header {
                this.following.entry(header.previous).or_default().push(header);
            }
            this.files.push(File { number, bytes, header, format });
        }
        Ok(this)
    }

    /// `None`: not a header, which is damage only if something counts on this segment.
    fn read_header(&mut self, number: u64, bytes: &[u8]) -> Result<(u32, Option<SegmentHeader>), Corrupt> {
        let corrupt = |offset, why| Err(Corrupt { segment: number, offset, why });
        let Some((format, header)) = SegmentHeader::decode(bytes) else { return Ok((FORMAT, None)) };
        if !(OLDEST_FORMAT..=FORMAT).contains(&format) {
            return corrupt(0, "its format is not known to this version");
        }
        if *self.origin.get_or_insert(header.origin) != header.origin {
            return corrupt(0, "it belongs to another cluster or node");
        }
        if header.segment != number {
            return corrupt(0, "its header names another number");
        }
        if (bytes.len() as u64) < header.size {
            return corrupt(bytes.len() as u64, "the file was shortened");
        }
        Ok((format, Some(header)))
    }

    /// Where reading begins, and in which generation: at the very beginning, or in the first segment that is kept.
    fn start(&self) -> Result<(Place, u64), Corrupt> {
        if self.first == 1 {
            return Ok((Place::default(), 0));
        }
        let goes_on =
            self.files.iter().filter_map(|file| file.header).filter(|h| h.previous.segment < self.first);
        match goes_on.max_by_key(|header| (header.generation, std::cmp::Reverse(header.segment))) {
            Some(header) => {
                let place = Place { segment: header.segment, offset: SEGMENT_HEADER_BYTES as u64 };
                Ok((place, header.generation))
            }
            None => {
                let why = "its header does not check, and it is the first one that is kept";
                Err(Corrupt { segment: self.first, offset: 0, why })
            }
        }
    }

    /// Segments are numbered without a hole.
    fn file(&self, number: u64) -> Option<&File<'a>> {
        self.files.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn is_current(&self, number: u64) -> bool {
        self.file(number).is_some_and(|file| file.format == FORMAT)
    }

    fn header(&self, number: u64) -> Option<SegmentHeader> {
        self.file(number)?.header
    }

    /// The segment that goes on from `end`: there are several when one was given up after a failed write.
    fn next(&self, end: Place, generation: u64) -> Option<SegmentHeader> {
        let newer = |header: &&SegmentHeader| header.segment > end.segment && header.generation >= generation;
        let headers = self.following.get(&end)?.iter().filter(newer);
        headers.max_by_key(|header| (header.generation, std::cmp::Reverse(header.segment))).copied()
    }

    /// The good batch at this place. One of an older generation is what an earlier recovery has cut.
    fn batch(&self, at: Place, generation: u64) -> Option<(BatchHeader, &'a [u8])> {
        let file = self.file(at.segment)?;
        let bytes = file.bytes.get(usize::try_from(at.offset).ok()?..)?;
        let header = BatchHeader::decode(bytes, at).filter(|header| header.generation >= generation)?;
        #[cfg(feature = "mutants")]
        if self.unchecked {
            return Some((header, header.payload_unchecked(bytes)?));
        }
        Some((header, header.payload(bytes)?))
    }

    /// Looks behind the end for anything that says that the log was synced further. Gives the newest generation seen.
    fn nothing_counts_on(&self, end: Place) -> Result<u64, Corrupt> {
        let mut newest =
            self.files.iter().filter_map(|file| file.header).map(|h| h.generation).max().unwrap_or(0);
        for file in self.files.iter().filter(|file| file.number >= end.segment) {
            let from = if file.number == end.segment { end.offset as usize } else { 0 };
            for offset in (from..file.bytes.len()).step_by(ALIGN) {
                let at = Place { segment: file.number, offset: offset as u64 };
                let Some(header) = BatchHeader::decode(&file.bytes[offset..], at) else { continue };
                newest = newest.max(header.generation);
                if header.synced > end {
                    return Err(self.damage(end, at));
                }
            }
        }
        Ok(newest)
    }

    /// The batch at `witness` counts on something that should be at `end` and is not.
    fn damage(&self, end: Place, witness: Place) -> Corrupt {
        let next = end.segment + 1;
        if witness.segment >= next && self.header(next).is_none() {
            let why = "its header does not check, and later batches count on it";
            return Corrupt { segment: next, offset: 0, why };
        }
        let why = "a batch does not check, and a later one says that it was synced";
        Corrupt { segment: end.segment, offset: end.offset, why }
    }

    /// Bytes behind the end that are not zero.
    fn garbage(&self, end: Place) -> Option<Cut> {
        self.files.iter().filter(|file| file.number >= end.segment).find_map(|file| {
            let offset = if file.number == end.segment { end.offset } else { 0 };
            let last = file.bytes.get(offset as usize..)?.iter().rposition(|byte| *byte != 0)?;
            Some(Cut { segment: file.number, offset, bytes: last as u64 + 1 })
        })
    }
}

/// What the records add up to.
struct Log {
    /// Index before the first entry, and its term if that is known; nothing while no record says where the log begins.
    start: Option<(u64, Option<u64>)>,
    hard: Option<HardState>,
    hard_segment: u64,
    entries: Vec<Entry>,
    /// Highest index of an entry in each segment.
    tops: BTreeMap<u64, u64>,
}

impl Log {
    fn new(first_segment: u64) -> Self {
        let start = (first_segment == 1).then_some((FIRST_INDEX, Some(FIRST_TERM)));
        Self { start, hard: None, hard_segment: 0, entries: Vec::new(), tops: BTreeMap::new() }
    }

    fn take(&mut self, mut payload: &[u8], at: Place) -> Result<(), Corrupt> {
        let corrupt = |why| Corrupt { segment: at.segment, offset: at.offset, why };
        while !payload.is_empty() {
            let (record, rest) = postcard::take_from_bytes::<Record>(payload)
                .map_err(|_| corrupt("a record in a batch cannot be read"))?;
            payload = rest;
            let index = match record {
                Record::Hard(hard) => {
                    (self.hard, self.hard_segment) = (Some(hard), at.segment);
                    0
                }
                Record::Entry(entry) => self.put(entry).map_err(corrupt)?,
                Record::Base { index, term } => {
                    self.start = Some((index, Some(term)));
                    self.entries.clear();
                    index
                }
            };
            let top = self.tops.entry(at.segment).or_insert(0);
            *top = index.max(*top);
        }
        Ok(())
    }

    fn put(&mut self, entry: Entry) -> Result<u64, &'static str> {
        let index = entry.index;
        let (mut start, term) = *self.start.get_or_insert((index.saturating_sub(1), None));
        if index <= start && term.is_none() && self.hard.is_none_or(|hard| hard.commit < index) {
            // The first segment that is kept began with entries that another leader's then replaced, from before it on.
            start = index.saturating_sub(1);
            self.start = Some((start, None));
            self.entries.clear();
        }
        let place = index.checked_sub(start + 1).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place.filter(|place| *place <= self.entries.len()) else {
            return Err("an entry leaves a hole before it");
        };
        let committed = self.hard.is_some_and(|hard| index <= hard.commit);
        let other = self.entries.get(place).is_some_and(|old| old.term != entry.term);
        if committed && other {
            return Err("an entry replaces a committed one");
        }
        self.entries.truncate(place);
        self.entries.push(entry);
        Ok(index)
    }

    /// Puts the log behind the snapshot. True: the snapshot took its place, and the log does not say so yet (the node
    /// ended in between).
    fn fit(&mut self, base: &Base, first_segment: u64, end: Place) -> Result<bool, Corrupt> {
        let (start, start_term) = self.start.unwrap_or((base.index, None));
        if start > base.index {
            let why = "the log begins behind the end of the newest snapshot that can be read: a part between them is missing";
            return Err(Corrupt { segment: first_segment, offset: 0, why });
        }
        let corrupt = |why| Err(Corrupt { segment: end.segment, offset: end.offset, why });
        let last = start + self.entries.len() as u64;
        let commit = self.hard.map_or(0, |hard| hard.commit);
        if commit > last.max(base.index) {
            return corrupt("the log ends before the index that it says is committed");
        }
        let term = match base.index.checked_sub(start + 1) {
            None => start_term,
            // Fits when it is smaller than the length.
            Some(place) => self.entries.get(place as usize).map(|entry| entry.term),
        };
        let is_there = base.index <= last && term.is_none_or(|term| term == base.term);
        if is_there && self.start.is_some() {
            return Ok(false);
        }
        if !is_there && base.index <= last.min(commit) {
            return corrupt("another entry than the one of the snapshot is committed at its index");
        }
        self.entries.clear();
        Ok(base.is_real())
    }
}
