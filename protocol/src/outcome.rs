//! How an [`Outcome`] is written: in the log, in snapshots, in the archive and on the broker link.
//!
//! It grew as a job does ([`crate::more`]): the last field of the first version was an option, a byte 0 or 1 in front, so 2 was
//! free for a list of what came later. An outcome without any of that is written as before, byte for byte.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::job::{End, Outcome};

/// As it is read.
#[derive(Deserialize)]
struct Form {
    end: End,
    output: Bytes,
    output_bytes: u64,
    truncated: bool,
    stderr: Bytes,
    exit_code: Option<i32>,
    signal: Option<i32>,
    error: Option<String>,
    cpu_ms: Option<u64>,
    last: Last,
}

/// The last field. The order of variants is the form.
#[derive(Serialize, Deserialize)]
enum Last {
    Nothing,
    MemoryPeak(u64),
    Gains(Vec<Gain>),
}

/// One of what came later; at most one of each kind. New ones come last.
#[derive(Serialize, Deserialize)]
enum Gain {
    MemoryPeak(u64),
    Files(BTreeMap<String, Bytes>),
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By name, so that a new field cannot be forgotten here.
        let Self {
            end,
            output,
            output_bytes,
            truncated,
            stderr,
            exit_code,
            signal,
            error,
            cpu_ms,
            memory_peak_bytes,
            files,
        } = self;
        let mut form = serializer.serialize_struct("Outcome", 10)?;
        form.serialize_field("end", end)?;
        form.serialize_field("output", output)?;
        form.serialize_field("output_bytes", output_bytes)?;
        form.serialize_field("truncated", truncated)?;
        form.serialize_field("stderr", stderr)?;
        form.serialize_field("exit_code", exit_code)?;
        form.serialize_field("signal", signal)?;
        form.serialize_field("error", error)?;
        form.serialize_field("cpu_ms", cpu_ms)?;
        if files.is_empty() {
            // As an option, not as the variant of the same bytes: the ledger's digest tells one from the other.
            form.serialize_field("last", memory_peak_bytes)?;
        } else {
            let peak = memory_peak_bytes.map(Gain::MemoryPeak);
            let gains = peak.into_iter().chain([Gain::Files(files.clone())]).collect();
            form.serialize_field("last", &Last::Gains(gains))?;
        }
        form.end()
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Form { end, output, output_bytes, truncated, stderr, exit_code, signal, error, cpu_ms, last } =
            Form::deserialize(deserializer)?;
        let (memory_peak_bytes, files) = match last {
            Last::Nothing => (None, BTreeMap::new()),
            Last::MemoryPeak(peak) => (Some(peak), BTreeMap::new()),
            Last::Gains(gains) => {
                gains.into_iter().fold((None, BTreeMap::new()), |(peak, files), gain| match gain {
                    Gain::MemoryPeak(peak) => (Some(peak), files),
                    Gain::Files(files) => (peak, files),
                })
            }
        };
        Ok(Self {
            end,
            output,
            output_bytes,
            truncated,
            stderr,
            exit_code,
            signal,
            error,
            cpu_ms,
            memory_peak_bytes,
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Reason;
    use crate::native;
    use alloc::string::ToString;
    use alloc::vec;

    /// An outcome as the first version had it.
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct First(
        End,
        Bytes,
        u64,
        bool,
        Bytes,
        Option<i32>,
        Option<i32>,
        Option<String>,
        Option<u64>,
        Option<u64>,
    );

    fn outcome(memory_peak_bytes: Option<u64>) -> Outcome {
        Outcome {
            exit_code: Some(3),
            cpu_ms: Some(4),
            memory_peak_bytes,
            stderr: Bytes::from_static(b"oh"),
            ..Outcome::failure(Reason::Exit, "exit code 3".to_string())
        }
    }

    #[test]
    fn an_outcome_without_files_is_written_as_the_first_version_did() {
        for peak in [None, Some(1 << 20)] {
            let given = outcome(peak);
            let Outcome { end, output, stderr, error, .. } = given.clone();
            let first = First(end, output, 0, false, stderr, Some(3), None, error, Some(4), peak);
            assert_eq!(native::encode(&given), native::encode(&first));
            assert_eq!(native::decode(&native::encode(&first)), Ok(given));
        }
    }

    #[test]
    fn files_read_back_and_the_first_version_refuses_them() {
        for peak in [None, Some(7)] {
            let files = BTreeMap::from([("out.txt".to_string(), Bytes::from_static(b"1"))]);
            let given = Outcome { files, ..outcome(peak) };
            let bytes = native::encode(&given);
            assert_eq!(native::decode(&bytes), Ok(given));
            assert!(native::decode::<First>(&bytes).is_err());
        }
    }

    #[test]
    fn what_is_written_is_written_for_ever() {
        let files = BTreeMap::from([("a".to_string(), Bytes::from_static(b"b"))]);
        let given =
            Outcome { files, memory_peak_bytes: Some(5), ..Outcome::success(Bytes::from_static(b"x")) };
        let bytes = vec![0, 1, b'x', 1, 0, 0, 0, 0, 0, 0, 2, 2, 0, 5, 1, 1, 1, b'a', 1, b'b'];
        assert_eq!(native::encode(&given), bytes);
        assert_eq!(native::decode(&bytes), Ok(given));
    }
}
