//! Names that are types: who, which start, which job, which attempt, which moment of the ledger.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A node for as long as its disk lives: random, never zero, never an address or a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

/// A cluster, made by its founder at the first start; part of every handshake and of every log segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The number of a node's start: rises by one, synced, at every start (a resume after `/stop` is a start).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Boot(pub u64);

/// A job: a ULID chosen by the node that took the request, written as its 26 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; ulid::ULID_LEN];
        f.write_str(ulid::Ulid(self.0).array_to_str(&mut text))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JobId {
    /// This one and those that come after it, so many in all.
    pub fn following(self, jobs: usize) -> impl Iterator<Item = JobId> {
        (0..jobs as u128).map(move |n| Self(self.0.wrapping_add(n)))
    }
}

/// The text is no job id (26 characters of Crockford's base 32, at most 128 bits).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is 26 characters of base 32, this is {0:?}")]
pub struct BadJobId(pub String);

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        let bad = || BadJobId(text.chars().take(64).collect());
        if text.len() != ulid::ULID_LEN || text.as_bytes()[0] > b'7' {
            return Err(bad());
        }
        ulid::Ulid::from_string(text).map(|id| Self(id.0)).map_err(|_| bad())
    }
}

/// One try of one job. With the term that assigned it, the number is the attempt's fencing token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The job.
    pub job: JobId,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

/// A moment of the ledger, equal on every node: recovery epoch, index of the applied entry, place in the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Rev {
    /// Raised only by an explicit recovery of a lost majority.
    pub epoch: u32,
    /// Index of the entry in the log.
    pub index: u64,
    /// Place among the facts of that entry, from 0.
    pub n: u32,
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.index, self.n)
    }
}

/// The text is no revision (`epoch.index.n`, three numbers).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a revision is epoch.index.n, this is {0:?}")]
pub struct BadRev(pub String);

impl FromStr for Rev {
    type Err = BadRev;

    fn from_str(text: &str) -> Result<Self, BadRev> {
        let bad = || BadRev(text.chars().take(64).collect());
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or_else(bad);
        let (epoch, index, n) = (next()?, next()?, next()?);
        let rev = Self {
            epoch: epoch.parse().map_err(|_| bad())?,
            index: index.parse().map_err(|_| bad())?,
            n: n.parse().map_err(|_| bad())?,
        };
        if parts.next().is_some() { Err(bad()) } else { Ok(rev) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_job_id_reads_back_what_it_wrote_and_nothing_else() {
        let id = JobId(0x0191_2345_6789_abcd_ef01_2345_6789_abcd);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "01", "../../etc/passwd", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARZ3NDEKTSV4RRFFQ69G5FA!"]
        {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_revision_reads_back_and_orders_by_index_then_place() {
        let rev = Rev { epoch: 0, index: 17, n: 2 };
        assert_eq!(rev.to_string(), "0.17.2");
        assert_eq!("0.17.2".parse(), Ok(rev));
        assert!("0.17".parse::<Rev>().is_err());
        assert!("0.17.2.1".parse::<Rev>().is_err());
        assert!(rev < Rev { epoch: 0, index: 18, n: 0 });
    }
}
