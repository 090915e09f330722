//! The log on disk as bytes: making them.

use crate::Write;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Id of the cluster.
    pub cluster: u128,
    /// Id of the node.
    pub node: u64,
}

/// Bytes for one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the segment file.
    pub segment: u64,
    /// The file is new.
    pub create: Option<u64>,
    /// Where the bytes go.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Makes the bytes.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// A fresh log.
    pub fn new(_origin: Origin, _segment_bytes: u64) -> Self {
        todo!()
    }
    /// One batch.
    pub fn batch(&mut self, _writes: &[Write]) -> Vec<Piece> {
        todo!()
    }
    /// All pieces so far are durable.
    pub fn synced(&mut self) {
        todo!()
    }
}
