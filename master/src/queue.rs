//! Who waits for a worker, and who is next.
//!
//! **Order.** A job goes as though it had been accepted [`AGEING_MS`] earlier for each level of its priority. So among
//! equals the older is first, a waiting job gains one level in 30 s over newcomers, and none is overtaken by a job that
//! was accepted more than 270 s after it. Nothing has to be recomputed as time goes by.
//!
//! **Shapes.** Jobs that ask for the same (class, headers, processor, memory, resources) are one shape: where its first job finds
//! no place, none of the others will. So one turn looks at shapes, not at jobs, and at most at a bounded number of them;
//! it goes on where it stopped in the next turn.
//!
//! A million may wait here, so of a job that the ledger holds only its place is kept: who it is the ledger says by its order.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Bound;

use crate::ledger::Ledger;
use crate::limits::AGEING_MS;
use protocol::{JobId, JobSpec};

/// What decides where a job may run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    class: String,
    requires: BTreeMap<String, String>,
    cpu_milli: u32,
    memory_bytes: u64,
    /// It is not sent ahead of a free slot.
    at_most_once: bool,
    resources: BTreeMap<String, u64>,
}

impl Shape {
    fn of(spec: &JobSpec) -> Self {
        Self {
            class: spec.class.clone(),
            requires: spec.requires.clone(),
            cpu_milli: spec.cpu_milli,
            memory_bytes: spec.memory_bytes,
            at_most_once: spec.more.at_most_once,
            resources: spec.more.resources.clone(),
        }
    }
}

/// Jobs not in the ledger yet come behind all that are, in the order they came.
const ARRIVING: u64 = u64::MAX / 2;

/// When a job is due, and its order among those due then. The lowest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    due_ms: u64,
    order: u64,
}

impl Turn {
    fn of(spec: &JobSpec, accepted_ms: u64, order: u64) -> Self {
        let levels = 9 - u64::from(spec.priority.min(9));
        Self { due_ms: accepted_ms.saturating_add(levels * AGEING_MS), order }
    }
}

/// A job's place: its turn, and its shape. The lowest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    turn: Turn,
    shape: u64,
}

/// A job on its way into the ledger.
#[derive(Clone, Debug)]
struct Arrival {
    spec: Arc<JobSpec>,
    /// None: it is not in the queue, a place was found for it.
    place: Option<Place>,
}

/// The waiting jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    shapes: BTreeMap<Shape, u64>,
    waiting: BTreeMap<u64, (Shape, BTreeSet<Turn>)>,
    /// The first place of every shape.
    heads: BTreeSet<Place>,
    /// Jobs proposed and not applied yet.
    arriving: BTreeMap<JobId, Arrival>,
    /// Those of them that wait here, by their order.
    arrived: BTreeMap<u64, JobId>,
    arrivals: u64,
    next_shape: u64,
    /// Something came or became free since the last look from the front.
    changed: bool,
    /// A look that has not come to the end: everything up to here was looked at.
    looking: Option<Option<Place>>,
}

impl Queue {
    /// Adds a job that the ledger holds, or does nothing if it is here. It arrives no more.
    pub(crate) fn insert(&mut self, ledger: &Ledger, job: JobId) {
        self.arrived(job);
        let Some((spec, turn)) = turn_of(ledger, job) else { return };
        let shape = self.shape_of(spec);
        self.put(Place { turn, shape });
        self.changed = true;
    }

    /// Adds a job whose `Submit` is proposed.
    pub(crate) fn arrive(&mut self, job: JobId, spec: &Arc<JobSpec>, now_ms: u64) {
        self.arrived(job);
        self.arrivals += 1;
        let order = ARRIVING + self.arrivals;
        let place = Place { turn: Turn::of(spec, now_ms, order), shape: self.shape_of(spec) };
        self.put(place);
        self.arrived.insert(order, job);
        self.arriving.insert(job, Arrival { spec: Arc::clone(spec), place: Some(place) });
        self.changed = true;
    }

    /// A job arrives no more: it is decided.
    pub(crate) fn arrived(&mut self, job: JobId) {
        if let Some(place) = self.arriving.remove(&job).and_then(|arrival| arrival.place) {
            self.take(place);
        }
    }

    /// What a job asks for that arrives.
    pub(crate) fn arriving(&self, job: JobId) -> Option<&Arc<JobSpec>> {
        self.arriving.get(&job).map(|arrival| &arrival.spec)
    }

    /// Takes a job out, wherever it stands. One that arrives goes on arriving.
    pub(crate) fn remove(&mut self, ledger: &Ledger, job: JobId) {
        if let Some(place) = self.arriving.get_mut(&job).and_then(|arrival| arrival.place.take()) {
            self.take(place);
        }
        if let Some(place) = self.place_of(ledger, job) {
            self.take(place);
        }
    }

    /// Takes out who stands at a place.
    pub(crate) fn take(&mut self, place: Place) {
        if let Some(job) = self.arrived.remove(&place.turn.order)
            && let Some(arrival) = self.arriving.get_mut(&job)
        {
            arrival.place = None;
        }
        let Some((shape, turns)) = self.waiting.get_mut(&place.shape) else { return };
        turns.remove(&place.turn);
        if self.heads.remove(&place) {
            self.heads.extend(turns.first().map(|turn| Place { turn: *turn, shape: place.shape }));
        }
        if turns.is_empty() {
            self.shapes.remove(shape);
            self.waiting.remove(&place.shape);
        }
    }

    /// Whether a job that the ledger holds waits here.
    pub(crate) fn contains(&self, ledger: &Ledger, job: JobId) -> bool {
        let place = self.place_of(ledger, job);
        place.is_some_and(|at| self.waiting.get(&at.shape).is_some_and(|(_, turns)| turns.contains(&at.turn)))
    }

    /// A place may have become free.
    pub(crate) fn wake(&mut self) {
        self.changed = true;
    }

    /// Begins a look from the front, or goes on with an unfinished one. `None`: nothing to look at.
    pub(crate) fn look(&mut self) -> Option<Option<Place>> {
        if let Some(after) = self.looking.take() {
            return Some(after);
        }
        let begin = self.changed && !self.heads.is_empty();
        self.changed = false;
        begin.then_some(None)
    }

    /// The look stops before its end: all up to `after` was seen.
    pub(crate) fn pause(&mut self, after: Option<Place>) {
        self.looking = Some(after);
    }

    /// The place of the first job of the next shape.
    pub(crate) fn next(&self, after: Option<Place>) -> Option<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.heads.range((from, Bound::Unbounded)).next().copied()
    }

    /// Who stands at a place.
    pub(crate) fn job_at(&self, ledger: &Ledger, place: Place) -> Option<JobId> {
        let order = place.turn.order;
        self.arrived.get(&order).copied().or_else(|| ledger.accepted_as(order))
    }

    fn put(&mut self, place: Place) {
        let Some((_, turns)) = self.waiting.get_mut(&place.shape) else { return };
        let before = turns.first().copied();
        turns.insert(place.turn);
        if before.is_none_or(|head| place.turn < head) {
            self.heads.insert(place);
            before.map(|turn| self.heads.remove(&Place { turn, shape: place.shape }));
        }
    }

    /// Where a job that the ledger holds stands if it is here: nothing of it changes while it waits.
    fn place_of(&self, ledger: &Ledger, job: JobId) -> Option<Place> {
        let (spec, turn) = turn_of(ledger, job)?;
        let shape = *self.shapes.get(&Shape::of(spec))?;
        Some(Place { turn, shape })
    }

    fn shape_of(&mut self, spec: &JobSpec) -> u64 {
        let shape = Shape::of(spec);
        if let Some(number) = self.shapes.get(&shape) {
            return *number;
        }
        self.next_shape += 1;
        self.waiting.insert(self.next_shape, (shape.clone(), BTreeSet::new()));
        self.shapes.insert(shape, self.next_shape);
        self.next_shape
    }
}

fn turn_of(ledger: &Ledger, job: JobId) -> Option<(&JobSpec, Turn)> {
    let spec = ledger.terms(job)?;
    let turn = Turn::of(spec, ledger.accepted_clock_ms(job)?, ledger.order_of(job)?);
    Some((spec, turn))
}
