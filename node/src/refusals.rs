//! What was said of late about nodes that were not let in, so that a stranger who tries on does not fill the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The same is said again after so long.
const AGAIN: Duration = Duration::from_secs(60);
/// Different ones within that time; more are not said.
const TEXTS: usize = 32;

/// What was said when.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    said: BTreeMap<String, Instant>,
}

impl Refusals {
    /// Whether this is to be said, which it then counts as.
    pub(crate) fn is_news(&mut self, text: &str, now: Instant) -> bool {
        self.said.retain(|_, said| now.duration_since(*said) < AGAIN);
        if self.said.contains_key(text) || self.said.len() >= TEXTS {
            return false;
        }
        self.said.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_many_different_ones_are_bounded() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert!(refusals.is_news("a", start) && refusals.is_news("b", start));
        assert!(!refusals.is_news("a", start + AGAIN / 2));
        assert!(refusals.is_news("a", start + AGAIN));
        let said = (0..1_000).filter(|n| refusals.is_news(&format!("x{n}"), start + AGAIN)).count();
        assert_eq!(said, TEXTS - 1);
    }
}
