//! A connection's number, and the routing id by which libzmq knows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// First byte of every routing id a gate gives. libzmq's own begin with 0, so the two never meet.
const MARK: u8 = b'c';
/// Bytes of a routing id.
const ROUTING_ID_BYTES: usize = 9;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One accepted connection. A number is used once in the life of a process, over all its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u64);

impl Conn {
    /// The next number.
    pub(crate) fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// What libzmq's ROUTER puts before this connection's messages, and wants before the replies to it.
    #[must_use]
    pub fn routing_id(self) -> [u8; ROUTING_ID_BYTES] {
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        [MARK, a, b, c, d, e, f, g, h]
    }

    /// The connection behind a routing id; none when no gate gave it.
    #[must_use]
    pub fn from_routing_id(id: &[u8]) -> Option<Self> {
        let (mark, number) = id.split_first()?;
        let number: [u8; 8] = number.try_into().ok()?;
        (*mark == MARK).then(|| Self(u64::from_be_bytes(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_id_leads_back_to_its_connection() {
        for number in [0, 1, 0xff, u64::MAX] {
            assert_eq!(Conn::from_routing_id(&Conn(number).routing_id()), Some(Conn(number)));
        }
        for stranger in [&b""[..], b"c", b"c1234567", b"c123456789", b"d12345678"] {
            assert_eq!(Conn::from_routing_id(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        assert!(Conn::next() < Conn::next());
    }
}
