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

use alloc::vec::Vec;
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::JobId;

/// What a job asks beyond the fields of the first version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Form")]
pub struct More {
    /// The job this one repeats by hand.
    pub retry_of: Option<JobId>,
    /// Longest time a program may print nothing; none: no limit.
    pub quiet_limit_ms: Option<u64>,
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
}

impl Serialize for More {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By name, so that a new field cannot be forgotten here.
        let More { retry_of, quiet_limit_ms } = self;
        let grown = [quiet_limit_ms.map(Wish::QuietLimit)];
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
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native;

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
            let more = More { retry_of, quiet_limit_ms: Some(300) };
            let bytes = native::encode(&more);
            assert_eq!(native::decode(&bytes), Ok(more));
            assert!(native::decode::<Option<JobId>>(&bytes).is_err());
        }
    }

    #[test]
    fn a_wish_of_a_newer_version_is_refused() {
        assert_eq!(native::encode(&More { quiet_limit_ms: Some(5), ..More::default() }), [2, 1, 1, 5]);
        assert!(native::decode::<More>(&[2, 1, 99, 5]).is_err());
        assert!(native::decode::<More>(&[3]).is_err());
    }
}
