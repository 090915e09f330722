//! The frames of ReCodEx, both ways: separate parts of one message, plain text, no empty one in front. What is none of these is
//! named so, never fatal: one strange message costs nobody else anything.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;

use super::Headers;
use crate::limits::{HEADERS_BYTES, PAYLOAD_BYTES, RECODEX_HEADERS, RECODEX_ID_BYTES};

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerSays {
    /// It is there.
    Init {
        /// What it can do.
        headers: Headers,
        /// What people call it; may be empty.
        description: String,
        /// The job it is at work at, when it is.
        current_job: Option<String>,
    },
    /// It is still there.
    Ping,
    /// How far it is with a job.
    Progress {
        /// The job.
        id: String,
        /// What the monitor is told behind the id: a state, or `TASK`, a task and its state.
        states: Vec<Bytes>,
    },
    /// It is through with a job.
    Done {
        /// The job.
        id: String,
        /// `OK`, `FAILED` or `INTERNAL_ERROR`.
        status: String,
        /// Why.
        message: String,
    },
    /// Nothing that means anything. It shows that the worker is there.
    Nothing,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSays {
    /// A job.
    Eval(Eval),
    /// A job that cannot be read as one, and why. It was asked for all the same, so it is acknowledged as received.
    BadEval(BadEval),
    /// What the broker counted.
    Stats,
    /// Take no jobs, or take them again.
    Freeze(bool),
    /// Nothing that means anything.
    Nothing,
}

/// A job as a client sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eval {
    /// The client's id of it.
    pub id: String,
    /// What a worker must have; headers that begin with `meta.` are left out.
    pub headers: Vec<(String, String)>,
    /// What a worker is told behind the id.
    pub frames: Vec<Bytes>,
}

/// Why a job cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEval {
    /// No id, or no empty frame behind the headers. (The broker that this wire comes from ends or says nothing more.)
    #[error("an eval needs an id, and an empty frame behind its headers")]
    Incomplete,
    /// It breaks a bound.
    #[error("{0}")]
    TooMuch(String),
}

/// Reads a worker's message.
#[must_use]
pub fn worker_says(frames: &[Bytes]) -> WorkerSays {
    let Some((word, rest)) = frames.split_first() else { return WorkerSays::Nothing };
    match (&word[..], rest) {
        (b"init", [group, rest @ ..]) => init(group, rest),
        (b"ping", _) => WorkerSays::Ping,
        (b"progress", [id, states @ ..]) if !states.is_empty() => {
            WorkerSays::Progress { id: text(id), states: states.to_vec() }
        }
        (b"done", [id, status]) if &status[..] == b"OK" => done(id, status, b""),
        (b"done", [id, status, message]) => done(id, status, message),
        _ => WorkerSays::Nothing,
    }
}

fn done(id: &[u8], status: &[u8], message: &[u8]) -> WorkerSays {
    WorkerSays::Done { id: text(id), status: text(status), message: super::cut(&text(message)) }
}

fn init(group: &[u8], rest: &[Bytes]) -> WorkerSays {
    let mut headers = Headers::new();
    headers.entry("hwgroup".to_string()).or_default().insert(text(group));
    let mut more = rest.iter();
    let mut bytes = group.len();
    for frame in more.by_ref().take(RECODEX_HEADERS + 1).take_while(|frame| !frame.is_empty()) {
        let (name, value) = header(frame);
        bytes += frame.len();
        headers.entry(name).or_default().insert(value);
    }
    if bytes > HEADERS_BYTES || rest.len() > 2 * RECODEX_HEADERS {
        return WorkerSays::Nothing;
    }
    let (mut description, mut current_job) = (String::new(), None);
    for frame in more {
        let (name, value) = header(frame);
        match name.as_str() {
            "description" => description = super::cut(&value),
            "current_job" if value.len() <= RECODEX_ID_BYTES => current_job = Some(value),
            _ => {}
        }
    }
    WorkerSays::Init { headers, description, current_job }
}

/// Reads a client's message.
#[must_use]
pub fn client_says(frames: &[Bytes]) -> ClientSays {
    let Some((word, rest)) = frames.split_first() else { return ClientSays::Nothing };
    match &word[..] {
        b"eval" => eval(rest).map_or_else(ClientSays::BadEval, ClientSays::Eval),
        b"get-runtime-stats" => ClientSays::Stats,
        b"freeze" => ClientSays::Freeze(true),
        b"unfreeze" => ClientSays::Freeze(false),
        _ => ClientSays::Nothing,
    }
}

fn eval(rest: &[Bytes]) -> Result<Eval, BadEval> {
    let (id, rest) = rest.split_first().filter(|(id, _)| !id.is_empty()).ok_or(BadEval::Incomplete)?;
    let end = rest.iter().position(Bytes::is_empty).ok_or(BadEval::Incomplete)?;
    let (headers, frames) = (&rest[..end], &rest[end + 1..]);
    let header_bytes: usize = headers.iter().map(Bytes::len).sum();
    let payload_bytes: usize = frames.iter().map(|frame| frame.len() + 1).sum();
    let bounds = [
        ("the id", id.len(), RECODEX_ID_BYTES, "bytes"),
        ("the headers", headers.len(), RECODEX_HEADERS, "frames"),
        ("the headers", header_bytes, HEADERS_BYTES, "bytes"),
        ("the frames behind the empty one", payload_bytes, PAYLOAD_BYTES, "bytes"),
    ];
    if let Some((what, has, most, unit)) = bounds.into_iter().find(|(_, has, most, _)| has > most) {
        return Err(BadEval::TooMuch(alloc::format!("{what}: {has} {unit}, the limit is {most}")));
    }
    let wanted = headers.iter().map(|frame| header(frame)).filter(|(name, _)| !name.starts_with("meta."));
    Ok(Eval { id: text(id), headers: wanted.collect(), frames: frames.to_vec() })
}

/// `name=value`; without a `=` the whole of it is both.
fn header(frame: &[u8]) -> (String, String) {
    let text = text(frame);
    match text.split_once('=') {
        Some((name, value)) => (name.to_string(), value.to_string()),
        None => (text.clone(), text),
    }
}

/// No frame of this wire is anything but text; what is not UTF-8 is shown as what it cannot be read as.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a worker is given.
#[must_use]
pub fn eval_for(id: &str, frames: Vec<Bytes>) -> Vec<Bytes> {
    let head = [Bytes::from_static(b"eval"), Bytes::copy_from_slice(id.as_bytes())];
    head.into_iter().chain(frames).collect()
}

/// A message of one word.
#[must_use]
pub fn word(word: &'static str) -> Vec<Bytes> {
    alloc::vec![Bytes::from_static(word.as_bytes())]
}

/// `reject`, and why.
#[must_use]
pub fn reject(why: &str) -> Vec<Bytes> {
    alloc::vec![Bytes::from_static(b"reject"), Bytes::copy_from_slice(why.as_bytes())]
}

/// Why a job is rejected that no worker could have.
#[must_use]
pub fn no_worker(headers: &[(String, String)]) -> String {
    let mut headers: Vec<&(String, String)> = headers.iter().collect();
    headers.sort();
    let headers: String = headers.iter().map(|(name, value)| alloc::format!("{name}={value}; ")).collect();
    alloc::format!("No worker available for given headers: {headers}")
}

/// Why a job is rejected while none are taken.
pub const FROZEN: &str = "The broker is frozen.";

/// What a broker counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Jobs that ended well.
    pub evaluated: u64,
    /// Attempts that did not.
    pub failed: u64,
    /// Workers with nothing to do.
    pub idle: u64,
    /// Jobs a worker has.
    pub in_progress: u64,
    /// Jobs that wait.
    pub queued: u64,
    /// Workers.
    pub workers: u64,
    /// No jobs are taken.
    pub frozen: bool,
}

impl Stats {
    /// The answer to `get-runtime-stats`.
    #[must_use]
    pub fn frames(&self) -> Vec<Bytes> {
        let pairs = [
            ("evaluated-jobs", self.evaluated),
            ("failed-jobs", self.failed),
            ("idle-worker-count", self.idle),
            ("jobs-in-progress", self.in_progress),
            ("queued-jobs", self.queued),
            ("worker-count", self.workers),
            ("is-frozen", u64::from(self.frozen)),
        ];
        let frame = |(name, count): (&'static str, u64)| {
            [Bytes::from_static(name.as_bytes()), Bytes::from(count.to_string())]
        };
        pairs.into_iter().flat_map(frame).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn frames(parts: &[&'static str]) -> Vec<Bytes> {
        parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect()
    }

    #[test]
    fn a_registration_is_read_with_all_that_follows_the_empty_frame() {
        let said = worker_says(&frames(&[
            "init",
            "group1",
            "env=c",
            "env=python3",
            "threads=8",
            "",
            "description=w one",
            "current_job=j7",
        ]));
        let WorkerSays::Init { headers, description, current_job } = said else { panic!("{said:?}") };
        assert_eq!((description.as_str(), current_job.as_deref()), ("w one", Some("j7")));
        let values = |name: &str| headers[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((values("hwgroup"), values("env")), (vec!["group1"], vec!["c", "python3"]));
        let bare = worker_says(&frames(&["init", "g"]));
        assert!(matches!(bare, WorkerSays::Init { current_job: None, .. }), "{bare:?}");
    }

    #[test]
    fn what_kills_the_original_is_read_as_nothing_or_as_bad() {
        for said in
            [&["done", "j"][..], &["nonsense"], &[""], &["progress"], &["progress", "j"], &["init"], &[]]
        {
            assert_eq!(worker_says(&frames(said)), WorkerSays::Nothing, "{said:?}");
        }
        for said in [&["eval"][..], &["eval", "j"], &["eval", "j", "env=c"], &["eval", "", "", "a"]] {
            assert_eq!(client_says(&frames(said)), ClientSays::BadEval(BadEval::Incomplete), "{said:?}");
        }
        for said in [&["hello"][..], &[""], &[]] {
            assert_eq!(client_says(&frames(said)), ClientSays::Nothing, "{said:?}");
        }
        let strange = worker_says(&[
            Bytes::from_static(b"done"),
            Bytes::from_static(b"\xff\xfe"),
            Bytes::from_static(b"OK"),
        ]);
        assert!(matches!(strange, WorkerSays::Done { .. }));
    }

    #[test]
    fn an_eval_keeps_what_follows_its_empty_frame_and_leaves_metadata_out() {
        let said =
            client_says(&frames(&["eval", "j", "hwgroup=a|b", "meta.author=x", "plain", "", "u1", "", "u2"]));
        let headers = [("hwgroup", "a|b"), ("plain", "plain")];
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
        let wanted = Eval { id: "j".to_string(), headers, frames: frames(&["u1", "", "u2"]) };
        assert_eq!(said, ClientSays::Eval(wanted));
        let long: &'static str = "x".repeat(RECODEX_ID_BYTES + 1).leak();
        assert!(matches!(
            client_says(&frames(&["eval", long, ""])),
            ClientSays::BadEval(BadEval::TooMuch(_))
        ));
    }

    #[test]
    fn answers_are_written_as_the_front_end_reads_them() {
        let headers = [("hwgroup", "group1"), ("env", "c")];
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(no_worker(&headers), "No worker available for given headers: env=c; hwgroup=group1; ");
        let stats = Stats { evaluated: 1, failed: 4, idle: 1, frozen: true, workers: 1, ..Stats::default() };
        let wanted = [
            "evaluated-jobs",
            "1",
            "failed-jobs",
            "4",
            "idle-worker-count",
            "1",
            "jobs-in-progress",
            "0",
            "queued-jobs",
            "0",
            "worker-count",
            "1",
            "is-frozen",
            "1",
        ];
        assert_eq!(stats.frames(), frames(&wanted));
        assert_eq!(eval_for("j", frames(&["a", "r"])), frames(&["eval", "j", "a", "r"]));
    }
}
