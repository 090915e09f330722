//! The head of a frame: flags, and a length of one or of eight bytes.

use crate::refusal::Refusal;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
/// Bytes of the longest head.
const HEAD_BYTES: usize = 9;

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether another frame of the same message follows.
    pub(crate) more: bool,
    /// Whether it is a command and no part of a message.
    pub(crate) command: bool,
    /// Bytes of its body, as announced.
    pub(crate) length: u64,
}

/// Reads a head byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: [u8; HEAD_BYTES],
    read: usize,
}

impl Head {
    /// Whether some of it was read.
    pub(crate) fn begun(&self) -> bool {
        self.read > 0
    }

    /// The bytes read so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.read).unwrap_or_default()
    }

    /// Takes the next byte; after the last one, what the head says.
    ///
    /// # Errors
    /// [`Refusal::Flags`]
    pub(crate) fn take(&mut self, byte: u8) -> Result<Option<Frame>, Refusal> {
        if self.read == 0
            && (byte & !(MORE | LONG | COMMAND) != 0 || byte & (COMMAND | MORE) == COMMAND | MORE)
        {
            return Err(Refusal::Flags);
        }
        if let Some(place) = self.bytes.get_mut(self.read) {
            *place = byte;
            self.read += 1;
        }
        let [flags, length @ ..] = self.bytes;
        let length = match (self.read, flags & LONG != 0) {
            (2, false) => u64::from(byte),
            (HEAD_BYTES, true) => u64::from_be_bytes(length),
            _ => return Ok(None),
        };
        Ok(Some(Frame { more: flags & MORE != 0, command: flags & COMMAND != 0, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Frame>, Refusal> {
        let mut head = Head::default();
        let mut last = None;
        for byte in bytes {
            assert_eq!(last, None, "it had ended before");
            last = head.take(*byte)?;
        }
        assert_eq!(head.bytes(), bytes);
        Ok(last)
    }

    #[test]
    fn short_and_long_heads_say_what_follows() {
        let frame = |more, command, length| Ok(Some(Frame { more, command, length }));
        assert_eq!(read(&[0, 0]), frame(false, false, 0));
        assert_eq!(read(&[1, 255]), frame(true, false, 255));
        assert_eq!(read(&[2, 0, 0, 0, 0, 0x80, 0, 0, 0]), frame(false, false, 1 << 31));
        assert_eq!(read(&[3, 255, 255, 255, 255, 255, 255, 255, 255]), frame(true, false, u64::MAX));
        assert_eq!(read(&[4, 7]), frame(false, true, 7));
        assert_eq!(read(&[6, 0, 0, 0, 0, 0, 0, 0, 3]), frame(false, true, 3));
    }

    #[test]
    fn an_incomplete_head_says_nothing_yet() {
        for part in [&[][..], &[0], &[2, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(read(part), Ok(None), "{part:?}");
        }
    }

    #[test]
    fn flags_without_meaning_are_refused() {
        for flags in (0..=255).filter(|flags| ![0, 1, 2, 3, 4, 6].contains(flags)) {
            assert_eq!(read(&[flags]), Err(Refusal::Flags), "{flags}");
        }
    }
}
