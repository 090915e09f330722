//! The waiting jobs of one priority: their submitters take turns, in rounds.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::ops::Bound;

use super::turns::Turns;
use super::{Look, Turn};
use crate::limits::SUBMITTERS_AWAY;

/// The jobs of one priority.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    /// The round in which a job was taken last.
    round: u64,
    parties: BTreeMap<Arc<str>, Party>,
    /// Who has a job to look at: the lowest is next.
    claims: BTreeSet<Claim>,
    /// Rounds of submitters whose last job left the queue without having been taken. It may come back at once: a job that
    /// arrives does, when it has arrived.
    away: BTreeMap<Arc<str>, u64>,
}

/// Where a submitter stands: its round, and within it, how long its oldest job waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    round: u64,
    oldest: Turn,
    submitter: Arc<str>,
}

/// How far a look has come in one priority: what is before has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    claim: Option<Claim>,
    heads: BTreeMap<Arc<str>, (Turn, u64)>,
}

/// The jobs of one submitter.
#[derive(Clone, Debug)]
struct Party {
    submitter: Arc<str>,
    /// The round in which its next job goes.
    round: u64,
    lines: BTreeMap<u64, Line>,
    /// The first job of each line that is not held back, with its shape.
    heads: BTreeSet<(Turn, u64)>,
}

/// Jobs of one shape. There is at least one.
#[derive(Clone, Debug, Default)]
struct Line {
    jobs: Turns,
    held_back: bool,
}

impl Party {
    /// Where it stands: its round, and its oldest job to look at. None: it has none.
    fn standing(&self) -> Option<(u64, Turn)> {
        self.heads.first().map(|(oldest, _)| (self.round, *oldest))
    }

    /// Changes one line, and brings its head in line with it. Says what came of it.
    fn change(&mut self, shape: u64, how: impl FnOnce(&mut Line)) {
        let line = self.lines.entry(shape).or_default();
        let head = |line: &Line| line.jobs.first().filter(|_| !line.held_back);
        let before = head(line);
        how(line);
        let (after, empty) = (head(line), line.jobs.is_empty());
        if before != after {
            before.map(|turn| self.heads.remove(&(turn, shape)));
            self.heads.extend(after.map(|turn| (turn, shape)));
        }
        if empty {
            self.lines.remove(&shape);
        }
    }
}

impl Level {
    /// Adds a job. Says who its submitter is here, and whether it is the first of its line.
    pub(super) fn put(&mut self, submitter: &str, shape: u64, turn: Turn) -> (Arc<str>, bool) {
        let mut first = false;
        let put = |party: &mut Party| {
            party.change(shape, |line| {
                first = line.jobs.is_empty();
                line.jobs.insert(turn);
            });
            Arc::clone(&party.submitter)
        };
        let name = match self.parties.get_mut(submitter) {
            Some(party) => Self::move_claim(&mut self.claims, party, put),
            None => {
                let known = self.away.remove_entry(submitter);
                let (name, round) = known.unwrap_or_else(|| (Arc::from(submitter), self.round + 1));
                let (round, submitter) = (round.max(self.round), Arc::clone(&name));
                let party = Party { submitter, round, lines: BTreeMap::new(), heads: BTreeSet::new() };
                Self::move_claim(&mut self.claims, self.parties.entry(name).or_insert(party), put)
            }
        };
        (name, first)
    }

    /// Gives a job another turn in its line. Says whether it stood there.
    pub(super) fn reorder(&mut self, submitter: &str, shape: u64, before: Turn, after: Turn) -> bool {
        let mut stood = false;
        self.change(submitter, |party| {
            party.change(shape, |line| stood = line.jobs.replace(before, after));
        });
        stood
    }

    /// Takes a job out, whose submitter has had its turn, or not. Says whether it was the last of its line.
    pub(super) fn remove(&mut self, submitter: &str, shape: u64, turn: Turn, served: bool) -> bool {
        let (mut stood, mut last) = (false, false);
        let round = self.change(submitter, |party| {
            party.change(shape, |line| {
                stood = line.jobs.remove(turn);
                last = stood && line.jobs.is_empty();
            });
            party.round
        });
        if !stood {
            return false;
        }
        if served {
            self.served(submitter, round.unwrap_or(0));
        } else if let Some(round) = round.filter(|_| !self.parties.contains_key(submitter)) {
            if self.away.len() >= SUBMITTERS_AWAY {
                self.away.pop_first();
            }
            self.away.insert(Arc::from(submitter), round);
        }
        if self.parties.is_empty() {
            self.away.clear();
        }
        last
    }

    /// A job of this submitter was taken: its next one goes in the round after this. Who could not go for some rounds goes
    /// at once when it can, and does not catch up on them.
    fn served(&mut self, submitter: &str, round: u64) {
        if round > self.round {
            self.round = round;
            self.away.retain(|_, away| *away >= round);
        }
        let next = self.round + 1;
        self.change(submitter, |party| party.round = next);
    }

    pub(super) fn contains(&self, submitter: &str, shape: u64, turn: Turn) -> bool {
        let line = self.parties.get(submitter).and_then(|party| party.lines.get(&shape));
        line.is_some_and(|line| line.jobs.contains(turn))
    }

    /// Holds a line back, or no longer.
    pub(super) fn hold_back(&mut self, submitter: &str, shape: u64, held_back: bool) {
        if self.has_line(submitter, shape) {
            self.change(submitter, |party| party.change(shape, |line| line.held_back = held_back));
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.claims.is_empty()
    }

    /// The first job that is worth a look; none also when that has no steps left.
    pub(super) fn first(&self, seen: &mut Seen, look: &mut Look) -> Option<(Turn, u64, Arc<str>)> {
        let from = seen.claim.take().map_or(Bound::Unbounded, Bound::Included);
        for claim in self.claims.range((from, Bound::Unbounded)) {
            seen.claim = Some(claim.clone());
            let party = self.parties.get(&claim.submitter).filter(|_| look.affords(1))?;
            let from = seen.heads.get(&claim.submitter).copied();
            let mut last = None;
            for head in party.heads.range((from.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
            {
                if !look.has_passed(head.1) || !look.affords(1) {
                    break;
                }
                last = Some(*head);
            }
            if let Some(last) = last {
                seen.heads.insert(Arc::clone(&claim.submitter), last);
            }
            let from = last.or(from).map_or(Bound::Unbounded, Bound::Excluded);
            if let Some((turn, shape)) = party.heads.range((from, Bound::Unbounded)).next() {
                return Some((*turn, *shape, Arc::clone(&claim.submitter)));
            }
        }
        None
    }

    fn has_line(&self, submitter: &str, shape: u64) -> bool {
        self.parties.get(submitter).is_some_and(|party| party.lines.contains_key(&shape))
    }

    /// Changes what a submitter has, and brings its claim in line with it.
    fn change<T>(&mut self, submitter: &str, how: impl FnOnce(&mut Party) -> T) -> Option<T> {
        let party = self.parties.get_mut(submitter)?;
        let changed = Self::move_claim(&mut self.claims, party, how);
        if party.lines.is_empty() {
            self.parties.remove(submitter);
        }
        Some(changed)
    }

    /// Changes what a submitter has, and moves its claim to where it stands then.
    fn move_claim<T>(
        claims: &mut BTreeSet<Claim>,
        party: &mut Party,
        how: impl FnOnce(&mut Party) -> T,
    ) -> T {
        let before = party.standing();
        let changed = how(party);
        let after = party.standing();
        if before != after {
            let claim = |(round, oldest)| Claim { round, oldest, submitter: Arc::clone(&party.submitter) };
            before.map(|standing| claims.remove(&claim(standing)));
            claims.extend(after.map(claim));
        }
        changed
    }
}
