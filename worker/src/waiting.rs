//! Attempts that wait on this node for a slot or an attached worker, in the order in which they came.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use protocol::{AttemptRef, Dispatch};

/// The waiting attempts. Their number is bounded by what a leader sends ahead of free slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    /// By when they came.
    dispatches: BTreeMap<u64, Dispatch>,
    numbers: BTreeMap<AttemptRef, u64>,
    by_class: BTreeMap<String, BTreeSet<u64>>,
    last: u64,
}

impl Waiting {
    pub(crate) fn push(&mut self, dispatch: Dispatch) {
        self.last += 1;
        self.numbers.insert(dispatch.attempt, self.last);
        match self.by_class.get_mut(&dispatch.spec.class) {
            Some(numbers) => drop(numbers.insert(self.last)),
            None => drop(self.by_class.insert(dispatch.spec.class.clone(), [self.last].into())),
        }
        self.dispatches.insert(self.last, dispatch);
    }

    pub(crate) fn contains(&self, attempt: AttemptRef) -> bool {
        self.numbers.contains_key(&attempt)
    }

    /// All of them, the next one first.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = AttemptRef> + '_ {
        self.dispatches.values().map(|dispatch| dispatch.attempt)
    }

    /// The next one of a class.
    pub(crate) fn first_of(&self, class: &str) -> Option<&Dispatch> {
        self.by_class.get(class)?.first().and_then(|number| self.dispatches.get(number))
    }

    /// The next one of the classes that are `wanted`.
    pub(crate) fn first_where(&self, wanted: impl Fn(&str) -> bool) -> Option<&Dispatch> {
        let firsts = self.by_class.iter().filter(|(class, _)| wanted(class));
        let first = firsts.filter_map(|(_, numbers)| numbers.first()).min()?;
        self.dispatches.get(first)
    }

    /// All of a class, the next one first.
    pub(crate) fn of(&self, class: &str) -> impl Iterator<Item = &Dispatch> {
        let numbers = self.by_class.get(class).into_iter().flatten();
        numbers.filter_map(|number| self.dispatches.get(number))
    }

    pub(crate) fn classes(&self) -> Vec<String> {
        self.by_class.keys().cloned().collect()
    }

    pub(crate) fn remove(&mut self, attempt: AttemptRef) -> Option<Dispatch> {
        let number = self.numbers.remove(&attempt)?;
        let dispatch = self.dispatches.remove(&number)?;
        let class = &dispatch.spec.class;
        if let Some(numbers) = self.by_class.get_mut(class) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_class.remove(class);
            }
        }
        Some(dispatch)
    }
}
