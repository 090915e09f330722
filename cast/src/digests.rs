//! The digest of the ledger after each of the last entries, so that members can be compared at one index although none of
//! them stands still.

use std::collections::VecDeque;

use protocol::Checkpoint;

/// Entries whose digests are kept: some seconds of a cluster under load, 256 KiB.
const KEPT: usize = 16_384;
/// Members compare their ledgers every so many entries.
const CHECKPOINT_ENTRIES: u64 = 1_000;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    /// (index, digest after it), rising; indices without a command are not among them.
    recent: VecDeque<(u64, u64)>,
}

impl Digests {
    /// From a ledger that came from a snapshot on: what was before is not known here.
    pub(crate) fn from(index: u64, digest: u64) -> Self {
        Self { recent: VecDeque::from([(index, digest)]) }
    }

    /// The entry `index` was applied, which made `digest` of what was `before` (index and digest). Says the checkpoint that
    /// was passed with it: the last index below a multiple of [`CHECKPOINT_ENTRIES`].
    pub(crate) fn applied(&mut self, before: (u64, u64), index: u64, digest: u64) -> Option<Checkpoint> {
        if self.recent.is_empty() {
            self.recent.push_back(before);
        }
        if self.recent.len() >= KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back((index, digest));
        let passed = index / CHECKPOINT_ENTRIES > before.0 / CHECKPOINT_ENTRIES;
        let at = index / CHECKPOINT_ENTRIES * CHECKPOINT_ENTRIES;
        passed.then(|| Checkpoint { index: at - 1, digest: before.1 })
    }

    /// The digest after all entries up to this index; none when that is forgotten. The index must have been applied.
    pub(crate) fn at(&self, index: u64) -> Option<u64> {
        let after = self.recent.partition_point(|(known, _)| *known <= index);
        self.recent.get(after.checked_sub(1)?).map(|(_, digest)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests of a ledger in which the entry `i` makes the digest `10 * i`.
    fn of(indices: impl Iterator<Item = u64>) -> (Digests, Vec<Checkpoint>) {
        let (mut digests, mut passed, mut before) = (Digests::default(), Vec::new(), (0, 0));
        for index in indices {
            passed.extend(digests.applied(before, index, 10 * index));
            before = (index, 10 * index);
        }
        (digests, passed)
    }

    #[test]
    fn each_index_has_the_digest_of_the_last_entry_up_to_it() {
        let (digests, _) = of([2, 3, 7].into_iter());
        let all = [0, 1, 2, 3, 4, 6, 7, 9].map(|index| digests.at(index));
        assert_eq!(all, [0, 0, 20, 30, 30, 30, 70, 70].map(Some));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let (digests, _) = of(1..=KEPT as u64 + 10);
        assert_eq!(digests.at(5), None);
        assert_eq!(digests.at(11), Some(110));
        assert_eq!(digests.recent.len(), KEPT);
    }

    #[test]
    fn after_a_snapshot_nothing_is_said_of_what_was_before() {
        let mut digests = Digests::from(40, 400);
        assert_eq!([39, 40, 41].map(|index| digests.at(index)), [None, Some(400), Some(400)]);
        assert_eq!(digests.applied((40, 400), 43, 430), None);
        assert_eq!([39, 42, 43].map(|index| digests.at(index)), [None, Some(400), Some(430)]);
    }

    #[test]
    fn a_checkpoint_is_the_same_whichever_indices_have_commands() {
        let (_, passed) = of([1, 998, 1_003, 1_004, 2_000].into_iter());
        let expected = [(999, 9_980), (1_999, 10_040)];
        assert_eq!(passed, expected.map(|(index, digest)| Checkpoint { index, digest }));
    }
}
