//! What the program is told of connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::conn::Conn;
use crate::limits;
use crate::refusal::Refusal;
use crate::rules::Kind;

/// Something that happened to a connection. For one connection it is told in order: opened, refused, closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A peer has introduced itself. Told before any byte of a message of it can reach libzmq.
    Opened {
        /// Which connection; libzmq knows it by [`Conn::routing_id`].
        conn: Conn,
        /// What the peer calls itself; may be empty, at most 255 bytes.
        identity: Bytes,
        /// Whence it comes.
        address: SocketAddr,
        /// What it is.
        kind: Kind,
    },
    /// The connection has ended; told once for each that was opened. Messages that came before may still arrive after it.
    Closed {
        /// Which.
        conn: Conn,
    },
    /// A peer was closed by the gate. Told once an address and reason, then only counted for some minutes.
    Refused {
        /// Whence it came.
        address: SocketAddr,
        /// Why.
        why: Refusal,
    },
}

/// Which refusals were told already, and when.
#[derive(Debug, Default)]
pub(crate) struct ToldAlready {
    pairs: Mutex<HashMap<(IpAddr, Refusal), Instant>>,
}

impl ToldAlready {
    /// Whether this one is news at that time; remembers it.
    pub(crate) fn is_news(&self, address: IpAddr, why: Refusal, now: Instant) -> bool {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |told: &Instant| now.saturating_duration_since(*told) < limits::TELL_AGAIN;
        if pairs.get(&(address, why)).is_some_and(fresh) {
            return false;
        }
        if pairs.len() >= limits::TOLD_PAIRS {
            pairs.retain(|_, told| fresh(told));
            if pairs.len() >= limits::TOLD_PAIRS {
                return false;
            }
        }
        pairs.insert((address, why), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
    }

    #[test]
    fn a_refusal_is_told_once_an_address_and_reason_until_some_minutes_passed() {
        let (told, start) = (ToldAlready::default(), Instant::now());
        assert!(told.is_news(address(1), Refusal::Http, start));
        assert!(!told.is_news(address(1), Refusal::Http, start));
        assert!(told.is_news(address(1), Refusal::Tls, start));
        assert!(told.is_news(address(2), Refusal::Http, start));
        assert!(told.is_news(address(1), Refusal::Http, start + limits::TELL_AGAIN));
    }

    #[test]
    fn what_is_remembered_as_told_is_bounded_and_forgotten_in_time() {
        let (told, start) = (ToldAlready::default(), Instant::now());
        for number in 0..limits::TOLD_PAIRS {
            assert!(told.is_news(address(number), Refusal::Http, start));
        }
        assert!(!told.is_news(address(limits::TOLD_PAIRS), Refusal::Http, start), "no room, only counted");
        assert!(told.is_news(address(limits::TOLD_PAIRS), Refusal::Http, start + limits::TELL_AGAIN));
        assert_eq!(told.pairs.lock().unwrap().len(), 1, "the old ones went");
    }
}
