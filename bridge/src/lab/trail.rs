//! Which bridges a request has passed: `NAME~ID1.ID2`, the end of the identity it was asked under.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A bridge: the first 32 bits of the SHA-256 of what it joins. The same after a restart, and in all its copies.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BridgeId([u8; 4]);

/// The bridges passed, first to last.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Trail(Vec<BridgeId>);

impl BridgeId {
    /// Of the bridge that takes these classes from one broker to another.
    pub(super) fn of(workers_url: &str, clients_url: &str, classes: &[String]) -> Self {
        let mut sorted: Vec<&str> = classes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut digest = Sha256::new();
        for part in [workers_url, clients_url].into_iter().chain(sorted) {
            // With its length: no two lists of parts look alike.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest.finalize());
        Self([a, b, c, d])
    }

    /// Reads eight small hex digits, nothing else.
    fn read(text: &[u8]) -> Option<Self> {
        let digit = |at: usize| match *text.get(at)? {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let byte = |at: usize| Some(digit(2 * at)? << 4 | digit(2 * at + 1)?);
        let id = Self([byte(0)?, byte(1)?, byte(2)?, byte(3)?]);
        (text.len() == 8).then_some(id)
    }
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Trail {
    /// The trail at the end of a name. Whatever is not exactly one (`~`, then ids with dots between) is part of the name.
    pub(super) fn read(name: &[u8]) -> Self {
        let Some(mark) = name.iter().rposition(|byte| *byte == b'~') else { return Self::default() };
        let ids = name.get(mark + 1..).unwrap_or_default().split(|byte| *byte == b'.').map(BridgeId::read);
        Self(ids.collect::<Option<Vec<_>>>().unwrap_or_default())
    }

    pub(super) fn contains(&self, id: BridgeId) -> bool {
        self.0.contains(&id)
    }

    /// How many bridges.
    pub(super) fn hops(&self) -> usize {
        self.0.len()
    }

    /// One bridge further.
    pub(super) fn with(&self, id: BridgeId) -> Self {
        Self(self.0.iter().copied().chain([id]).collect())
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if at == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> String {
        Trail::read(name.as_bytes()).to_string()
    }

    #[test]
    fn a_trail_is_read_where_it_is_exactly_one() {
        assert_eq!(read("WC_host_1~0a1b2c3d"), "0a1b2c3d");
        assert_eq!(read("WC_host_1~0a1b2c3d.ffffffff"), "0a1b2c3d.ffffffff");
        assert_eq!(read("01J0000000000000000000000~00000000"), "00000000", "a job of another node");
        assert_eq!(read("~0a1b2c3d"), "0a1b2c3d");
        assert_eq!(read("a~0a1b2c3d~ffffffff"), "ffffffff", "the last mark counts");
    }

    #[test]
    fn anything_else_is_a_name_without_a_trail() {
        for name in [
            "",
            "C_host",
            "C_host~",
            "C_host~0a1b2c3",
            "C_host~0a1b2c3d4",
            "C_host~0A1B2C3D",
            "C_host~0a1b2c3g",
            "C_host~0a1b2c3d.",
            "C_host~.0a1b2c3d",
            "C_host~0a1b2c3d..ffffffff",
            "C_host~0a1b2c3d ffffffff",
            "C_host~0a1b2c3d~",
            "C_host~0a1b2c3d\n",
        ] {
            assert_eq!(read(name), "", "{name:?}");
        }
        assert_eq!(Trail::read(b"\xff\x00~\xff").hops(), 0);
    }

    #[test]
    fn a_trail_grows_by_one_and_is_read_back_as_it_was() {
        let (a, b) = (BridgeId([1, 2, 3, 4]), BridgeId([0xab, 0, 0, 0xff]));
        let trail = Trail::default().with(a).with(b);
        assert_eq!((trail.to_string().as_str(), trail.hops()), ("01020304.ab0000ff", 2));
        assert!(trail.contains(a) && trail.contains(b) && !trail.contains(BridgeId([0; 4])));
        assert_eq!(Trail::read(format!("WC_h~{trail}").as_bytes()), trail);
    }

    #[test]
    fn a_bridges_id_is_of_what_it_joins_and_of_nothing_else() {
        let id = |from: &str, to: &str, classes: &[&str]| {
            let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
            BridgeId::of(from, to, &classes).to_string()
        };
        let usual = id("tcp://a:9999", "tcp://b:9998", &["A", "B"]);
        // Stable over versions of this program: copies of different versions must know each other.
        assert_eq!(usual, "68593807");
        assert_eq!(usual, id("tcp://a:9999", "tcp://b:9998", &["B", "A", "B"]));
        let others = [
            id("tcp://b:9998", "tcp://a:9999", &["A", "B"]),
            id("tcp://a:9999", "tcp://b:9998", &["AB"]),
            id("tcp://a:9999", "tcp://b:9998", &["A"]),
            id("tcp://c:9999", "tcp://b:9998", &["A", "B"]),
        ];
        assert!(!others.contains(&usual), "{others:?}");
    }
}
