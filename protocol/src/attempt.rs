//! What an attempt carries beyond the fields of the first version, and what can be read off it.
//!
//! An attempt is in snapshots and in rows of the archive, in postcard form. Its last field was `Option<u64>`, the peak of its
//! memory: a byte 0 or 1 in front, so that 2 was free for a list of notes, to which new ones are added at the end (as with
//! [`crate::More`], [ADR 11](../../docs/adr/0011-a-job-spec-that-grows.md)).
//!
//! ```text
//!   0            nothing more
//!   1 bytes      the peak of its memory, and nothing more
//!   2 n note…    anything else
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize, Serializer};

use crate::job::{Attempt, AttemptState};

/// What is known of an attempt beyond the fields of the first version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Form")]
pub struct AttemptMore {
    /// Its largest resident memory, where known.
    pub memory_peak_bytes: Option<u64>,
    /// Why it went where it went; none: an earlier version assigned it.
    pub why: Option<Chosen>,
}

/// Why an attempt went to its node: what the leader saw when it chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chosen {
    /// No other node could take it at that moment.
    Only,
    /// It was the least loaded.
    Least {
        /// Of so many nodes that could take it.
        of: u32,
        /// With this score, per mille of what it has, all kinds of load added.
        score: u64,
    },
    /// None was free. It was sent ahead to where attempts of its class end the soonest.
    Ahead {
        /// Of so many nodes that it could be sent ahead to.
        of: u32,
    },
    /// Its turn had come (policy `multi`).
    Turn {
        /// Of so many nodes that could take it.
        of: u32,
    },
}

impl Chosen {
    /// A word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Least { .. } => "least-loaded",
            Self::Ahead { .. } => "ahead",
            Self::Turn { .. } => "turn",
        }
    }

    /// A sentence for people, about the node.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Only => "the only node that could take it then".to_string(),
            Self::Least { of, score } => {
                format!("the least loaded of {of} nodes that could take it, score {score}")
            }
            Self::Ahead { .. } => "no slot was free: it was sent ahead of the next one here".to_string(),
            Self::Turn { of } => format!("its turn had come, among {of} nodes that could take it"),
        }
    }
}

/// Why what an attempt brought back was not taken as a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It failed after it had been given up, so it counts no more.
    LateFailure,
    /// Its job had ended by then.
    JobEnded,
    /// Its job had been cancelled by then.
    JobCancelled,
}

impl Refused {
    /// A word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::LateFailure => "late-failure",
            Self::JobEnded => "job-ended",
            Self::JobCancelled => "job-cancelled",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::LateFailure => "it failed after it had been given up, and counts no more",
            Self::JobEnded => "it came back after the job had ended",
            Self::JobCancelled => "it came back after the job had been cancelled",
        }
    }
}

impl Attempt {
    /// Why what it brought back was not taken; none: it was taken, or it brought nothing. (A worker repeats a result until it
    /// hears what became of it; however often it does, that is one result.)
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        match self.state {
            AttemptState::Lost => self.reason.map(|_| Refused::LateFailure),
            AttemptState::Superseded => self.finished_wall_ms.map(|_| Refused::JobEnded),
            AttemptState::Cancelled => self.finished_wall_ms.map(|_| Refused::JobCancelled),
            AttemptState::Running | AttemptState::Succeeded | AttemptState::Failed => None,
        }
    }
}

/// How it is written. The order of variants is the form.
#[derive(Serialize, Deserialize)]
enum Form {
    Nothing,
    MemoryPeak(u64),
    Notes(Vec<Note>),
}

/// One of the notes; at most one of each kind. New ones come last.
#[derive(Serialize, Deserialize)]
enum Note {
    MemoryPeak(u64),
    Why(Chosen),
}

impl Serialize for AttemptMore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By name, so that a new field cannot be forgotten here.
        let AttemptMore { memory_peak_bytes, why } = self;
        let grown = [why.map(Note::Why)];
        if grown.iter().all(Option::is_none) {
            return memory_peak_bytes.serialize(serializer);
        }
        let notes = memory_peak_bytes.map(Note::MemoryPeak).into_iter().chain(grown.into_iter().flatten());
        Form::Notes(notes.collect()).serialize(serializer)
    }
}

impl From<Form> for AttemptMore {
    fn from(form: Form) -> Self {
        match form {
            Form::Nothing => Self::default(),
            Form::MemoryPeak(bytes) => Self { memory_peak_bytes: Some(bytes), why: None },
            Form::Notes(notes) => notes.into_iter().fold(Self::default(), |more, note| match note {
                Note::MemoryPeak(bytes) => Self { memory_peak_bytes: Some(bytes), ..more },
                Note::Why(why) => Self { why: Some(why), ..more },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Boot, NodeId};
    use crate::job::Reason;
    use crate::native;

    #[test]
    fn an_attempt_without_notes_is_written_as_the_first_version_did() {
        for memory_peak_bytes in [None, Some(300)] {
            let more = AttemptMore { memory_peak_bytes, why: None };
            assert_eq!(native::encode(&more), native::encode(&memory_peak_bytes));
            assert_eq!(native::decode(&native::encode(&memory_peak_bytes)), Ok(more));
        }
    }

    #[test]
    fn every_note_reads_back_from_bytes_that_never_change() {
        let forms: [(AttemptMore, &[u8]); 3] = [
            (AttemptMore { memory_peak_bytes: None, why: Some(Chosen::Only) }, &[2, 1, 1, 0]),
            (
                AttemptMore { memory_peak_bytes: Some(5), why: Some(Chosen::Least { of: 3, score: 300 }) },
                &[2, 2, 0, 5, 1, 1, 3, 172, 2],
            ),
            (AttemptMore { memory_peak_bytes: None, why: Some(Chosen::Ahead { of: 2 }) }, &[2, 1, 1, 2, 2]),
        ];
        for (more, bytes) in forms {
            assert_eq!(native::encode(&more), bytes, "what is in rows is there for years");
            assert_eq!(native::decode(bytes), Ok(more));
            assert!(native::decode::<Option<u64>>(bytes).is_err(), "the first version refuses it");
        }
        assert!(native::decode::<AttemptMore>(&[2, 1, 99, 0]).is_err());
    }

    #[test]
    fn what_was_refused_is_read_off_an_attempt() {
        let attempt = |state, reason, finished_wall_ms| Attempt {
            number: 1,
            node: NodeId(1),
            boot: Boot(1),
            term: 1,
            state,
            reason,
            exit_code: None,
            signal: None,
            started_wall_ms: 1,
            finished_wall_ms,
            cpu_ms: None,
            more: AttemptMore::default(),
        };
        let (lost, cancelled) = (AttemptState::Lost, AttemptState::Cancelled);
        assert_eq!(attempt(lost, None, Some(2)).refused(), None);
        assert_eq!(attempt(lost, Some(Reason::Exit), Some(2)).refused(), Some(Refused::LateFailure));
        assert_eq!(attempt(cancelled, None, None).refused(), None);
        assert_eq!(attempt(cancelled, None, Some(2)).refused(), Some(Refused::JobCancelled));
        assert_eq!(attempt(AttemptState::Superseded, None, Some(2)).refused(), Some(Refused::JobEnded));
        assert_eq!(attempt(AttemptState::Failed, Some(Reason::Exit), Some(2)).refused(), None);
    }
}
