//! The log on disk as bytes: reading them.

use crate::{Entry, HardState, Origin, Writer};

/// What the files held.
#[derive(Debug)]
pub struct Recovered {
    /// Whose log it is.
    pub origin: Origin,
    /// Last hard state.
    pub hard: Option<HardState>,
    /// Entries.
    pub entries: Vec<Entry>,
    /// Torn tail.
    pub cut: Option<Cut>,
    /// Goes on.
    pub writer: Writer,
}

/// A torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Segment.
    pub segment: u64,
    /// Offset.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The log cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading log segment {segment} at offset {offset}: {why}")]
pub struct Corrupt {
    /// Segment.
    pub segment: u64,
    /// Offset.
    pub offset: u64,
    /// Why.
    pub why: &'static str,
}

/// Reads segments.
pub fn recover(_origin: Option<Origin>, _segments: &[(u64, Vec<u8>)]) -> Result<Recovered, Corrupt> {
    todo!()
}
