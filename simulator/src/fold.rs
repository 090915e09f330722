//! The digest of a history: everything that happened, folded into one number, to compare two runs of one seed.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// A running digest (multiply and fold by 64-bit words). It finds differences; it does not keep out attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fold(u64);

impl Fold {
    pub(crate) fn new() -> Self {
        Self(0x6a09_e667_f3bc_c908)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    /// Takes in a value by its bytes on the wire.
    pub(crate) fn take<T: Serialize>(&mut self, value: &T) {
        match postcard::serialize_with_flavor(value, *self) {
            Ok(after) => *self = after,
            Err(error) => unreachable!("our own values always encode: {error}"),
        }
    }

    /// The digest of one value alone.
    pub(crate) fn of<T: Serialize>(value: &T) -> u64 {
        let mut fold = Self::new();
        fold.take(value);
        fold.value()
    }
}

impl Flavor for Fold {
    type Output = Self;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.word(u64::from(byte) | 0x100);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.bytes(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}
