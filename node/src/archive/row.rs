//! A job as bytes in two pieces: a head that lists are made of, and what is long. Written for ever: the first byte names
//! the form, and a form never changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Job, native};
use serde::{Deserialize, Serialize};

use super::limits::{EXCERPT_BYTES, SHOWN_OUTPUT_BYTES};

/// The form written now. 2: a job may ask for more ([`protocol::More`]); what asks for nothing more is as in form 1.
/// 3: a job may ask for still more. 4: it may be an evaluation.
const FORM: u8 = 4;
/// Bytes of a head that most stay below.
const USUAL_BYTES: usize = 512;
/// The oldest form read.
const FIRST_FORM: u8 = 1;

/// The head: the job, with what is long cut short.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    job: Cow<'a, Job>,
    payload_bytes: u64,
}

/// What was cut, whole.
#[derive(Serialize, Deserialize)]
struct Body {
    payload: Bytes,
    stdin: Option<Bytes>,
    output: Bytes,
    stderr: Bytes,
}

/// What was cut of a job with files, or whose result has some: the same, and these. The form is that of [`Body`] with more
/// behind it.
#[derive(Serialize, Deserialize)]
struct Files {
    given: BTreeMap<String, Bytes>,
    made: BTreeMap<String, Bytes>,
}

/// A job as lists show it: what is long may be cut short.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// The job.
    pub(crate) job: Arc<Job>,
    /// How long its payload is in truth.
    pub(crate) payload_bytes: u64,
}

impl From<Arc<Job>> for Listed {
    fn from(job: Arc<Job>) -> Self {
        let payload_bytes = job.spec.payload.len() as u64;
        Self { job, payload_bytes }
    }
}

/// A job as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) head: Vec<u8>,
    /// None: nothing was cut.
    pub(crate) body: Option<Vec<u8>>,
}

impl Row {
    pub(crate) fn of(job: &Job) -> Self {
        let files = files_of(job);
        let body = body_of(job, files.is_some());
        let job = if body.is_some() { Cow::Owned(cut(job)) } else { Cow::Borrowed(job) };
        let payload_bytes = body.as_ref().map_or(job.spec.payload.len(), |body| body.payload.len()) as u64;
        let head = written(&Head { job, payload_bytes }, USUAL_BYTES);
        let body = body.map(|body| {
            let Body { payload, stdin, output, stderr } = &body;
            let stdin_bytes = stdin.as_ref().map_or(0, Bytes::len);
            let bytes = payload.len() + stdin_bytes + output.len() + stderr.len() + USUAL_BYTES;
            match files {
                Some(files) => native::append(&files, written(&body, bytes)),
                None => written(&body, bytes),
            }
        });
        Self { head, body }
    }

    /// The whole job; none: the bytes are not what was written.
    pub(crate) fn read(head: &[u8], body: Option<&[u8]>) -> Option<Job> {
        let Head { job, .. } = read(head)?;
        let mut job = job.into_owned();
        if let Some(body) = body {
            let (Body { payload, stdin, output, stderr }, Files { given, made }) = read_body(body)?;
            let spec = Arc::make_mut(&mut job.spec);
            (spec.payload, spec.stdin, spec.more.files) = (payload, stdin, given);
            if let Some(result) = &mut job.result {
                let result = Arc::make_mut(result);
                (result.output, result.stderr, result.files) = (output, stderr, made);
            }
        }
        Some(job)
    }
}

/// The job as a list shows it; none: the bytes are not what was written.
pub(crate) fn listed(head: &[u8]) -> Option<Listed> {
    let Head { job, payload_bytes } = read(head)?;
    Some(Listed { job: Arc::new(job.into_owned()), payload_bytes })
}

/// What is long of a job, when something is.
fn body_of(job: &Job, has_files: bool) -> Option<Body> {
    let (spec, result) = (&job.spec, job.result.as_ref());
    let is_long = has_files
        || spec.payload.len() > EXCERPT_BYTES
        || spec.stdin.as_ref().is_some_and(|stdin| stdin.len() > EXCERPT_BYTES)
        || result.is_some_and(|result| result.output.len() > SHOWN_OUTPUT_BYTES)
        || result.is_some_and(|result| result.stderr.len() > EXCERPT_BYTES);
    is_long.then(|| Body {
        payload: spec.payload.clone(),
        stdin: spec.stdin.clone(),
        output: result.map(|result| result.output.clone()).unwrap_or_default(),
        stderr: result.map(|result| result.stderr.clone()).unwrap_or_default(),
    })
}

/// The files of a job and of its result, when there are some.
fn files_of(job: &Job) -> Option<Files> {
    let (given, made) = (&job.spec.more.files, job.result.as_ref().map(|result| &result.files));
    let has_some = !given.is_empty() || made.is_some_and(|made| !made.is_empty());
    has_some.then(|| Files { given: given.clone(), made: made.cloned().unwrap_or_default() })
}

fn cut(job: &Job) -> Job {
    let mut job = job.clone();
    let spec = Arc::make_mut(&mut job.spec);
    spec.more.files.clear();
    spec.payload.truncate(EXCERPT_BYTES);
    spec.stdin = None;
    if let Some(result) = &mut job.result {
        let result = Arc::make_mut(result);
        result.output.truncate(SHOWN_OUTPUT_BYTES);
        result.stderr.clear();
        result.files.clear();
    }
    job
}

/// The value behind its form, with room made for so many bytes.
fn written<T: Serialize>(value: &T, room_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room_bytes);
    bytes.push(FORM);
    native::append(value, bytes)
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let (form, rest) = bytes.split_first()?;
    (FIRST_FORM..=FORM).contains(form).then(|| native::decode(rest).ok())?
}

fn read_body(bytes: &[u8]) -> Option<(Body, Files)> {
    let (form, rest) = bytes.split_first()?;
    if !(FIRST_FORM..=FORM).contains(form) {
        return None;
    }
    let (body, rest) = postcard::take_from_bytes(rest).ok()?;
    let none = Files { given: BTreeMap::new(), made: BTreeMap::new() };
    Some((body, if rest.is_empty() { none } else { native::decode(rest).ok()? }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use protocol::{Ending, JobId, JobState, Outcome, Rev, submit};

    /// A job that ended well, small in all its parts.
    pub(crate) fn ended(order: u64, number: u64) -> Job {
        let rev = Rev { epoch: 0, index: number, n: 0 };
        Job {
            id: JobId(u128::from(order) << 64 | 7),
            spec: Arc::new(submit::raw("echo", Bytes::from_static(b"in")).unwrap()),
            order,
            state: JobState::Succeeded,
            reason: None,
            not_before_ms: None,
            not_before_wall_ms: None,
            submitted_wall_ms: 1_700_000_000_000,
            started_wall_ms: Some(1_700_000_000_001),
            finished_wall_ms: Some(1_700_000_000_002),
            attempts: Vec::new(),
            failures: 0,
            lost: 0,
            result: Some(Arc::new(Outcome::success(Bytes::from_static(b"out")))),
            ending: Some(Ending { number, rev, clock_ms: 5 }),
            rev,
        }
    }

    #[test]
    fn a_small_job_is_all_in_its_head() {
        let job = ended(3, 2);
        let row = Row::of(&job);
        assert_eq!((row.body.as_ref(), Row::read(&row.head, None)), (None, Some(job)));
    }

    #[test]
    fn what_is_long_is_cut_for_lists_and_whole_in_the_body() {
        let mut job = ended(3, 2);
        let spec = Arc::make_mut(&mut job.spec);
        spec.payload = Bytes::from(vec![b'p'; 50_000]);
        spec.stdin = Some(Bytes::from_static(b"stdin"));
        let mut outcome = Outcome::success(Bytes::from(vec![b'o'; 90_000]));
        outcome.stderr = Bytes::from_static(b"oh");
        job.result = Some(Arc::new(outcome));
        let row = Row::of(&job);
        assert!(row.head.len() < 8_000, "{} bytes", row.head.len());
        assert_eq!(Row::read(&row.head, row.body.as_deref()), Some(job));
        let listed = listed(&row.head).unwrap();
        let shown = listed.job.result.as_ref().map_or(0, |result| result.output.len());
        assert_eq!((listed.payload_bytes, shown), (50_000, SHOWN_OUTPUT_BYTES));
    }

    #[test]
    fn files_are_whole_in_the_body_and_not_in_lists() {
        let mut job = ended(3, 2);
        let files = |name: &str| BTreeMap::from([(name.to_owned(), Bytes::from(vec![b'f'; 60_000]))]);
        Arc::make_mut(&mut job.spec).more.files = files("in");
        let result = job.result.as_mut().unwrap();
        Arc::make_mut(result).files = files("out");
        let row = Row::of(&job);
        assert!(row.head.len() < 8_000, "{} bytes", row.head.len());
        assert_eq!(Row::read(&row.head, row.body.as_deref()), Some(job));
        let cut = row.body.as_ref().map(|body| &body[..body.len() - 1]);
        assert_eq!(Row::read(&row.head, cut), None);
    }

    #[test]
    fn a_row_written_by_the_first_version_reads_back() {
        let bytes = bytes_of(include_str!("row_1.hex"));
        assert_eq!(
            Row::read(&bytes, None),
            Some(ended(9, 4)),
            "rows are kept for years: give new ones a new form"
        );
        let now = Row::of(&ended(9, 4)).head;
        assert_eq!(
            (now[0], &now[1..]),
            (FORM, &bytes[1..]),
            "the form says that older programs need not try"
        );
        assert_eq!(Row::read(&bytes[..bytes.len() - 1], None), None);
        assert_eq!(Row::read(&[], None), None);
        assert_eq!(Row::read(&[&[FORM + 1], &bytes[1..]].concat(), None), None);
    }

    #[test]
    fn what_a_job_asks_beyond_the_first_version_is_in_its_row() {
        let mut job = ended(9, 4);
        let more = &mut Arc::make_mut(&mut job.spec).more;
        (more.retry_of, more.quiet_limit_ms) = (Some(JobId(1)), Some(60_000));
        let head = Row::of(&job).head;
        let second = bytes_of(include_str!("row_2.hex"));
        assert_eq!(Row::read(&second, None), Some(job.clone()));
        assert_eq!(
            (head[0], &head[1..]),
            (FORM, &second[1..]),
            "written the same but for the number of its form"
        );
        assert_eq!(Row::read(&head, None), Some(job));
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let hex = hex.trim();
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }
}
