//! The first 64 bytes of a connection, in either direction.
//!
//! ```text
//!   0  ff | 8 bytes of filling | 7f   signature
//!   10 major, minor                   3, 0 or 1
//!   12 mechanism, 20 bytes            "NULL", zeros
//!   32 as-server, 31 bytes of filling
//! ```

use crate::refusal::Refusal;

/// Bytes of a greeting.
pub(crate) const GREETING_BYTES: usize = 64;
/// Whom a gate says it is; libzmq says the same.
pub(crate) const OWN_GREETING: [u8; GREETING_BYTES] = greeting(1);

const SIGNATURE_BYTES: usize = 10;
const SIGNATURE_FIRST: u8 = 0xff;
const SIGNATURE_LAST: u8 = 0x7f;
const MAJOR: u8 = 3;
const MECHANISM: &[u8; 20] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// First byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

const fn greeting(minor: u8) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[0] = SIGNATURE_FIRST;
    bytes[8] = 1;
    bytes[9] = SIGNATURE_LAST;
    bytes[10] = MAJOR;
    bytes[11] = minor;
    bytes[12] = b'N';
    bytes[13] = b'U';
    bytes[14] = b'L';
    bytes[15] = b'L';
    bytes
}

/// Reads a greeting byte by byte, so that a wrong one is noticed at its first wrong byte.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    read: usize,
    minor: u8,
}

impl Greeting {
    /// Whether its signature is complete.
    pub(crate) fn signed(&self) -> bool {
        self.read >= SIGNATURE_BYTES
    }

    /// Bytes still to come.
    pub(crate) fn left(&self) -> usize {
        GREETING_BYTES - self.read
    }

    /// Takes the next byte. After the last one: the greeting to send on, with nothing of the peer's in it but whether it
    /// speaks 3.0 or something newer.
    ///
    /// # Errors
    /// What the peer speaks instead, as far as that byte shows.
    pub(crate) fn take(&mut self, byte: u8) -> Result<Option<[u8; GREETING_BYTES]>, Refusal> {
        let at = self.read;
        self.read += 1;
        match at {
            0 if byte != SIGNATURE_FIRST => return Err(stranger(byte)),
            // Clear: the length of an identity in the long form of ZMTP 1.0.
            9 if byte & 1 == 0 => return Err(Refusal::Version),
            10 if byte < MAJOR => return Err(Refusal::Version),
            11 => self.minor = byte.min(1),
            12..32 if MECHANISM.get(at - 12) != Some(&byte) => return Err(Refusal::Mechanism),
            _ => {}
        }
        Ok((self.read == GREETING_BYTES).then(|| greeting(self.minor)))
    }
}

/// What somebody speaks who begins with that byte.
fn stranger(byte: u8) -> Refusal {
    match byte {
        TLS_HANDSHAKE => Refusal::Tls,
        b'A'..=b'Z' => Refusal::Http,
        // The length of a short identity in ZMTP 1.0.
        1..=0x3f => Refusal::Version,
        _ => Refusal::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<[u8; GREETING_BYTES]>, (usize, Refusal)> {
        let mut reader = Greeting::default();
        let mut last = None;
        for (at, byte) in bytes.iter().enumerate() {
            last = reader.take(*byte).map_err(|why| (at, why))?;
        }
        Ok(last)
    }

    fn with(at: usize, byte: u8) -> [u8; GREETING_BYTES] {
        let mut bytes = OWN_GREETING;
        bytes[at] = byte;
        bytes
    }

    #[test]
    fn a_greeting_is_complete_at_its_64th_byte() {
        assert_eq!(read(&OWN_GREETING[..63]), Ok(None));
        assert_eq!(read(&OWN_GREETING), Ok(Some(OWN_GREETING)));
    }

    #[test]
    fn only_the_version_of_a_peers_greeting_goes_on() {
        assert_eq!(read(&with(11, 0)), Ok(Some(with(11, 0))));
        for strange in [with(11, 9), with(10, 7), with(5, 0xaa), with(32, 1), with(63, 0xff)] {
            assert_eq!(read(&strange), Ok(Some(OWN_GREETING)));
        }
    }

    #[test]
    fn whoever_speaks_otherwise_is_named_at_the_first_wrong_byte() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err((0, Refusal::Http)));
        assert_eq!(read(&[0x16, 3, 1]), Err((0, Refusal::Tls)));
        assert_eq!(read(&[1, 0]), Err((0, Refusal::Version)));
        assert_eq!(read(&[0]), Err((0, Refusal::Garbage)));
        assert_eq!(read(&with(9, 0x7e)), Err((9, Refusal::Version)));
        assert_eq!(read(&with(10, 1)), Err((10, Refusal::Version)));
        assert_eq!(read(&with(12, b'C')), Err((12, Refusal::Mechanism)));
        assert_eq!(read(&with(16, b'X')), Err((16, Refusal::Mechanism)));
        assert_eq!(read(&with(31, 1)), Err((31, Refusal::Mechanism)));
    }
}
