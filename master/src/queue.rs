//! Who waits for a worker, and who is next.
//!
//! **Order.** A job goes as though it had been accepted [`AGEING_MS`] earlier for each level of its priority. So among
//! equals the older is first, a waiting job gains one level in 30 s over newcomers, and none is overtaken by a job that
//! was accepted more than 270 s after it. Nothing has to be recomputed as time goes by.
//!
//! **Shapes.** Jobs that ask for the same (class, headers, processor, memory) are one shape: where its first job finds
//! no place, none of the others will. So one turn looks at shapes, not at jobs, and at most at a bounded number of them;
//! it goes on where it stopped in the next turn.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::ops::Bound;

use crate::limits::AGEING_MS;
use protocol::{JobId, JobSpec};

/// What decides where a job may run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    class: String,
    requires: BTreeMap<String, String>,
    cpu_milli: u32,
    memory_bytes: u64,
}

/// A job's place: when it is due, its order among those due then, and its shape. The lowest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    due_ms: u64,
    order: u64,
    shape: u64,
}

/// The waiting jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    shapes: BTreeMap<Shape, u64>,
    waiting: BTreeMap<u64, (Shape, BTreeMap<Place, JobId>)>,
    /// The first place of every shape.
    heads: BTreeSet<Place>,
    places: BTreeMap<JobId, Place>,
    next_shape: u64,
    /// Something came or became free since the last look from the front.
    changed: bool,
    /// A look that has not come to the end: everything up to here was looked at.
    looking: Option<Option<Place>>,
}

impl Queue {
    /// Adds a job, or moves it to its right place. `accepted_ms` is cluster time, `order` breaks ties.
    pub(crate) fn insert(&mut self, job: JobId, spec: &JobSpec, accepted_ms: u64, order: u64) {
        self.remove(job);
        let shape = self.shape_of(spec);
        let levels = 9 - u64::from(spec.priority.min(9));
        let place = Place { due_ms: accepted_ms.saturating_add(levels * AGEING_MS), order, shape };
        self.places.insert(job, place);
        if let Some((_, jobs)) = self.waiting.get_mut(&shape) {
            let before = jobs.keys().next().copied();
            jobs.insert(place, job);
            if before.is_none_or(|head| place < head) {
                self.heads.extend(Some(place));
                before.map(|head| self.heads.remove(&head));
            }
        }
        self.changed = true;
    }

    pub(crate) fn remove(&mut self, job: JobId) {
        let Some(place) = self.places.remove(&job) else { return };
        let Some((shape, jobs)) = self.waiting.get_mut(&place.shape) else { return };
        jobs.remove(&place);
        if self.heads.remove(&place) {
            self.heads.extend(jobs.keys().next());
        }
        if jobs.is_empty() {
            self.shapes.remove(shape);
            self.waiting.remove(&place.shape);
        }
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.places.contains_key(&job)
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

    /// The first job of the next shape.
    pub(crate) fn next(&self, after: Option<Place>) -> Option<(Place, JobId)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let head = self.heads.range((from, Bound::Unbounded)).next()?;
        let (_, jobs) = self.waiting.get(&head.shape)?;
        jobs.get(head).map(|job| (*head, *job))
    }

    fn shape_of(&mut self, spec: &JobSpec) -> u64 {
        let shape = Shape {
            class: spec.class.clone(),
            requires: spec.requires.clone(),
            cpu_milli: spec.cpu_milli,
            memory_bytes: spec.memory_bytes,
        };
        if let Some(number) = self.shapes.get(&shape) {
            return *number;
        }
        self.next_shape += 1;
        self.waiting.insert(self.next_shape, (shape.clone(), BTreeMap::new()));
        self.shapes.insert(shape, self.next_shape);
        self.next_shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use protocol::submit;

    fn spec(class: &str, priority: u8) -> JobSpec {
        JobSpec { priority, ..submit::defaults(class) }
    }

    fn drained(queue: &mut Queue) -> Vec<u128> {
        let mut order = Vec::new();
        while let Some((_, job)) = queue.next(None) {
            queue.remove(job);
            order.push(job.0);
        }
        order
    }

    #[test]
    fn priority_comes_first_then_age_and_waiting_raises_by_one_level_in_30_s() {
        let mut queue = Queue::default();
        queue.insert(JobId(1), &spec("a", 4), 0, 1);
        queue.insert(JobId(2), &spec("b", 9), 1_000, 2);
        queue.insert(JobId(3), &spec("a", 4), 0, 3);
        queue.insert(JobId(4), &spec("b", 5), 29_000, 4);
        queue.insert(JobId(5), &spec("b", 5), 31_000, 5);
        queue.insert(JobId(6), &spec("a", 0), 0, 6);
        queue.insert(JobId(7), &spec("a", 9), 271_000, 7);
        assert_eq!(drained(&mut queue), [2, 4, 1, 3, 5, 6, 7]);
        assert!(queue.heads.is_empty() && queue.shapes.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn a_look_sees_one_job_of_each_shape() {
        let mut queue = Queue::default();
        for n in 0..1_000_u64 {
            queue.insert(JobId(n.into()), &spec(if n % 2 == 0 { "even" } else { "odd" }, 4), 0, n);
        }
        let (first, job) = queue.next(None).unwrap();
        let (second, other) = queue.next(Some(first)).unwrap();
        assert_eq!((job, other, queue.next(Some(second))), (JobId(0), JobId(1), None));
    }

    #[test]
    fn a_paused_look_goes_on_where_it_stopped_and_then_begins_anew_if_something_came() {
        let mut queue = Queue::default();
        queue.insert(JobId(1), &spec("a", 4), 0, 1);
        assert_eq!(queue.look(), Some(None));
        let (place, _) = queue.next(None).unwrap();
        queue.pause(Some(place));
        queue.insert(JobId(2), &spec("b", 4), 0, 0);
        assert_eq!(queue.look(), Some(Some(place)));
        assert_eq!(queue.look(), Some(None));
        assert_eq!(queue.look(), None);
    }
}
