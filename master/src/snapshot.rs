//! The whole ledger as bytes, piece by piece, and back.
//!
//! ```text
//!   Head │ Former │ Members │ [Draining] │ Gateway… │ Facts… │ Jobs… (as accepted) │ Keys… │ EndedKeys… │ Started… │ [Recodex] │ End
//! ```
//!
//! Equal ledgers give equal pieces. A piece is bounded, so that neither side needs room for all of it; taking them from a
//! clone costs the owner of the ledger nothing but the pieces that it writes to meanwhile. What is only an index is not in
//! there: it is built again, and then everything is checked to fit together.

use alloc::sync::Arc;
use alloc::vec::Vec;

use protocol::{Answer, Boot, ClusterId, Fact, Job, JobId, JobState, Member, NodeId};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::held::Held;
use crate::keys::{EndedKey, KeyRecord};
use crate::ledger::Ledger;
use crate::limits::{PIECE_BYTES, PIECE_ITEMS, RECOVERIES};
use crate::marks::Marks;
use crate::recodex::Kept;
use crate::retention::Forgotten;
use crate::shares::Started;

/// The form of the pieces. Raised when an older program could not read them; [`Restoring`] reads all up to this one.
///
/// 2: a job may ask for more ([`protocol::More`]), and the piece `Former` says which clusters this one was recovered from.
/// 3: a job may ask for still more, and the pieces `Started` have the starts that rates count, where there are any.
/// 4: a job may be an evaluation, and the piece `Recodex` has what else is kept of them, where there is anything.
pub const SNAPSHOT_VERSION: u32 = 4;

/// One piece. The order of variants is the form: new ones come last.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Head(Head),
    Members {
        given: u32,
        members: Vec<Member>,
    },
    Gateway {
        node: NodeId,
        boot: Boot,
        floor: u64,
        answers: Vec<(u64, Answer)>,
    },
    Facts(Vec<Arc<Fact>>),
    Jobs(Vec<HeldJob>),
    Keys(Vec<(Arc<str>, KeyRecord)>),
    EndedKeys(Vec<EndedKey>),
    End(Counts),
    Former(Vec<ClusterId>),
    Started(Vec<Started>),
    /// Not there when no member is drained.
    Draining(Vec<NodeId>),
    /// Not there when nothing was ever asked for by ReCodEx.
    Recodex(Kept),
}

/// What comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    applied: u64,
    clock_ms: u64,
    wall_ms: u64,
    open: bool,
    digest: u64,
    last_fact: u64,
    /// The first and the next place among the keys of ended jobs.
    ended_keys: (u64, u64),
    /// Number of the oldest end whose job is held, and of the newest end.
    ends: (u64, u64),
    /// The highest place in the order of acceptance.
    last_order: u64,
    /// Jobs in each state and bytes of ended ones, counted for ever.
    ever: ([u64; JobState::ALL.len()], u64),
    forgotten: Forgotten,
    marks: Marks,
}

/// What comes last: how much there was of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    jobs: u64,
    keys: u64,
    ended_keys: u64,
    facts: u64,
    members: u64,
    gateways: u64,
    answers: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeldJob {
    job: Arc<Job>,
    key: Option<Arc<str>>,
    accepted_ms: u64,
}

impl HeldJob {
    fn of((id, held): (JobId, &Held)) -> Self {
        Self { job: held.job(id), key: held.key.clone(), accepted_ms: held.accepted_ms }
    }
}

/// Bytes that are no snapshot of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// A piece cannot be read.
    #[error("reading a snapshot of the ledger: a piece is not in our form")]
    Malformed,
    /// It was made by a newer program.
    #[error(
        "reading a snapshot of the ledger: its form {version} is newer than this program's {SNAPSHOT_VERSION}"
    )]
    Newer {
        /// Its form.
        version: u32,
    },
    /// Its pieces do not make a ledger.
    #[error("reading a snapshot of the ledger: {0}")]
    Contradicts(&'static str),
}

impl Ledger {
    /// The whole of it. Each piece is about [`PIECE_BYTES`] at most, unless one job alone is larger.
    pub fn pieces(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let head = Part::Head(self.head());
        let former = Part::Former(self.former.clone());
        let members =
            Part::Members { given: self.members.given(), members: self.members.iter().cloned().collect() };
        let draining: Vec<NodeId> = self.members.draining().collect();
        let draining = (!draining.is_empty()).then_some(Part::Draining(draining));
        let gateways = self.gateways.records().flat_map(|(node, boot, floor, answers)| {
            let part = move |answers| Part::Gateway { node, boot, floor, answers };
            // A gateway without an open answer has a floor all the same.
            core::iter::once(part(Vec::new())).chain(batches(answers, |_| 0, part))
        });
        let facts = self.facts.chunks().map(|chunk| Part::Facts(chunk.to_vec()));
        let jobs = batches(self.jobs_in_order().map(HeldJob::of), job_bytes, Part::Jobs);
        let keys = batches(self.keys.records(), |(key, _)| key.len(), Part::Keys);
        let ended = batches(self.keys.ended_records(), |ended| ended.key.len(), Part::EndedKeys);
        let started = batches(self.shares.all_started(), |one| one.key.len() + 256, Part::Started);
        let recodex =
            (self.recodex.kept != Kept::default()).then(|| Part::Recodex(self.recodex.kept.clone()));
        let end = Part::End(self.counts_of_all());
        core::iter::once(head)
            .chain([former])
            .chain([members])
            .chain(draining)
            .chain(gateways)
            .chain(facts)
            .chain(jobs)
            .chain(keys)
            .chain(ended)
            .chain(started)
            .chain(recodex)
            .chain([end])
            .map(|part| protocol::native::encode(&part))
    }

    fn head(&self) -> Head {
        Head {
            version: SNAPSHOT_VERSION,
            applied: self.applied,
            clock_ms: self.clock_ms,
            wall_ms: self.wall_ms,
            open: self.open,
            digest: self.digest.value(),
            last_fact: self.facts.last(),
            ended_keys: self.keys.ended_range(),
            ends: self.tail.range(),
            last_order: self.order.last(),
            ever: self.ever(),
            forgotten: self.forgotten,
            marks: self.marks.clone(),
        }
    }

    fn counts_of_all(&self) -> Counts {
        Counts {
            jobs: self.jobs.len() as u64,
            keys: self.keys.len() as u64,
            ended_keys: self.keys.ended_len() as u64,
            facts: self.facts.last() + 1 - self.facts.first(),
            members: self.members.iter().count() as u64,
            gateways: self.gateways.len(),
            answers: self.gateways.answers(),
        }
    }

    fn jobs_in_order(&self) -> impl Iterator<Item = (JobId, &Held)> + '_ {
        self.order.jobs().filter_map(|id| Some((id, self.jobs.get(&id)?)))
    }
}

fn job_bytes(held: &HeldJob) -> usize {
    let result = held.job.result.as_ref().map_or(0, |result| result.weight_bytes());
    // Fits: it is in memory.
    held.job.spec.weight_bytes() as usize + result
}

/// Gathers items into parts of bounded size and number; no empty one.
fn batches<'a, T>(
    items: impl Iterator<Item = T> + 'a,
    bytes: impl Fn(&T) -> usize + 'a,
    part: impl Fn(Vec<T>) -> Part + 'a,
) -> impl Iterator<Item = Part> + 'a
where
    T: 'a,
{
    let mut items = items.peekable();
    core::iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut size = 0;
        while batch.len() < PIECE_ITEMS
            && let Some(item) = items.next_if(|item| batch.is_empty() || size + bytes(item) <= PIECE_BYTES)
        {
            size += bytes(&item);
            batch.push(item);
        }
        (!batch.is_empty()).then(|| part(batch))
    })
}

/// A ledger on its way back from its pieces.
#[derive(Debug)]
pub struct Restoring {
    ledger: Ledger,
    head: Option<Head>,
    has_former: bool,
    end: Option<Counts>,
}

impl Restoring {
    /// Begins with an empty ledger, which brings its bounds.
    #[must_use]
    pub fn new(empty: Ledger) -> Self {
        Self { ledger: empty, head: None, has_former: false, end: None }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`BadSnapshot`]; nothing can be made of it any more.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), BadSnapshot> {
        let part = match postcard::take_from_bytes::<Part>(piece) {
            Ok((part, [])) => part,
            _ => return Err(BadSnapshot::Malformed),
        };
        if self.end.is_some() || self.head.is_some() == matches!(part, Part::Head(_)) {
            return Err(BadSnapshot::Contradicts("its pieces are out of order"));
        }
        let fits = match part {
            Part::Head(head) => return self.begin(head),
            Part::End(counts) => {
                self.end = Some(counts);
                true
            }
            Part::Former(former) => self.take_former(former),
            Part::Members { given, members } => self.ledger.members.take_back(given, members),
            Part::Draining(nodes) => nodes.into_iter().all(|node| self.ledger.members.drain(node, true)),
            Part::Gateway { node, boot, floor, answers } => {
                self.ledger.gateways.take_back(node, boot, floor, answers)
            }
            Part::Facts(chunk) => self.ledger.facts.take_back(chunk),
            Part::Jobs(jobs) => jobs
                .into_iter()
                .all(|HeldJob { job, key, accepted_ms }| self.ledger.take_back(job, key, accepted_ms)),
            Part::Keys(keys) => {
                keys.into_iter().for_each(|(key, record)| self.ledger.keys.insert(key, record));
                true
            }
            Part::EndedKeys(keys) => {
                keys.into_iter().for_each(|key| self.ledger.keys.take_back_ended(key));
                true
            }
            Part::Recodex(kept) => core::mem::replace(&mut self.ledger.recodex.kept, kept) == Kept::default(),
            Part::Started(starts) => starts.into_iter().all(|started| self.ledger.shares.take_back(started)),
        };
        if fits {
            Ok(())
        } else {
            Err(BadSnapshot::Contradicts("a piece does not go on from the one before"))
        }
    }

    /// Once, and right behind the head.
    fn take_former(&mut self, former: Vec<ClusterId>) -> bool {
        let fits = !core::mem::replace(&mut self.has_former, true) && former.len() <= RECOVERIES as usize;
        self.ledger.former = former;
        fits
    }

    fn begin(&mut self, head: Head) -> Result<(), BadSnapshot> {
        if head.version > SNAPSHOT_VERSION {
            return Err(BadSnapshot::Newer { version: head.version });
        }
        let ledger = &mut self.ledger;
        ledger.applied = head.applied;
        ledger.clock_ms = head.clock_ms;
        ledger.wall_ms = head.wall_ms;
        ledger.open = head.open;
        ledger.digest = Digest::of_value(head.digest);
        ledger.keys.take_back_range(head.ended_keys);
        ledger.tail.take_back_range(head.ends);
        ledger.forgotten = head.forgotten;
        ledger.marks = head.marks.clone();
        self.head = Some(head);
        Ok(())
    }

    /// The ledger, once all pieces are taken.
    ///
    /// # Errors
    /// [`BadSnapshot`] when some are missing.
    ///
    /// # Panics
    /// When an invariant of the ledger does not hold in it: it was broken where the snapshot was made.
    pub fn finish(self) -> Result<Ledger, BadSnapshot> {
        let (Some(head), Some(counts)) = (self.head, self.end) else {
            return Err(BadSnapshot::Contradicts("it has no end"));
        };
        if (head.version >= 2) != self.has_former {
            return Err(BadSnapshot::Contradicts("it does not say what its cluster was before"));
        }
        let mut ledger = self.ledger;
        ledger.take_back_ever(head.ever);
        let ordered = ledger.order.take_back_last(head.last_order);
        if !ordered || ledger.counts_of_all() != counts || ledger.facts.last() != head.last_fact {
            return Err(BadSnapshot::Contradicts("there is not as much in it as it says"));
        }
        ledger.check();
        Ok(ledger)
    }
}
