//! The turns of the jobs in one line, in order. A million may stand in one: sixteen bytes each, where a tree takes twice that,
//! because they come at its end and it leaves every node half empty behind them.

use alloc::collections::VecDeque;

use super::Turn;
use crate::limits::{TURNS_CHUNK, TURNS_KEPT};

/// A sorted set, made for growing at the end and shrinking at the front.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// Each is sorted, has one turn at least, and ends before the next one begins.
    chunks: VecDeque<VecDeque<Turn>>,
}

impl Turns {
    pub(super) fn first(&self) -> Option<Turn> {
        self.chunks.front()?.front().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn contains(&self, turn: Turn) -> bool {
        self.find(turn).is_ok()
    }

    /// Chunk and place in it: where it stands, or where it belongs.
    fn find(&self, turn: Turn) -> Result<(usize, usize), (usize, usize)> {
        let begins = |chunk: &VecDeque<Turn>| chunk.front().is_some_and(|first| *first <= turn);
        // Most are sought at one of the ends: there a look is enough.
        let chunk = match self.chunks.len() {
            0 => return Err((0, 0)),
            len if self.chunks.back().is_some_and(begins) => len - 1,
            _ if self.chunks.front().and_then(VecDeque::back).is_some_and(|last| turn <= *last) => 0,
            _ => self.chunks.partition_point(begins).saturating_sub(1),
        };
        match self.chunks[chunk].binary_search(&turn) {
            Ok(at) => Ok((chunk, at)),
            Err(at) => Err((chunk, at)),
        }
    }

    pub(super) fn insert(&mut self, turn: Turn) {
        let Err((chunk, at)) = self.find(turn) else { return };
        match self.chunks.get_mut(chunk) {
            None => self.chunks.push_back(VecDeque::from([turn])),
            Some(full) if full.len() >= TURNS_CHUNK => {
                if at < full.len() {
                    let upper = full.split_off(full.len() / 2);
                    self.chunks.insert(chunk + 1, upper);
                    return self.insert(turn);
                }
                match self.chunks.get_mut(chunk + 1) {
                    Some(next) if next.len() < TURNS_CHUNK => next.push_front(turn),
                    _ => self.chunks.insert(chunk + 1, VecDeque::from([turn])),
                }
            }
            Some(known) => known.insert(at, turn),
        }
    }

    /// Says whether it stood there.
    pub(super) fn remove(&mut self, turn: Turn) -> bool {
        let Ok((chunk, at)) = self.find(turn) else { return false };
        let turns = &mut self.chunks[chunk];
        turns.remove(at);
        if turns.is_empty() {
            self.chunks.remove(chunk);
        } else if turns.capacity() > TURNS_KEPT && turns.len() * 4 <= turns.capacity() {
            turns.shrink_to_fit();
        }
        true
    }

    /// Puts another turn in the place of this one. Says whether this one stood there.
    pub(super) fn replace(&mut self, before: Turn, after: Turn) -> bool {
        let Ok((chunk, at)) = self.find(before) else { return false };
        if self.is_between(chunk, at, after) {
            self.chunks[chunk][at] = after;
        } else {
            self.remove(before);
            self.insert(after);
        }
        true
    }

    /// Whether this turn would be in order at that place.
    fn is_between(&self, chunk: usize, at: usize, turn: Turn) -> bool {
        let turns = &self.chunks[chunk];
        let next = turns.get(at + 1).or_else(|| self.chunks.get(chunk + 1)?.front());
        let last = match at.checked_sub(1) {
            Some(at) => turns.get(at),
            None => chunk.checked_sub(1).and_then(|chunk| self.chunks[chunk].back()),
        };
        last.is_none_or(|last| *last < turn) && next.is_none_or(|next| turn < *next)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    impl Turns {
        /// Everything in it, if it is as it says.
        fn whole(&self) -> BTreeSet<Turn> {
            let all: alloc::vec::Vec<Turn> = self.chunks.iter().flatten().copied().collect();
            assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
            assert!(self.chunks.iter().all(|chunk| (1..=TURNS_CHUNK).contains(&chunk.len())));
            all.into_iter().collect()
        }
    }

    fn turn(number: u64) -> Turn {
        Turn { due_ms: number / 4, order: number }
    }

    /// Numbers that are no pattern.
    fn chance(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn it_is_the_set_that_a_tree_is() {
        for seed in 0..8 {
            let (mut state, mut turns, mut tree) = (seed, Turns::default(), BTreeSet::new());
            // First it grows, then it stays as large as it was, then it shrinks.
            for (steps, grows_of_ten) in [(6_000, 8), (6_000, 5), (20_000, 1)] {
                let span = 40 * TURNS_CHUNK as u64;
                for _ in 0..steps {
                    let (what, number) = (chance(&mut state) % 10, turn(chance(&mut state) % span));
                    let known = tree.range(number..).next().copied();
                    if what < grows_of_ten {
                        turns.insert(number);
                        tree.insert(number);
                    } else if let Some(known) = known.filter(|_| what % 2 == 0) {
                        let after = turn(known.order + chance(&mut state) % 5);
                        assert!(turns.replace(known, after));
                        tree.remove(&known);
                        tree.insert(after);
                    } else {
                        let gone = if what == 9 { known.unwrap_or(number) } else { number };
                        assert_eq!(turns.remove(gone), tree.remove(&gone));
                    }
                    assert_eq!(turns.first(), tree.first().copied());
                    assert_eq!(
                        (turns.is_empty(), turns.contains(number)),
                        (tree.is_empty(), tree.contains(&number))
                    );
                }
                assert_eq!(turns.whole(), tree);
            }
            // Whatever is left leaves from anywhere, and its chunks with it.
            while !tree.is_empty() {
                let number = turn(chance(&mut state) % (40 * TURNS_CHUNK as u64));
                let gone = tree.range(number..).next().or(tree.last()).copied().unwrap();
                assert!(tree.remove(&gone) && turns.remove(gone));
                assert_eq!((turns.first(), turns.is_empty()), (tree.first().copied(), tree.is_empty()));
            }
            assert_eq!(turns.chunks.len(), 0);
        }
    }

    #[test]
    fn what_comes_backwards_between_two_chunks_fills_chunks_too() {
        let mut turns = Turns::default();
        let (full, many) = (TURNS_CHUNK as u64, 20 * TURNS_CHUNK as u64);
        (0..full).chain([full + many]).for_each(|number| turns.insert(turn(number)));
        (full..full + many).rev().for_each(|number| turns.insert(turn(number)));
        assert_eq!((turns.whole().len() as u64, turns.chunks.len()), (full + many + 1, 22));
    }

    #[test]
    fn at_its_ends_it_fills_whole_chunks_and_empties_them() {
        let mut turns = Turns::default();
        let many = 10 * TURNS_CHUNK as u64;
        for number in 0..many {
            turns.insert(turn(number));
        }
        assert_eq!(turns.chunks.len(), 10);
        // What arrives stands behind all, and gets its place when it has arrived.
        let arriving = |number| Turn { due_ms: u64::MAX, order: number };
        for number in 0..100 {
            turns.insert(arriving(number));
        }
        for number in 0..100 {
            assert!(turns.replace(arriving(number), turn(many + number)));
            assert!(!turns.replace(arriving(number), turn(many + number)), "it is gone");
        }
        assert_eq!(turns.chunks.len(), 11);
        for number in 0..many + 100 {
            assert!(turns.remove(turn(number)) && !turns.remove(turn(number)));
        }
        assert!(turns.is_empty() && turns.first().is_none());
    }
}
