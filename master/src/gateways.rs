//! What each gateway was answered: a request that comes again under its number gets the same answer again.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use protocol::{Answer, Boot, NodeId, Origin};

/// Numbers in one piece of a gateway's record.
const PIECE: u64 = 256;

/// The decided numbers of every gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gateways {
    records: BTreeMap<NodeId, Record>,
}

/// One gateway in one of its starts.
#[derive(Clone, Debug)]
struct Record {
    boot: Boot,
    /// Lower numbers are closed: their answers are forgotten and nothing is decided under them any more.
    floor: u64,
    pieces: Arc<BTreeMap<u64, Arc<BTreeMap<u64, Answer>>>>,
    len: usize,
}

/// Whether a number was decided.
pub(crate) enum Known {
    /// Not yet.
    No,
    /// So.
    Yes(Answer),
    /// It is of an earlier start, or closed.
    Stale,
}

impl Gateways {
    pub(crate) fn known(&self, origin: &Origin) -> Known {
        let Some(record) = self.records.get(&origin.gateway) else { return Known::No };
        if origin.boot > record.boot {
            return Known::No;
        }
        if origin.boot < record.boot || origin.number < record.floor {
            return Known::Stale;
        }
        let piece = record.pieces.get(&(origin.number / PIECE));
        piece.and_then(|p| p.get(&origin.number)).map_or(Known::No, |answer| Known::Yes(answer.clone()))
    }

    /// Remembers the answer, at most `keep` of one gateway: the lowest numbers go first.
    pub(crate) fn record(&mut self, origin: &Origin, answer: Answer, keep: usize) {
        let fresh = || Record { boot: origin.boot, floor: 0, pieces: Arc::default(), len: 0 };
        let record = self.records.entry(origin.gateway).or_insert_with(fresh);
        if origin.boot > record.boot {
            *record = fresh();
        }
        // A number is open itself, whatever its gateway says of the others.
        record.prune(origin.floor.min(origin.number));
        let piece = Arc::make_mut(&mut record.pieces).entry(origin.number / PIECE).or_default();
        if Arc::make_mut(piece).insert(origin.number, answer).is_none() {
            record.len += 1;
        }
        while record.len > keep.max(1) {
            let lowest = record.pieces.values().next().and_then(|p| p.keys().next()).copied();
            record.prune(lowest.unwrap_or(origin.number) + 1);
        }
    }

    /// A node that is no member any more decides nothing further under its numbers.
    pub(crate) fn retire(&mut self, gateway: NodeId) {
        if let Some(record) = self.records.get_mut(&gateway) {
            let highest = record.pieces.values().next_back().and_then(|p| p.keys().next_back()).copied();
            record.prune(highest.map_or(record.floor, |number| number + 1));
        }
    }

    /// Every gateway: its id, start, floor and decided numbers.
    pub(crate) fn records(
        &self,
    ) -> impl Iterator<Item = (NodeId, Boot, u64, impl Iterator<Item = (u64, Answer)> + '_)> + '_ {
        self.records.iter().map(|(node, record)| {
            let answers = record.pieces.values().flat_map(|piece| piece.iter());
            (*node, record.boot, record.floor, answers.map(|(number, answer)| (*number, answer.clone())))
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Answers of all.
    pub(crate) fn answers(&self) -> u64 {
        self.records.values().map(|record| record.len as u64).sum()
    }

    /// Takes decided numbers of one gateway back as a snapshot has them. False: it contradicts an earlier part.
    pub(crate) fn take_back(
        &mut self,
        node: NodeId,
        boot: Boot,
        floor: u64,
        answers: alloc::vec::Vec<(u64, Answer)>,
    ) -> bool {
        let fresh = || Record { boot, floor, pieces: Arc::default(), len: 0 };
        let record = self.records.entry(node).or_insert_with(fresh);
        let pieces = Arc::make_mut(&mut record.pieces);
        let new = answers.into_iter().all(|(number, answer)| {
            record.len += 1;
            let piece = Arc::make_mut(pieces.entry(number / PIECE).or_default());
            number >= floor && piece.insert(number, answer).is_none()
        });
        new && record.boot == boot && record.floor == floor
    }

    /// Whether this job was acknowledged through this gateway.
    #[cfg(feature = "mutants")]
    pub(crate) fn answered(&self, gateway: NodeId, job: protocol::JobId) -> bool {
        let pieces = self.records.get(&gateway).into_iter().flat_map(|record| record.pieces.values());
        pieces
            .flat_map(|piece| piece.values())
            .any(|answer| matches!(answer, Answer::Accepted { job: known, .. } if *known == job))
    }

    pub(crate) fn check(&self) {
        for record in self.records.values() {
            let count: usize = record.pieces.values().map(|p| p.len()).sum();
            assert!(count == record.len, "a gateway's answers are counted right");
            assert!(
                record.pieces.values().all(|p| p.keys().all(|number| *number >= record.floor)),
                "no answer is kept below a gateway's floor"
            );
        }
    }
}

impl Record {
    fn prune(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let lowest = self.pieces.keys().next().copied();
        if lowest.is_none_or(|piece| piece * PIECE >= floor) {
            return;
        }
        let pieces = Arc::make_mut(&mut self.pieces);
        while let Some(mut piece) = pieces.first_entry() {
            if *piece.key() * PIECE >= floor {
                break;
            }
            let answers = Arc::make_mut(piece.get_mut());
            let kept = answers.split_off(&floor);
            self.len -= answers.len();
            if kept.is_empty() {
                piece.remove();
            } else {
                *answers = kept;
                break;
            }
        }
    }
}
