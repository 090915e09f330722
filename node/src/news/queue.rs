//! What waits to be published: bounded in number and bytes. Whoever puts something in never waits; what finds no room is
//! dropped and counted.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::limits::{JOB_SUBSCRIPTIONS, QUEUE_BYTES, QUEUE_ITEMS};
use super::topics::JOB;

/// What an item costs beside its bytes, in the bound.
const OVERHEAD_BYTES: usize = 128;

/// Topic and body.
pub(crate) type Post = (String, Arc<str>);

/// There was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The way to the publisher's thread.
#[derive(Debug)]
pub(crate) struct Queue {
    inside: Mutex<Inside>,
    wake: EventFd,
    dropped: AtomicU64,
    /// Whether somebody listens to jobs; else nobody needs to write them down.
    jobs_wanted: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    posts: VecDeque<Post>,
    bytes: usize,
    closing: bool,
}

impl Queue {
    pub(crate) fn new() -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let (dropped, jobs_wanted) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { inside: Mutex::default(), wake, dropped, jobs_wanted })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that panics happens under this lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to do.
    pub(crate) fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// The thread has woken up; what is put in from now on wakes it again.
    pub(crate) fn awake(&self) {
        // An error means that it was not set.
        let _ = self.wake.read();
    }

    fn ring(&self) {
        // An error means that it is set 2^64 - 2 times already.
        let _ = self.wake.write(1);
    }

    /// Puts something in. Never waits.
    pub(crate) fn put(&self, topic: String, body: Arc<str>) -> Result<(), Full> {
        let bytes = topic.len() + body.len() + OVERHEAD_BYTES;
        let mut inside = self.inside();
        if inside.closing || inside.posts.len() >= QUEUE_ITEMS || inside.bytes + bytes > QUEUE_BYTES {
            drop(inside);
            self.count_dropped(1);
            return Err(Full);
        }
        let first = inside.posts.is_empty();
        inside.bytes += bytes;
        inside.posts.push_back((topic, body));
        drop(inside);
        // Whoever finds something waiting knows that the thread was woken for it.
        if first {
            self.ring();
        }
        Ok(())
    }

    /// Takes up to `most`, the oldest first.
    pub(crate) fn take(&self, most: usize) -> Vec<Post> {
        let mut inside = self.inside();
        let count = most.min(inside.posts.len());
        let taken: Vec<Post> = inside.posts.drain(..count).collect();
        let bytes: usize = taken.iter().map(|(topic, body)| topic.len() + body.len() + OVERHEAD_BYTES).sum();
        inside.bytes -= bytes;
        taken
    }

    /// Takes nothing more; what waits may still leave.
    pub(crate) fn close(&self) {
        self.inside().closing = true;
        self.ring();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.inside().closing
    }

    pub(crate) fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// How much found no room, or was too large.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn jobs_wanted(&self) -> bool {
        self.jobs_wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn want_jobs(&self, wanted: bool) {
        self.jobs_wanted.store(wanted, Ordering::Relaxed);
    }
}

/// Which subscriptions are for jobs. Each is told once when it comes and once when the last of its kind has gone.
#[derive(Debug, Default)]
pub(crate) struct JobSubscriptions {
    known: BTreeSet<Vec<u8>>,
    /// There were more than can be told apart.
    many: bool,
}

impl JobSubscriptions {
    /// Takes note of one that came or went.
    pub(crate) fn note(&mut self, prefix: &[u8], came: bool) {
        let job = JOB.as_bytes();
        if !prefix.starts_with(job) && !job.starts_with(prefix) {
            return;
        }
        if !came {
            self.known.remove(prefix);
        } else if self.known.len() < JOB_SUBSCRIPTIONS {
            self.known.insert(prefix.to_vec());
        } else {
            self.many = true;
        }
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.many || !self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_what_comes_and_counts_it() {
        let queue = Queue::new().unwrap();
        for k in 0..QUEUE_ITEMS {
            assert_eq!(queue.put(k.to_string(), "x".into()), Ok(()));
        }
        assert_eq!((queue.put("more".into(), "x".into()), queue.dropped()), (Err(Full), 1));
        assert_eq!(queue.take(2).iter().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(queue.put("fits".into(), "x".into()), Ok(()));
        queue.take(usize::MAX);
        let large: Arc<str> = "x".repeat(QUEUE_BYTES / 2).into();
        assert_eq!(queue.put(String::new(), Arc::clone(&large)), Ok(()));
        assert_eq!(queue.put(String::new(), large), Err(Full));
        queue.take(1);
        assert_eq!(queue.inside().bytes, 0);
        queue.close();
        assert_eq!(queue.put("late".into(), "x".into()), Err(Full));
    }

    #[test]
    fn jobs_are_wanted_while_any_subscription_covers_them() {
        let mut jobs = JobSubscriptions::default();
        jobs.note(b"info/", true);
        jobs.note(b"jobs", true);
        assert!(!jobs.any());
        for prefix in [&b""[..], b"jo", b"job/echo"] {
            jobs.note(prefix, true);
            assert!(jobs.any(), "{prefix:?}");
            jobs.note(prefix, false);
            assert!(!jobs.any(), "{prefix:?}");
        }
        for k in 0..=JOB_SUBSCRIPTIONS {
            jobs.note(format!("job/{k}").as_bytes(), true);
        }
        for k in 0..=JOB_SUBSCRIPTIONS {
            jobs.note(format!("job/{k}").as_bytes(), false);
        }
        assert!(jobs.any(), "too many to be told apart");
    }
}
