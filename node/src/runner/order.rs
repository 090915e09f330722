//! What the node and a keeper tell each other over the keeper's standard input, a socket.
//!
//! ```text
//!   node ── Order, then a Word each ──▶ keeper        end of file: the node is gone, kill everything
//!   node ◀──────────── Report ───────── keeper        end of file: the keeper is gone
//! ```
//! An order or report is its length (4 bytes, little-endian) and its postcard bytes.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::PathBuf;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest order: payload, standard input, texts of a job are bounded well below.
pub(crate) const FRAME_BYTES: usize = 8 << 20;

/// What the keeper shall start. It runs in the attempt's folder, which has a folder [`WORK`] for the program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The program: a path, or a name to find in `PATH`.
    pub(crate) program: String,
    /// A script: written to a file that is the first argument.
    pub(crate) script: Option<Bytes>,
    /// The (other) arguments.
    pub(crate) args: Vec<String>,
    /// All of the environment but `HOME` and `UNDERSTUDY_DIR`.
    pub(crate) env: BTreeMap<String, String>,
    /// Standard input; none: empty.
    pub(crate) stdin: Option<Bytes>,
    /// Files laid into its folder before it starts.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// Memory all its processes together may take; 0: no limit.
    pub(crate) memory_bytes: u64,
    /// Where the attempt may have a cgroup of its own, and how that is to be called.
    pub(crate) fence: Option<(PathBuf, String)>,
}

/// The folder of the program, within the attempt's.
pub(crate) const WORK: &str = "work";

/// The word for: TERM to the group now, KILL after the grace.
pub(crate) const WORD_TERM: u8 = b'T';

/// How it ended, told by the keeper when nothing of the attempt is left.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program could not be started.
    NotStarted {
        /// Why.
        error: String,
    },
    /// The program has ended.
    Ended {
        /// Its exit code, when it ended by itself.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether it had been told to end before it ended.
        told: bool,
        /// Processor time of all its processes.
        cpu_ms: u64,
        /// Resident memory of its largest process (a few MiB of it are the keeper's own).
        memory_peak_bytes: u64,
        /// What of memory it was killed for, if it was.
        memory: Option<ForMemory>,
        /// Whether processes of it could not be killed.
        left: bool,
    },
}

/// For want of which memory a program was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForMemory {
    /// That of the attempt: all its processes together took more.
    Limit {
        /// The limit.
        bytes: u64,
    },
    /// That of the node's container, or of the machine: the kernel chose it.
    Kernel,
}

/// The bytes of an order or report.
pub(crate) fn frame<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let body = postcard::to_allocvec(value).map_err(Error::other)?;
    let length = u32::try_from(body.len()).map_err(Error::other)?;
    if body.len() > FRAME_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("a message of {length} bytes, more than {FRAME_BYTES}"),
        ));
    }
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(body);
    Ok(bytes)
}

/// Checks the length in front of a body.
pub(crate) fn body_bytes(length: [u8; 4]) -> Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("a message of {length} bytes, more than {FRAME_BYTES}"),
        ));
    }
    Ok(length)
}

/// Reads a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    postcard::from_bytes(body).map_err(Error::other)
}

/// Writes one message.
pub(crate) fn send<T: Serialize>(to: &mut impl Write, value: &T) -> Result<()> {
    to.write_all(&frame(value)?)
}

/// Waits for one message.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; body_bytes(length)?];
    from.read_exact(&mut body)?;
    parse(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_a_huge_length_is_refused() {
        let report = Report::NotStarted { error: "no such file".into() };
        let bytes = frame(&report).unwrap();
        assert_eq!(receive::<Report>(&mut &bytes[..]).unwrap(), report);
        assert!(receive::<Report>(&mut &bytes[..bytes.len() - 1]).is_err());
        assert!(receive::<Report>(&mut &[255_u8; 64][..]).is_err());
    }
}
