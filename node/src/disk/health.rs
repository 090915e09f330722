//! How the disk of this node is, for whoever asks. The stage writes it, HTTP reads it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the stage found last; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<(Instant, HealthState)>>>);

/// How an unwell disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// A write or sync takes far too long. The node serves and promises nothing meanwhile.
    Hangs,
    /// A write or sync failed: the node takes no part until the disk is well.
    Out {
        /// The file and the error.
        why: String,
    },
}

impl Health {
    /// How it is and since when; none: well.
    #[must_use]
    pub fn trouble(&self) -> Option<(Duration, HealthState)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().map(|(since, state)| (since.elapsed(), state.clone()))
    }

    /// Why this node takes no part; none: it does.
    #[must_use]
    pub fn out(&self) -> Option<String> {
        match self.trouble()? {
            (since, HealthState::Out { why }) => Some(format!(
                "the disk of this node failed {} s ago and it takes no part until the disk is well: {why}",
                since.as_secs()
            )),
            (_, HealthState::Hangs) => None,
        }
    }

    /// In words for people; none: well.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        match self.trouble()? {
            (since, HealthState::Out { why }) => Some(format!("out for {} s: {why}", since.as_secs())),
            (since, HealthState::Hangs) => Some(format!("a write hangs for over {} s", since.as_secs())),
        }
    }

    /// It is so from now on; the moment it began stays when it only gets another reason.
    pub(crate) fn set(&self, new: Option<HealthState>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same_kind =
            |old: &HealthState, new: &HealthState| std::mem::discriminant(old) == std::mem::discriminant(new);
        *state = match (state.take(), new) {
            (_, None) => None,
            (Some((since, old)), Some(new)) if same_kind(&old, &new) => Some((since, new)),
            (_, Some(new)) => Some((Instant::now(), new)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_reason_does_not_make_the_trouble_younger() {
        let health = Health::default();
        assert_eq!((health.words(), health.out()), (None, None));
        health.set(Some(HealthState::Hangs));
        assert!(health.out().is_none(), "a disk that hangs may come back by itself");
        health.set(Some(HealthState::Out { why: "first".to_string() }));
        let (first, _) = health.trouble().unwrap();
        health.set(Some(HealthState::Out { why: "second".to_string() }));
        let (second, state) = health.trouble().unwrap();
        assert!(second >= first);
        assert_eq!(state, HealthState::Out { why: "second".to_string() });
        assert!(health.out().unwrap().contains("second") && health.words().unwrap().contains("second"));
        health.set(None);
        assert_eq!(health.trouble(), None);
    }
}
