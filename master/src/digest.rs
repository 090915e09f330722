//! One running number over all that was applied, for members to compare: equal ledgers have equal digests.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// The running digest. FNV in 64-bit steps; it finds mistakes, it does not keep out attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// Goes on from a value.
    pub(crate) fn of_value(value: u64) -> Self {
        Self(value)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }

    /// Takes in a value by its bytes on our wire, without building them.
    pub(crate) fn take<T: Serialize>(&mut self, value: &T) {
        match postcard::serialize_with_flavor(value, *self) {
            Ok(after) => *self = after,
            Err(error) => unreachable!("our own values always encode: {error}"),
        }
    }

    fn step(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }
}

impl Flavor for Digest {
    type Output = Self;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.step(u64::from(byte) | 0x100);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.step(u64::from_le_bytes(word));
        }
        self.step(bytes.len() as u64);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}
