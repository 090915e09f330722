//! Who waits for a worker, and who is next.
//!
//! **Turns.** Submitters take turns at each priority, in rounds: in one round each that has a job to go gets one, its
//! oldest that finds a place; who waits longest goes first in it. Whoever comes anew goes in the next round. So while two
//! submitters have jobs to go at one priority, neither gets more than two jobs ahead of the other, however many it has; and
//! a job with `k` older ones of its submitter at its priority waits for at most `k + 2` rounds. The text "" (nobody was named) is one
//! submitter like any other.
//!
//! **Ageing.** Of the jobs whose turn it is at each priority, that one goes that would have been accepted first if each
//! level of priority were [`AGEING_MS`]. So a job whose turn it is gains one level in 30 s over newcomers, and is not
//! overtaken by a job of another priority that was accepted more than 270 s after it. Nobody starves: every round ends,
//! because whoever comes anew waits for the next one. Nothing has to be recomputed as time goes by. A new leader begins
//! with the first round.
//!
//! **Shapes.** Jobs that ask for the same (class, headers, processor, memory, resources, shared bounds) are one shape: where its first
//! job finds no place, none of the others will. So one turn looks at shapes, not at jobs, and at most at a bounded number of
//! them; it goes on where it stopped in the next turn. Jobs whose key is used up (`turnstile`) are held back: they are not
//! looked at until something of it becomes free.
//!
//! A million may wait here, so of a job that the ledger holds only its turn is kept: who it is the ledger says by its order.

mod level;
mod turns;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::limits::AGEING_MS;
use level::{Level, Seen};
use protocol::{JobId, JobSpec, Share};

/// Priorities a job may have: 0 to 9.
const LEVELS: usize = 10;

/// What decides where a job may run, and whether it may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    class: String,
    requires: BTreeMap<String, String>,
    cpu_milli: u32,
    memory_bytes: u64,
    /// It is not sent ahead of a free slot.
    at_most_once: bool,
    resources: BTreeMap<String, u64>,
    share: Option<Share>,
    /// What an evaluation asks of its worker, sorted.
    evaluation: Option<Vec<(String, String)>>,
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
            share: spec.more.limits.clone(),
            evaluation: spec.more.recodex.as_ref().map(|asked| {
                let mut headers = asked.headers.clone();
                headers.sort();
                headers
            }),
        }
    }

    /// Whether this is the shape of a job that is no evaluation.
    fn is_of(&self, spec: &JobSpec) -> bool {
        // By name, so that a new field cannot be forgotten here.
        let Self { class, requires, cpu_milli, memory_bytes, at_most_once, resources, share, evaluation } =
            self;
        (evaluation.is_none() && spec.more.recodex.is_none())
            && *class == spec.class
            && (*cpu_milli, *memory_bytes) == (spec.cpu_milli, spec.memory_bytes)
            && *at_most_once == spec.more.at_most_once
            && *requires == spec.requires
            && *resources == spec.more.resources
            && *share == spec.more.limits
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
        let levels = (LEVELS - 1 - level_of(spec)) as u64;
        Self { due_ms: accepted_ms.saturating_add(levels * AGEING_MS), order }
    }
}

fn level_of(spec: &JobSpec) -> usize {
    usize::from(spec.priority).min(LEVELS - 1)
}

/// Jobs of one priority, submitter and shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    level: usize,
    submitter: Arc<str>,
    shape: u64,
}

/// A job's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    line: Line,
    turn: Turn,
}

/// A job on its way into the ledger.
#[derive(Clone, Debug)]
struct Arrival {
    spec: Arc<JobSpec>,
    /// None: it is not in the queue, a place was found for it.
    place: Option<Place>,
}

/// A look at the first jobs of all shapes, from the front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// What this turn may still spend on it.
    steps: usize,
    /// Shapes whose first job found no place.
    passed: BTreeSet<u64>,
    seen: [Seen; LEVELS],
}

impl Look {
    /// Takes so many steps, or says that this turn has too few left.
    pub(crate) fn affords(&mut self, steps: usize) -> bool {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.is_some()
    }

    /// The job at this place finds none on any node, and so none of its shape does.
    pub(crate) fn pass(&mut self, place: &Place) {
        self.passed.insert(place.line.shape);
    }

    /// Steps taken so far of so many.
    #[cfg(test)]
    pub(crate) fn spent(&self, of: usize) -> usize {
        of - self.steps
    }

    fn has_passed(&self, shape: u64) -> bool {
        self.passed.contains(&shape)
    }
}

/// A shape with its lines in the queue.
#[derive(Clone, Debug)]
struct Known {
    shape: Arc<Shape>,
    lines: usize,
}

/// The waiting jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    shapes: BTreeMap<Arc<Shape>, u64>,
    known: BTreeMap<u64, Known>,
    levels: [Level; LEVELS],
    /// Lines that wait for something of their key.
    held_back: BTreeMap<Share, BTreeSet<Line>>,
    /// Jobs proposed and not applied yet.
    arriving: BTreeMap<JobId, Arrival>,
    /// Those of them that wait here, by their order.
    arrived: BTreeMap<u64, JobId>,
    arrivals: u64,
    next_shape: u64,
    /// Something came or became free since the last look from the front.
    changed: bool,
    /// A look that has not come to the end.
    looking: Option<Look>,
}

impl Queue {
    /// Adds a job that the ledger holds, or does nothing if it is here. It arrives no more.
    pub(crate) fn insert(&mut self, ledger: &Ledger, job: JobId) {
        let before = self.arriving.remove(&job).and_then(|arrival| arrival.place);
        let Some((spec, turn)) = turn_of(ledger, job) else {
            if let Some(place) = before {
                self.strike(&place);
            }
            return;
        };
        self.changed = true;
        match before {
            Some(place) if self.goes_on(&place, spec, turn) => {}
            Some(place) => {
                self.strike(&place);
                self.put(spec, turn);
            }
            None => drop(self.put(spec, turn)),
        }
    }

    /// A job that arrived gets its turn among those of the ledger, in the line where it stands. False: it stands elsewhere.
    fn goes_on(&mut self, Place { line, turn: before }: &Place, spec: &JobSpec, turn: Turn) -> bool {
        let fits = line.level == level_of(spec)
            && *line.submitter == *spec.submitter
            && self.known.get(&line.shape).is_some_and(|known| known.shape.is_of(spec));
        if fits && self.levels[line.level].reorder(&line.submitter, line.shape, *before, turn) {
            self.arrived.remove(&before.order);
            return true;
        }
        false
    }

    /// Adds a job whose `Submit` is proposed.
    pub(crate) fn arrive(&mut self, job: JobId, spec: &Arc<JobSpec>, now_ms: u64) {
        self.arrived(job);
        self.arrivals += 1;
        let order = ARRIVING + self.arrivals;
        let place = self.put(spec, Turn::of(spec, now_ms, order));
        self.arrived.insert(order, job);
        self.arriving.insert(job, Arrival { spec: Arc::clone(spec), place: Some(place) });
        self.changed = true;
    }

    /// A job arrives no more: it is decided.
    pub(crate) fn arrived(&mut self, job: JobId) {
        if let Some(place) = self.arriving.remove(&job).and_then(|arrival| arrival.place) {
            self.strike(&place);
        }
    }

    /// What a job asks for that arrives.
    pub(crate) fn arriving(&self, job: JobId) -> Option<&Arc<JobSpec>> {
        self.arriving.get(&job).map(|arrival| &arrival.spec)
    }

    /// Takes a job out, wherever it stands. One that arrives goes on arriving.
    pub(crate) fn remove(&mut self, ledger: &Ledger, job: JobId) {
        if let Some(place) = self.arriving.get_mut(&job).and_then(|arrival| arrival.place.take()) {
            self.strike(&place);
        }
        if let Some(place) = self.place_of(ledger, job) {
            self.strike(&place);
        }
    }

    /// Takes out who stands at a place and goes: its submitter has had its turn.
    pub(crate) fn take(&mut self, place: &Place) {
        self.take_out(place, true);
    }

    /// Takes out who stands at a place and does not go.
    pub(crate) fn strike(&mut self, place: &Place) {
        self.take_out(place, false);
    }

    fn take_out(&mut self, place: &Place, served: bool) {
        if let Some(job) = self.arrived.remove(&place.turn.order)
            && let Some(arrival) = self.arriving.get_mut(&job)
        {
            arrival.place = None;
        }
        let Line { level, submitter, shape } = &place.line;
        if self.levels[*level].remove(submitter, *shape, place.turn, served) {
            self.line_ended(&place.line);
        }
    }

    /// Whether a job that the ledger holds waits here.
    pub(crate) fn contains(&self, ledger: &Ledger, job: JobId) -> bool {
        let place = self.place_of(ledger, job);
        place.is_some_and(|Place { line, turn }| {
            self.levels[line.level].contains(&line.submitter, line.shape, turn)
        })
    }

    /// A place may have become free.
    pub(crate) fn wake(&mut self) {
        self.changed = true;
    }

    /// Begins a look from the front, or goes on with an unfinished one, with so many steps. `None`: nothing to look at.
    pub(crate) fn look(&mut self, steps: usize) -> Option<Look> {
        if let Some(look) = self.looking.take() {
            return Some(Look { steps, ..look });
        }
        let begin = self.changed && self.levels.iter().any(|level| !level.is_quiet());
        self.changed = false;
        begin.then(|| Look { steps, ..Look::default() })
    }

    /// The look stops before its end.
    pub(crate) fn pause(&mut self, look: Look) {
        self.looking = Some(look);
    }

    /// The place of the next job whose shape is not passed; also none when the steps are used up.
    pub(crate) fn next(&self, look: &mut Look) -> Option<Place> {
        let mut next: Option<Place> = None;
        for (level, jobs) in self.levels.iter().enumerate().filter(|(_, jobs)| !jobs.is_quiet()) {
            let mut seen = core::mem::take(&mut look.seen[level]);
            let first = jobs.first(&mut seen, look);
            look.seen[level] = seen;
            if let Some((turn, shape, submitter)) = first
                && next.as_ref().is_none_or(|next| turn < next.turn)
            {
                next = Some(Place { line: Line { level, submitter, shape }, turn });
            }
        }
        next.filter(|_| look.steps > 0)
    }

    /// Who stands at a place.
    pub(crate) fn job_at(&self, ledger: &Ledger, place: &Place) -> Option<JobId> {
        let order = place.turn.order;
        self.arrived.get(&order).copied().or_else(|| ledger.accepted_as(order))
    }

    /// The key of the job at this place is used up: it waits apart, with all of its submitter and shape.
    pub(crate) fn hold_back(&mut self, place: &Place) {
        let share = self.known.get(&place.line.shape).and_then(|known| known.shape.share.clone());
        if let Some(share) = share {
            let Line { level, submitter, shape } = &place.line;
            self.levels[*level].hold_back(submitter, *shape, true);
            self.held_back.entry(share).or_default().insert(place.line.clone());
        }
    }

    /// Bounds of this key that jobs are held back by.
    pub(crate) fn held_back_by(&self, key: &str) -> impl Iterator<Item = &Share> {
        let first = Share { key: key.into(), concurrency: None, rate: None };
        self.held_back.range(first..).map(|(share, _)| share).take_while(move |share| share.key == key)
    }

    /// Jobs held back by these bounds are looked at again.
    pub(crate) fn release(&mut self, share: &Share) {
        for Line { level, submitter, shape } in self.held_back.remove(share).unwrap_or_default() {
            self.levels[level].hold_back(&submitter, shape, false);
            self.changed = true;
        }
    }

    /// All jobs that are held back are looked at again.
    pub(crate) fn release_all(&mut self) {
        while let Some(share) = self.held_back.keys().next().cloned() {
            self.release(&share);
        }
    }

    fn put(&mut self, spec: &JobSpec, turn: Turn) -> Place {
        let (level, shape) = (level_of(spec), self.shape_of(spec));
        let (submitter, first) = self.levels[level].put(&spec.submitter, shape, turn);
        if first && let Some(known) = self.known.get_mut(&shape) {
            known.lines += 1;
        }
        Place { line: Line { level, submitter, shape }, turn }
    }

    /// The last job of a line is gone.
    fn line_ended(&mut self, line: &Line) {
        let Some(known) = self.known.get_mut(&line.shape) else { return };
        known.lines -= 1;
        if let Some(share) = &known.shape.share
            && let Some(lines) = self.held_back.get_mut(share)
        {
            lines.remove(line);
            if lines.is_empty() {
                self.held_back.remove(share);
            }
        }
        if known.lines == 0 {
            self.shapes.remove(&known.shape);
            self.known.remove(&line.shape);
        }
    }

    /// Where a job that the ledger holds stands if it is here: nothing of it changes while it waits.
    fn place_of(&self, ledger: &Ledger, job: JobId) -> Option<Place> {
        let (spec, turn) = turn_of(ledger, job)?;
        let shape = *self.shapes.get(&Shape::of(spec))?;
        let submitter = Arc::from(spec.submitter.as_str());
        Some(Place { line: Line { level: level_of(spec), submitter, shape }, turn })
    }

    /// The number of its shape, which has a line at least once this job is put.
    fn shape_of(&mut self, spec: &JobSpec) -> u64 {
        // Most ask for what the newest shape is: that is seen without making it up.
        if let Some((number, newest)) = self.known.last_key_value()
            && newest.shape.is_of(spec)
        {
            return *number;
        }
        let shape = Arc::new(Shape::of(spec));
        if let Some(number) = self.shapes.get(&shape) {
            return *number;
        }
        self.next_shape += 1;
        self.known.insert(self.next_shape, Known { shape: Arc::clone(&shape), lines: 0 });
        self.shapes.insert(shape, self.next_shape);
        self.next_shape
    }
}

fn turn_of(ledger: &Ledger, job: JobId) -> Option<(&JobSpec, Turn)> {
    let held = ledger.jobs.get(&job)?;
    let spec = held.terms();
    Some((spec, Turn::of(spec, held.accepted_ms, held.order())))
}
