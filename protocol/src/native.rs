//! Our own wire: postcard bytes, bounded before they are read.

use alloc::vec::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// Foreign bytes that are no message of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBytes {
    /// Larger than any message may be.
    #[error("reading a message: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Not what it should be.
    #[error("reading a message: {0}")]
    Malformed(&'static str),
}

/// Writes a message.
///
/// # Panics
/// Never for our own types: they hold no map with foreign keys and no unsized sequence.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    match postcard::to_allocvec(message) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("our own messages always encode: {error}"),
    }
}

/// Reads a message of at most [`limits::MESSAGE_BYTES`]; every byte must be used.
///
/// # Errors
/// [`BadBytes`] when it is too large, cut, or followed by more.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadBytes> {
    if bytes.len() > limits::MESSAGE_BYTES {
        return Err(BadBytes::TooLarge { bytes: bytes.len(), limit: limits::MESSAGE_BYTES });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(BadBytes::Malformed("bytes left over")),
        Err(_) => Err(BadBytes::Malformed("not in our form")),
    }
}
