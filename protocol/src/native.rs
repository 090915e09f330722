//! Our own wire: postcard bytes, bounded before they are read.

use alloc::vec::Vec;
use postcard::de_flavors::{Flavor, Slice};
use postcard::ser_flavors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    append(message, Vec::with_capacity(bytes))
}

/// Writes a message behind what is there already; [`decode_all`] reads them back.
///
/// # Panics
/// Never, as [`encode`].
#[must_use]
pub fn append<T: Serialize>(message: &T, to: Vec<u8>) -> Vec<u8> {
    match postcard::serialize_with_flavor(message, Onto(to)) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("our own messages always encode: {error}"),
    }
}

/// Writes at the end of a vector. (Postcard's own way there takes a payload byte by byte.)
struct Onto(Vec<u8>);

impl ser_flavors::Flavor for Onto {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
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

/// Reads a message of at most [`limits::MESSAGE_BYTES`]; every byte must be used. It may borrow from them.
///
/// # Errors
/// [`BadBytes`] when it is too large, cut, or followed by more.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadBytes> {
    if bytes.len() > limits::MESSAGE_BYTES {
        return Err(BadBytes::TooLarge { bytes: bytes.len(), limit: limits::MESSAGE_BYTES });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(BadBytes::Malformed("bytes left over")),
        Err(_) => Err(BadBytes::Malformed("not in our form")),
    }
}

/// The same, and beside it all byte strings and texts of at least so many bytes, in the order in which they stand there: whoever
/// keeps the bytes can keep these parts of them in place of copies.
///
/// # Errors
/// As [`decode`].
pub fn decode_noting<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    least_bytes: usize,
) -> Result<(T, Vec<&'a [u8]>), BadBytes> {
    if bytes.len() > limits::MESSAGE_BYTES {
        return Err(BadBytes::TooLarge { bytes: bytes.len(), limit: limits::MESSAGE_BYTES });
    }
    let noting = Noting { from: Slice::new(bytes), least_bytes, noted: Vec::new() };
    let mut reader = postcard::Deserializer::from_flavor(noting);
    let malformed = |_| BadBytes::Malformed("not in our form");
    let value = T::deserialize(&mut reader).map_err(malformed)?;
    match reader.finalize().map_err(malformed)? {
        ([], noted) => Ok((value, noted)),
        _ => Err(BadBytes::Malformed("bytes left over")),
    }
}

/// Reads bytes, and notes the long parts.
struct Noting<'a> {
    from: Slice<'a>,
    least_bytes: usize,
    noted: Vec<&'a [u8]>,
}

impl<'a> Flavor<'a> for Noting<'a> {
    type Remainder = (&'a [u8], Vec<&'a [u8]>);
    type Source = &'a [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        self.from.pop()
    }

    fn size_hint(&self) -> Option<usize> {
        self.from.size_hint()
    }

    fn try_take_n(&mut self, bytes: usize) -> postcard::Result<&'a [u8]> {
        let part = self.from.try_take_n(bytes)?;
        if bytes >= self.least_bytes {
            self.noted.push(part);
        }
        Ok(part)
    }

    fn finalize(self) -> postcard::Result<Self::Remainder> {
        Ok((self.from.finalize()?, self.noted))
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

    #[test]
    fn long_parts_are_noted_where_they_lie() {
        let message = (7_u8, "short", "a longer text", 300_u16, [1_u8; 3].as_slice());
        let mut bytes = encode(&message);
        let (read, noted) = decode_noting::<(u8, &str, &str, u16, Vec<u8>)>(&bytes, 6).unwrap();
        assert_eq!((read.0, read.1, read.2, read.3), (message.0, message.1, message.2, message.3));
        assert_eq!(noted, [b"a longer text"]);
        bytes.push(0);
        assert!(decode_noting::<(u8, &str, &str, u16, Vec<u8>)>(&bytes, 6).is_err());
    }
}
