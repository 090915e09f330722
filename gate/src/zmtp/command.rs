//! Commands between messages: signs of life, and subscriptions in the form of ZMTP 3.1.

use crate::limits;
use crate::refusal::Refusal;

const NAME_BYTES: usize = 4;
const TTL_BYTES: usize = 2;
const CONTEXT_BYTES: usize = 16;

/// A command that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// PING or PONG.
    Life,
    /// SUBSCRIBE, with its topic.
    Subscribe(&'a [u8]),
    /// CANCEL, with its topic.
    Cancel(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads a command's body. A PING must have its two bytes of time to live: libzmq reads them, and up to 16 of context,
    /// whether they are there or not.
    ///
    /// # Errors
    /// [`Refusal::Command`]
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let (length, rest) = body.split_first().ok_or(Refusal::Command)?;
        let (name, data) = rest.split_at_checked(usize::from(*length)).ok_or(Refusal::Command)?;
        match name {
            b"PING" if (TTL_BYTES..=TTL_BYTES + CONTEXT_BYTES).contains(&data.len()) => Ok(Self::Life),
            b"PONG" if data.len() <= CONTEXT_BYTES => Ok(Self::Life),
            b"SUBSCRIBE" => Ok(Self::Subscribe(data)),
            b"CANCEL" => Ok(Self::Cancel(data)),
            _ => Err(Refusal::Command),
        }
    }
}

const _: () = assert!(limits::PING_BYTES == 1 + NAME_BYTES + TTL_BYTES + CONTEXT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_commands_pass() {
        assert_eq!(Command::read(b"\x04PING\0\0"), Ok(Command::Life));
        assert_eq!(Command::read(b"\x04PING\0\x010123456789abcdef"), Ok(Command::Life));
        assert_eq!(Command::read(b"\x04PONG"), Ok(Command::Life));
        assert_eq!(Command::read(b"\x09SUBSCRIBEinfo/"), Ok(Command::Subscribe(b"info/")));
        assert_eq!(Command::read(b"\x06CANCEL"), Ok(Command::Cancel(b"")));
    }

    #[test]
    fn broken_and_unknown_commands_are_refused() {
        let broken = [
            &b""[..],
            b"\0",
            b"\x04",
            b"\x04PIN",
            b"\x04PING",
            b"\x04PING\0",
            b"\x04PING\0\x010123456789abcdefg",
            b"\x04PONG0123456789abcdefg",
            b"\x05READY",
            b"\x05ERROR\0",
            b"\x04ping\0\0",
            b"\xffSUBSCRIBE",
        ];
        for body in broken {
            assert_eq!(Command::read(body), Err(Refusal::Command), "{body:?}");
        }
    }
}
