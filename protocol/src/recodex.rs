//! A second foreign world: ReCodEx, whose front ends ask for evaluations and whose workers register with headers. An evaluation is
//! a job like any other, of the class [`CLASS`]; what only ReCodEx knows of it is one of its wishes ([`Evaluation`]).
//!
//! ```text
//!   eval, id, headers…, '', frames… ──▶ Evaluation + payload ──▶ JobSpec
//!   init, hwgroup, headers…, ''…    ──▶ Headers ──▶ a Pool of the node's offer (workers of the same headers)
//!   done, id, OK|FAILED|INTERNAL_ERROR ──▶ Outcome
//! ```
//! What concerns the whole cluster and is no job (frozen, a worker that comes back elsewhere, a call the front end is owed) is an
//! [`Order`]: it goes through the log like a submission and is answered like one.

pub mod wire;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::ids::{AttemptRef, Boot, JobId, NodeId};
use crate::job::{End, JobSpec, Outcome, Reason};
use crate::limits::RECODEX_MESSAGE_BYTES;
use crate::more::{More, RetryRule};
use crate::submit;

/// The class of every evaluation.
pub const CLASS: &str = "recodex";
/// The label that carries the front end's id of a job.
pub const LABEL: &str = "recodex";
/// The exit code that stands for `FAILED`: the job itself is at fault and is not tried again.
const BAD_JOB: i32 = 1;
/// In front of a pool's number where it stands in the place of a class: no class has a control character.
const POOL: char = '\u{1}';

/// What a worker can do: each header with its values. Its hardware group is the header `hwgroup`.
pub type Headers = BTreeMap<String, BTreeSet<String>>;

/// What a front end asked, beside the frames that are the job's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The front end's own id of the job.
    pub id: String,
    /// What a worker must have, as [`fits`] compares; a name may come more than once.
    pub headers: Vec<(String, String)>,
    /// Bytes of each frame for the worker. In the payload they stand one behind the other with a line break between.
    pub frames: Vec<u32>,
    /// Whether the front end is told how it ended.
    pub notify: bool,
}

impl Evaluation {
    /// The frames for the worker, out of the job's payload.
    #[must_use]
    pub fn frames_of(&self, payload: &Bytes) -> Vec<Bytes> {
        let mut from = 0_usize;
        let cut = self.frames.iter().map(|bytes| {
            let to = from.saturating_add(*bytes as usize).min(payload.len());
            let frame = payload.slice(from.min(to)..to);
            from = to + 1;
            frame
        });
        cut.collect()
    }

    /// Bytes it takes in memory and in the log, about.
    #[must_use]
    pub(crate) fn weight_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        self.id.len() + headers + self.frames.len() * 4 + 96
    }
}

/// The job that an evaluation is: given up after `max_failures` failures or lost workers, together.
#[must_use]
pub fn job(
    id: String,
    headers: Vec<(String, String)>,
    frames: &[Bytes],
    notify: bool,
    max_failures: u32,
) -> JobSpec {
    let mut payload = BytesMut::new();
    for (place, frame) in frames.iter().enumerate() {
        if place > 0 {
            payload.extend_from_slice(b"\n");
        }
        payload.extend_from_slice(frame);
    }
    // Fits: a frame is far under 4 GiB.
    let lengths = frames.iter().map(|frame| frame.len() as u32).collect();
    let labels = BTreeMap::from([(LABEL.to_string(), id.clone())]);
    let more = More {
        retry: Some(RetryRule { on: vec![Reason::Exit], not_exit_codes: vec![BAD_JOB] }),
        recodex: Some(Evaluation { id, headers, frames: lengths, notify }.into()),
        ..More::default()
    };
    JobSpec {
        payload: payload.freeze(),
        submitter: CLASS.to_string(),
        max_attempts: max_failures.max(1),
        max_lost: max_failures.max(1),
        retry_base_ms: 0,
        labels,
        more,
        ..submit::defaults(CLASS)
    }
}

/// What a worker's `done` means; none when its status is none of the three.
#[must_use]
pub fn outcome(status: &str, message: &str) -> Option<Outcome> {
    let failed = |exit_code| {
        let failure = Outcome::failure(Reason::Exit, message.to_string());
        Some(Outcome { exit_code, ..failure })
    };
    match status {
        "OK" => {
            let output = Bytes::copy_from_slice(message.as_bytes());
            Some(Outcome { exit_code: Some(0), ..Outcome::success(output) })
        }
        "FAILED" => failed(Some(BAD_JOB)),
        "INTERNAL_ERROR" => failed(None),
        _ => None,
    }
}

/// Whether this is the end of a job that was at fault itself, and is not tried again.
#[must_use]
pub fn is_bad_job(outcome: &Outcome) -> bool {
    outcome.end != End::Success && outcome.exit_code == Some(BAD_JOB)
}

/// Whether a worker with these headers may have a job that asks for those: every one of them must fit one value. Of `hwgroup` the
/// asked value may name several, `a|b`; of `threads` the worker must have at least as many; anything else must be equal.
#[must_use]
pub fn fits(asked: &[(String, String)], has: &Headers) -> bool {
    asked.iter().all(|(name, wanted)| {
        let Some(values) = has.get(name) else { return false };
        match name.as_str() {
            "hwgroup" => wanted.split('|').any(|one| values.contains(one)),
            "threads" => {
                let least = wanted.parse::<u64>();
                let enough = |value: &String| {
                    matches!((&least, value.parse::<u64>()), (Ok(least), Ok(value)) if value >= *least)
                };
                values.iter().any(enough)
            }
            _ => values.contains(wanted),
        }
    })
}

/// Workers of a node that have the same headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// How many, busy or not.
    pub workers: u32,
    /// What each of them can do.
    pub headers: Headers,
}

/// What stands in the place of a class where workers of a pool are counted.
#[must_use]
pub fn pool_class(number: u32) -> String {
    alloc::format!("{POOL}{number}")
}

/// The pool that such a text names.
#[must_use]
pub fn pool_number(class: &str) -> Option<u32> {
    class.strip_prefix(POOL)?.parse().ok()
}

/// Something of ReCodEx that concerns the whole cluster: through the log, and answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Take no evaluations, or take them again. Always done.
    Freeze {
        /// Whether none are taken.
        frozen: bool,
    },
    /// A worker that is at work has come to this node, from another one or from an earlier start of it. Expects the attempt to
    /// have no result yet. Where it had been given up and nothing came after it, it counts again.
    Adopt {
        /// What it works at.
        attempt: AttemptRef,
        /// The node it is attached to now.
        node: NodeId,
        /// The start of that node.
        boot: Boot,
    },
    /// A submission without an outcome shall never have one: the number it has at the same gateway is decided as refused; or,
    /// where it was taken already, the job is cancelled and its front end not told. Always done.
    Withdraw {
        /// Its number; 0: it is decided already.
        number: u64,
        /// The job it asked for.
        job: JobId,
    },
    /// The front end is owed word of an error of the backend.
    Notify {
        /// In words, at most [`RECODEX_MESSAGE_BYTES`].
        text: String,
    },
    /// A call reached the front end. Expects it to be owed.
    Delivered {
        /// Which call ([`Call::number`]).
        number: u64,
    },
}

/// A call that the front end is owed, until it is [`Order::Delivered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Counted by the ledger, from 1.
    pub number: u64,
    /// What is to be said.
    pub what: Said,
}

/// What a call says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// How a job ended.
    Status {
        /// The front end's id of it.
        id: String,
        /// Why it failed; none: it ended well.
        failed: Option<String>,
    },
    /// An error of the backend.
    Error {
        /// In words.
        message: String,
    },
}

/// Cuts a text for a front end to its bound, at a character.
#[must_use]
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(RECODEX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(headers: &[(&str, &str)]) -> Headers {
        let mut has = Headers::new();
        for (name, value) in headers {
            has.entry(name.to_string()).or_default().insert(value.to_string());
        }
        has
    }

    fn asked(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_header_must_fit_and_groups_and_threads_have_rules_of_their_own() {
        let worker = has(&[
            ("hwgroup", "group1"),
            ("env", "c"),
            ("env", "python3"),
            ("threads", "8"),
            ("plain", "plain"),
        ]);
        let table: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("hwgroup", "group2|group1"), ("env", "c"), ("threads", "4")], true),
            (&[("env", "c"), ("env", "python3")], true),
            (&[("env", "c"), ("env", "rust")], false),
            (&[("hwgroup", "group2|group3")], false),
            (&[("hwgroup", "group")], false),
            (&[("threads", "8")], true),
            (&[("threads", "9")], false),
            (&[("threads", "abc")], false),
            (&[("threads", "")], false),
            (&[("env", "c|rust")], false),
            (&[("memory", "1")], false),
            (&[("plain", "plain")], true),
        ];
        for (wanted, is_fit) in table {
            assert_eq!(fits(&asked(wanted), &worker), *is_fit, "{wanted:?}");
        }
        assert!(!fits(&asked(&[("threads", "1")]), &has(&[("threads", "many")])), "a worker with no number");
    }

    #[test]
    fn frames_come_back_out_of_the_payload_as_they_were() {
        let table: &[&[&[u8]]] =
            &[&[], &[b""], &[b"http://f/a.zip", b"http://f/r.zip"], &[b"two\nlines", b"", b"\n", b"end"]];
        for frames in table {
            let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::from_static(frame)).collect();
            let spec = job("j".to_string(), Vec::new(), &frames, true, 3);
            let asked = spec.more.recodex.as_ref().map(|asked| asked.frames_of(&spec.payload));
            assert_eq!(asked, Some(frames));
        }
    }

    #[test]
    fn an_ended_job_is_tried_again_after_an_internal_error_alone() {
        let rule = job("j".to_string(), Vec::new(), &[], true, 3).more.retry.expect("it has a rule");
        let [bad, internal] =
            ["FAILED", "INTERNAL_ERROR"].map(|status| outcome(status, "why").expect("known"));
        assert!(!rule.covers(Reason::Exit, bad.exit_code) && rule.covers(Reason::Exit, internal.exit_code));
        assert!(is_bad_job(&bad) && !is_bad_job(&internal));
        assert_eq!(outcome("OK", "").map(|good| good.end), Some(End::Success));
        assert_eq!(outcome("PERHAPS", ""), None);
    }

    #[test]
    fn a_pool_is_no_class_and_a_long_text_is_cut_at_a_character() {
        assert_eq!(pool_number(&pool_class(17)), Some(17));
        assert!(submit::raw(&pool_class(17), Bytes::new()).is_err(), "nobody submits to a pool");
        assert_eq!((pool_number("17"), pool_number("recodex")), (None, None));
        let long = "ü".repeat(RECODEX_MESSAGE_BYTES);
        assert!(cut(&long).len() <= RECODEX_MESSAGE_BYTES && long.starts_with(&cut(&long)));
        assert_eq!(cut("short"), "short");
    }
}
