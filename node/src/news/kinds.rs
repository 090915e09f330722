//! The four kinds of information a node has of itself, and which of them its owner shares.

use std::collections::BTreeSet;

/// A kind of node information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What it is: cluster, name, version, addresses.
    Common,
    /// What it has: cores, memory, kernel, headers, classes.
    Static,
    /// How busy it is.
    Dynamic,
    /// What it does in the cluster: role, term, indexes.
    State,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Common, Self::Static, Self::Dynamic, Self::State];

    /// Its word in topics, views and settings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::State => "state",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The kinds an owner shares; what is not among them leaves the node in no way and is not in its own view either.
pub type Share = BTreeSet<Kind>;

/// Everything.
#[must_use]
pub fn share_all() -> Share {
    Kind::ALL.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.word()), Some(kind));
        }
        assert_eq!((Kind::named("State"), Kind::named("")), (None, None));
    }
}
