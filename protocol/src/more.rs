//! What a job asks beyond the fields of the first version: the one place where a [`crate::JobSpec`] may grow.
//!
//! A job is in the log, in snapshots, in the archive and on the broker link, in postcard form, where a field more makes all
//! that is written already unreadable. Its last field was `Option<JobId>`, a byte 0 or 1 in front; so 2 was free for a list of
//! wishes, to which new ones are added at the end ([ADR 11](../../docs/adr/0011-a-job-spec-that-grows.md)). Who asks for
//! none is written as before, byte for byte.
//!
//! ```text
//!   0                 nothing more
//!   1 id              repeats a job by hand, and nothing more
//!   2 n wish…         anything else; an older program refuses it, as it must: it would run the job otherwise than asked
//! ```
//! With each new wish: raise `SNAPSHOT_VERSION` of the ledger, the archive's form and the link's version, so that an older
//! program says what it met, and add a fixture.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::JobId;
use crate::job::Reason;
use crate::recodex::Evaluation;

/// What a job asks beyond the fields of the first version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Form")]
pub struct More {
    /// The job this one repeats by hand.
    pub retry_of: Option<JobId>,
    /// Longest time a program may print nothing; none: no limit.
    pub quiet_limit_ms: Option<u64>,
    /// Countable things of a node it holds while it runs, in thousandths of one.
    pub resources: BTreeMap<String, u64>,
    /// What it shares a bound with.
    pub limits: Option<Share>,
    /// After which failures it is tried again; none: the usual ones ([`RetryRule::usual`]).
    pub retry: Option<RetryRule>,
    /// Never a second attempt, whatever became of the first.
    pub at_most_once: bool,
    /// Files laid into its folder before it starts.
    pub files: BTreeMap<String, Bytes>,
    /// Files of its folder that belong to its result.
    pub outputs: Vec<String>,
    /// It is an evaluation that a front end of ReCodEx asked for.
    pub recodex: Option<Box<Evaluation>>,
}

impl More {
    /// Bytes of what has no bound of its own in size, with a little for each item.
    pub(crate) fn weight_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|(name, bytes)| name.len() + bytes.len() + 64).sum();
        let outputs: usize = self.outputs.iter().map(|name| name.len() + 24).sum();
        let resources: usize = self.resources.keys().map(|name| name.len() + 32).sum();
        let key = self.limits.as_ref().map_or(0, |share| share.key.len() + 48);
        let rule = self.retry.as_ref().map_or(0, |rule| rule.on.len() + rule.not_exit_codes.len() * 4 + 48);
        let recodex = self.recodex.as_ref().map_or(0, |asked| asked.weight_bytes());
        files + outputs + resources + key + rule + recodex
    }
}

/// Bounds that a job shares with all jobs of one key, in the whole cluster and whoever sent them. Each job brings its own:
/// it starts only while fewer than `concurrency` jobs of its key run, and while fewer than `rate` of those that name the
/// same period have started in the last such period (a sliding one). So jobs that name other bounds under one key are each
/// held to their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    /// What they have in common.
    pub key: String,
    /// At most so many of them run at once.
    pub concurrency: Option<u32>,
    /// At most so many attempts of them start in any so many milliseconds: one of [`crate::limits::RATE_PERIODS_MS`].
    pub rate: Option<(u32, u64)>,
}

/// After which failures a job is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRule {
    /// For these reasons.
    pub on: Vec<Reason>,
    /// But never after one of these exit codes.
    pub not_exit_codes: Vec<i32>,
}

impl RetryRule {
    /// What a job may be tried again after. (Lost workers are counted apart.)
    pub const REASONS: [Reason; 5] =
        [Reason::Exit, Reason::Signal, Reason::Timeout, Reason::Quiet, Reason::Memory];

    /// The rule of a job that names none.
    #[must_use]
    pub fn usual() -> Self {
        Self { on: vec![Reason::Exit, Reason::Timeout], not_exit_codes: Vec::new() }
    }

    /// Whether there is another try after such a failure.
    #[must_use]
    pub fn covers(&self, reason: Reason, exit_code: Option<i32>) -> bool {
        let excepted = exit_code.is_some_and(|code| self.not_exit_codes.contains(&code));
        self.on.contains(&reason) && !(reason == Reason::Exit && excepted)
    }
}

/// How it is written. The order of variants is the form.
#[derive(Serialize, Deserialize)]
enum Form {
    Nothing,
    RetryOf(JobId),
    Wishes(Vec<Wish>),
}

/// One of the wishes; at most one of each kind. New ones come last.
#[derive(Serialize, Deserialize)]
enum Wish {
    RetryOf(JobId),
    QuietLimit(u64),
    Resources(BTreeMap<String, u64>),
    Limits(Share),
    Retry(RetryRule),
    AtMostOnce,
    Files(BTreeMap<String, Bytes>),
    Outputs(Vec<String>),
    Recodex(Box<Evaluation>),
}

impl Serialize for More {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By name, so that a new field cannot be forgotten here.
        let More {
            retry_of,
            quiet_limit_ms,
            resources,
            limits,
            retry,
            at_most_once,
            files,
            outputs,
            recodex,
        } = self;
        let grown = [
            quiet_limit_ms.map(Wish::QuietLimit),
            (!resources.is_empty()).then(|| Wish::Resources(resources.clone())),
            limits.clone().map(Wish::Limits),
            retry.clone().map(Wish::Retry),
            at_most_once.then_some(Wish::AtMostOnce),
            (!files.is_empty()).then(|| Wish::Files(files.clone())),
            (!outputs.is_empty()).then(|| Wish::Outputs(outputs.clone())),
            recodex.clone().map(Wish::Recodex),
        ];
        if grown.iter().all(Option::is_none) {
            // As an option, not as the variant of the same bytes: the ledger's digest tells one from the other, and
            // must stay what it was for the entries that are in logs.
            return retry_of.serialize(serializer);
        }
        let wishes = retry_of.map(Wish::RetryOf).into_iter().chain(grown.into_iter().flatten()).collect();
        Form::Wishes(wishes).serialize(serializer)
    }
}

impl From<Form> for More {
    fn from(form: Form) -> Self {
        match form {
            Form::Nothing => Self::default(),
            Form::RetryOf(id) => Self { retry_of: Some(id), ..Self::default() },
            Form::Wishes(wishes) => wishes.into_iter().fold(Self::default(), |more, wish| match wish {
                Wish::RetryOf(id) => Self { retry_of: Some(id), ..more },
                Wish::QuietLimit(ms) => Self { quiet_limit_ms: Some(ms), ..more },
                Wish::Resources(resources) => Self { resources, ..more },
                Wish::Limits(share) => Self { limits: Some(share), ..more },
                Wish::Retry(rule) => Self { retry: Some(rule), ..more },
                Wish::AtMostOnce => Self { at_most_once: true, ..more },
                Wish::Files(files) => Self { files, ..more },
                Wish::Outputs(outputs) => Self { outputs, ..more },
                Wish::Recodex(asked) => Self { recodex: Some(asked), ..more },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native;
    use alloc::string::ToString;

    /// Everything a job may ask.
    fn all(retry_of: Option<JobId>) -> More {
        More {
            retry_of,
            quiet_limit_ms: Some(300),
            resources: BTreeMap::from([("gpu".to_string(), 500)]),
            limits: Some(Share { key: "shop".to_string(), concurrency: Some(2), rate: Some((5, 60_000)) }),
            retry: Some(RetryRule { on: vec![Reason::Exit], not_exit_codes: vec![3] }),
            at_most_once: true,
            files: BTreeMap::from([("in.txt".to_string(), Bytes::from_static(b"1"))]),
            outputs: vec!["out.txt".to_string()],
            recodex: Some(Box::new(Evaluation {
                id: "j1".to_string(),
                headers: vec![("env".to_string(), "c".to_string())],
                frames: vec![3, 4],
                notify: true,
            })),
        }
    }

    #[test]
    fn who_asks_for_nothing_new_is_written_as_the_first_version_did() {
        for retry_of in [None, Some(JobId(7))] {
            let more = More { retry_of, ..More::default() };
            assert_eq!(native::encode(&more), native::encode(&retry_of));
            assert_eq!(native::decode(&native::encode(&retry_of)), Ok(more));
        }
    }

    #[test]
    fn every_wish_reads_back_and_the_first_version_refuses_it() {
        for retry_of in [None, Some(JobId(7))] {
            let more = all(retry_of);
            let bytes = native::encode(&more);
            assert_eq!(native::decode(&bytes), Ok(more));
            assert!(native::decode::<Option<JobId>>(&bytes).is_err());
        }
    }

    #[test]
    fn a_rule_names_reasons_and_excepts_exit_codes() {
        let usual = RetryRule::usual();
        assert!(usual.covers(Reason::Exit, Some(7)) && usual.covers(Reason::Timeout, None));
        assert!(!usual.covers(Reason::Signal, None) && !usual.covers(Reason::Memory, None));
        let rule = RetryRule { on: vec![Reason::Exit, Reason::Memory], not_exit_codes: vec![3] };
        assert!(!rule.covers(Reason::Exit, Some(3)) && rule.covers(Reason::Exit, Some(4)));
        // A program that could not be started has no code.
        assert!(rule.covers(Reason::Exit, None) && rule.covers(Reason::Memory, Some(3)));
    }

    #[test]
    fn a_wish_of_a_newer_version_is_refused() {
        assert_eq!(native::encode(&More { quiet_limit_ms: Some(5), ..More::default() }), [2, 1, 1, 5]);
        assert!(native::decode::<More>(&[2, 1, 99, 5]).is_err());
        assert!(native::decode::<More>(&[3]).is_err());
    }
}
