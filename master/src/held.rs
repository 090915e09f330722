//! A job as the ledger keeps it. A million may wait, so one that nothing has happened to yet is kept without what it
//! shares with others or does not have yet: about a hundred bytes and its payload. The first change makes it whole.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use protocol::{Job, JobId, JobSpec, JobState, Rev};

use crate::ledger::bytes_of;
use crate::limits::{SHORT_BYTES, TERMS_SHARED};

/// A job with what only the ledger needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    form: Form,
    pub(crate) key: Option<Arc<str>>,
    /// Cluster time at which it was accepted.
    pub(crate) accepted_ms: u64,
}

#[derive(Clone, Debug)]
enum Form {
    Fresh(Fresh),
    Whole(Arc<Job>),
}

/// A job in the queue that was never changed since it was accepted.
#[derive(Clone, Debug)]
struct Fresh {
    /// All that it asks for but the payload: shared with jobs that ask for the same.
    terms: Arc<JobSpec>,
    payload: Payload,
    order: u64,
    submitted_wall_ms: u64,
    rev: Rev,
}

/// Shared bytes cost a third of a short payload beside it, for counting who shares them. A long one is in a box: without it
/// all short ones would have room for what it takes here.
#[derive(Clone, Debug)]
enum Payload {
    Short(Box<[u8]>),
    Long(Box<Bytes>),
}

impl Payload {
    fn of(bytes: &Bytes) -> Self {
        if bytes.len() <= SHORT_BYTES {
            Self::Short(bytes[..].into())
        } else {
            Self::Long(Box::new(bytes.clone()))
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Self::Short(bytes) => Bytes::copy_from_slice(bytes),
            Self::Long(bytes) => (**bytes).clone(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Long(bytes) => bytes.len(),
        }
    }
}

impl Fresh {
    fn whole(&self, id: JobId) -> Job {
        let spec = JobSpec { payload: self.payload.bytes(), ..(*self.terms).clone() };
        Job {
            id,
            spec: Arc::new(spec),
            order: self.order,
            state: JobState::Queued,
            reason: None,
            not_before_ms: None,
            not_before_wall_ms: None,
            submitted_wall_ms: self.submitted_wall_ms,
            started_wall_ms: None,
            finished_wall_ms: None,
            attempts: Vec::new(),
            failures: 0,
            lost: 0,
            result: None,
            ending: None,
            rev: self.rev,
        }
    }
}

impl Held {
    /// A job that was accepted just now, and waits.
    pub(crate) fn fresh(
        (spec, terms): (&JobSpec, &mut Terms),
        order: u64,
        submitted_wall_ms: u64,
        rev: Rev,
        (key, accepted_ms): (Option<Arc<str>>, u64),
    ) -> Self {
        let terms = terms.of(spec);
        let fresh = Fresh { terms, payload: Payload::of(&spec.payload), order, submitted_wall_ms, rev };
        Self { form: Form::Fresh(fresh), key, accepted_ms }
    }

    /// A job as a snapshot has it.
    pub(crate) fn take_back(
        job: Arc<Job>,
        terms: &mut Terms,
        key: Option<Arc<str>>,
        accepted_ms: u64,
    ) -> Self {
        if job.state == JobState::Queued && job.attempts.is_empty() {
            let time = (key.clone(), accepted_ms);
            let fresh = Self::fresh((&job.spec, terms), job.order, job.submitted_wall_ms, job.rev, time);
            if *fresh.job(job.id) == *job {
                return fresh;
            }
        }
        Self { form: Form::Whole(job), key, accepted_ms }
    }

    /// The job; `id` is its own.
    pub(crate) fn job(&self, id: JobId) -> Arc<Job> {
        match &self.form {
            Form::Fresh(fresh) => Arc::new(fresh.whole(id)),
            Form::Whole(job) => Arc::clone(job),
        }
    }

    /// The job if anything has happened to it since it was accepted.
    pub(crate) fn changed(&self) -> Option<&Arc<Job>> {
        match &self.form {
            Form::Fresh(_) => None,
            Form::Whole(job) => Some(job),
        }
    }

    /// The job for changing.
    pub(crate) fn job_mut(&mut self, id: JobId) -> &mut Arc<Job> {
        if let Form::Fresh(fresh) = &self.form {
            self.form = Form::Whole(Arc::new(fresh.whole(id)));
        }
        match &mut self.form {
            Form::Whole(job) => job,
            Form::Fresh(_) => unreachable!("it was made whole above"),
        }
    }

    pub(crate) fn state(&self) -> JobState {
        self.changed().map_or(JobState::Queued, |job| job.state)
    }

    pub(crate) fn order(&self) -> u64 {
        match &self.form {
            Form::Fresh(fresh) => fresh.order,
            Form::Whole(job) => job.order,
        }
    }

    /// What it asks for; the payload may be left out.
    pub(crate) fn terms(&self) -> &Arc<JobSpec> {
        match &self.form {
            Form::Fresh(fresh) => &fresh.terms,
            Form::Whole(job) => &job.spec,
        }
    }

    /// Copies the payload, so that it keeps nothing else that it was a part of.
    pub(crate) fn unshare(&mut self) {
        match &mut self.form {
            Form::Fresh(Fresh { payload: Payload::Long(bytes), .. }) => {
                **bytes = Bytes::copy_from_slice(bytes)
            }
            Form::Fresh(_) => {}
            Form::Whole(job) => {
                let payload = Bytes::copy_from_slice(&job.spec.payload);
                Arc::make_mut(&mut Arc::make_mut(job).spec).payload = payload;
            }
        }
    }

    /// Bytes of the payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.form {
            Form::Fresh(fresh) => fresh.payload.len(),
            Form::Whole(job) => job.spec.payload.len(),
        }
    }

    /// What the limits of the queue count.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.form {
            Form::Fresh(fresh) => fresh.terms.weight_bytes() + fresh.payload.len() as u64,
            Form::Whole(job) => bytes_of(job),
        }
    }
}

/// What the newest jobs asked for beside their payload, so that the next ones that ask for the same can share it. Nobody can
/// see which ones do.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    slots: Arc<Vec<Option<Arc<JobSpec>>>>,
}

impl Terms {
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(vec![None; TERMS_SHARED]) }
    }

    fn of(&mut self, spec: &JobSpec) -> Arc<JobSpec> {
        let slot = slot_of(spec);
        if let Some(known) = self.slots[slot].as_ref().filter(|known| is_same(known, spec)) {
            return Arc::clone(known);
        }
        let terms = Arc::new(JobSpec { payload: Bytes::new(), ..spec.clone() });
        Arc::make_mut(&mut self.slots)[slot] = Some(Arc::clone(&terms));
        terms
    }
}

fn slot_of(spec: &JobSpec) -> usize {
    let bytes = spec.class.bytes().chain(spec.submitter.bytes()).chain([spec.priority]);
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash >> 24) as usize % TERMS_SHARED
}

/// Whether two jobs ask for the same, whatever their payloads.
fn is_same(one: &JobSpec, other: &JobSpec) -> bool {
    // By name, so that a new field cannot be forgotten here.
    let JobSpec {
        class,
        payload: _,
        args,
        env,
        stdin,
        requires,
        cpu_milli,
        memory_bytes,
        priority,
        submitter,
        timeout_ms,
        max_attempts,
        max_lost,
        retry_base_ms,
        retry_max_ms,
        labels,
        if_unsatisfiable,
        more,
    } = one;
    *class == other.class
        && *args == other.args
        && *env == other.env
        && *stdin == other.stdin
        && *requires == other.requires
        && (*cpu_milli, *memory_bytes, *priority) == (other.cpu_milli, other.memory_bytes, other.priority)
        && *submitter == other.submitter
        && (*timeout_ms, *max_attempts, *max_lost) == (other.timeout_ms, other.max_attempts, other.max_lost)
        && (*retry_base_ms, *retry_max_ms) == (other.retry_base_ms, other.retry_max_ms)
        && *labels == other.labels
        && *if_unsatisfiable == other.if_unsatisfiable
        && *more == other.more
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::submit;

    fn spec(class: &str, payload: &'static str) -> JobSpec {
        JobSpec { payload: Bytes::from_static(payload.as_bytes()), ..submit::defaults(class) }
    }

    fn held(spec: &JobSpec, terms: &mut Terms) -> Held {
        Held::fresh((spec, terms), 7, 11, Rev { epoch: 0, index: 3, n: 1 }, (None, 5))
    }

    #[test]
    fn jobs_that_differ_in_their_payload_alone_share_the_rest_and_are_told_apart() {
        let mut terms = Terms::new();
        let [one, two] = [spec("echo", "one"), spec("echo", "two")].map(|spec| held(&spec, &mut terms));
        assert!(Arc::ptr_eq(one.terms(), two.terms()));
        assert_eq!(
            (&one.job(JobId(1)).spec.payload[..], &two.job(JobId(2)).spec.payload[..]),
            (&b"one"[..], &b"two"[..])
        );
        let more = protocol::More { quiet_limit_ms: Some(9), ..protocol::More::default() };
        let wishes = held(&JobSpec { more: more.clone(), ..spec("echo", "one") }, &mut terms);
        assert_eq!(
            (&wishes.job(JobId(3)).spec.more, &one.job(JobId(1)).spec.more),
            (&more, &Default::default())
        );
        let other = held(&JobSpec { max_attempts: 9, ..spec("echo", "one") }, &mut terms);
        assert_eq!((other.job(JobId(3)).spec.max_attempts, one.job(JobId(1)).spec.max_attempts), (9, 3));
    }

    #[test]
    fn a_job_comes_back_as_it_was_and_weighs_the_same_in_both_forms() {
        let mut terms = Terms::new();
        let asked = spec("echo", "payload");
        let mut fresh = held(&asked, &mut terms);
        let (job, bytes) = (fresh.job(JobId(1)), fresh.bytes());
        assert_eq!((&*job.spec, job.order, job.submitted_wall_ms), (&asked, 7, 11));
        assert!(
            fresh.changed().is_none()
                && Held::take_back(Arc::clone(&job), &mut terms, None, 5).changed().is_none()
        );
        Arc::make_mut(fresh.job_mut(JobId(1))).failures = 1;
        assert_eq!((fresh.changed().map(|job| job.failures), fresh.bytes()), (Some(1), bytes));
        // What is not as it was when it was accepted is kept whole.
        let failed = Held::take_back(fresh.job(JobId(1)), &mut terms, None, 5);
        assert_eq!(failed.changed().map(|job| job.failures), Some(1));
    }

    #[test]
    fn a_waiting_job_is_small() {
        let bytes = size_of::<(JobId, Held)>();
        assert!(bytes <= 96, "{bytes} bytes");
    }
}
