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
    // Measured first: a large message that grows while it is written is copied again and again.
    let bytes = postcard::experimental::serialized_size(message).unwrap_or_default();
    match postcard::to_extend(message, Vec::with_capacity(bytes)) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("our own messages always encode: {error}"),
    }
}

/// Writes a message behind what is there already; [`decode_all`] reads them back.
///
/// # Panics
/// Never, as [`encode`].
#[must_use]
pub fn append<T: Serialize>(message: &T, to: Vec<u8>) -> Vec<u8> {
    match postcard::to_extend(message, to) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("our own messages always encode: {error}"),
    }
}

/// Reads messages of one kind that were written one behind the other, of at most [`limits::MESSAGE_BYTES`] together.
///
/// # Errors
/// [`BadBytes`] when they are too large, or not all of them can be read: then none of them counts.
pub fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, BadBytes> {
    if bytes.len() > limits::MESSAGE_BYTES {
        return Err(BadBytes::TooLarge { bytes: bytes.len(), limit: limits::MESSAGE_BYTES });
    }
    let (mut values, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (value, left) =
            postcard::take_from_bytes(rest).map_err(|_| BadBytes::Malformed("not in our form"))?;
        if left.len() == rest.len() {
            return Err(BadBytes::Malformed("a message of no bytes"));
        }
        values.push(value);
        rest = left;
    }
    Ok(values)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_written_behind_each_other_are_read_back_in_order_and_all_or_none() {
        let mut bytes = Vec::new();
        for number in [1_u64, 300, 70_000] {
            bytes = append(&number, bytes);
        }
        assert_eq!(decode_all::<u64>(&bytes), Ok([1, 300, 70_000].to_vec()));
        bytes.push(0xff);
        assert!(decode_all::<u64>(&bytes).is_err());
        assert!(decode_all::<()>(&[0]).is_err(), "what takes no bytes would never end");
    }
}
