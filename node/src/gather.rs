//! The time that [`cast::Gathering`] does not have: how long what came may wait for more.

use std::time::Duration;

use cast::Gathering;
use tokio::time::Instant;

/// Requests at this node wait so long for others, at most. Longer than it takes clients on the same machine to ask again; where
/// they are further away it is soon not tried any more.
const OWN: Duration = Duration::from_millis(2);
/// A leader waits so long for a fuller entry, at most.
const ENTRY: Duration = Duration::from_millis(4);

/// Until when something waits.
#[derive(Debug)]
pub(crate) struct Patience {
    length: Duration,
    /// Which wait, and its end.
    until: Option<(u64, Instant)>,
}

impl Patience {
    fn new(length: Duration) -> Self {
        Self { length, until: None }
    }

    /// A leader's, for a fuller entry.
    pub(crate) fn for_entry() -> Self {
        Self::new(ENTRY)
    }

    /// When the wait of this number ends; it begins when this is called for it first.
    pub(crate) fn ends(&mut self, wait: Option<u64>) -> Option<Instant> {
        let begun = self.until.take();
        let wait = wait?;
        let is_known = begun.filter(|(known, _)| *known == wait);
        let (_, until) = *self.until.insert(is_known.unwrap_or_else(|| (wait, Instant::now() + self.length)));
        Some(until)
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|(_, until)| Instant::now() >= until)
    }
}

/// What is asked at this node, on its way to the minds.
#[derive(Debug)]
pub(crate) struct Gather {
    gathering: Gathering,
    patience: Patience,
}

impl Gather {
    pub(crate) fn new() -> Self {
        Self { gathering: Gathering::default(), patience: Patience::new(OWN) }
    }

    /// So many were answered, while so many others wait.
    pub(crate) fn answered(&mut self, answered: usize, waiting: usize) {
        self.gathering.answered(answered, waiting);
    }

    /// From how many on it is worth a turn, and when it is anyway.
    pub(crate) fn enough(&mut self) -> (usize, Option<Instant>) {
        let ends = self.patience.ends(self.gathering.wait());
        (self.gathering.wanted().unwrap_or(1), ends)
    }

    /// Whether so many are to wait for more.
    pub(crate) fn holds(&mut self, waiting: usize) -> bool {
        if self.patience.is_over() {
            self.gathering.over(waiting);
        }
        self.gathering.holds(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_has_its_own_end() {
        let mut patience = Patience::new(Duration::from_secs(3_600));
        assert_eq!((patience.ends(None), patience.is_over()), (None, false));
        let first = patience.ends(Some(1)).unwrap();
        assert_eq!(patience.ends(Some(1)), Some(first), "it does not begin anew at each look");
        assert!(!patience.is_over());
        let second = patience.ends(Some(2)).unwrap();
        assert!(second >= first && patience.ends(Some(2)) == Some(second));
        assert_eq!(patience.ends(None), None);
    }

    #[test]
    fn requests_are_held_until_the_others_come_or_patience_ends() {
        let mut gather = Gather { gathering: Gathering::default(), patience: Patience::new(Duration::ZERO) };
        assert_eq!(gather.enough(), (1, None));
        gather.answered(5, 0);
        assert!(gather.holds(2), "its end is not known before the loop sleeps");
        let (enough, end) = gather.enough();
        assert!((enough, end.is_some()) == (3, true));
        assert!(!gather.holds(2), "no longer than that");
        assert_eq!(gather.enough(), (1, None));
    }
}
