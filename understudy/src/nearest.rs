//! Names the nearest known name to one that is unknown.

use protocol::submit::distance;

/// Edits up to which two names count as near.
const NEAR: usize = 2;

/// The nearest of `known`, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let all = known.into_iter().map(|candidate| (distance(name, candidate), candidate));
    all.min().filter(|(edits, _)| *edits <= NEAR).map(|(_, candidate)| candidate)
}

/// ` (did you mean X?)`, or which names there are.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", known.join(", ")),
    }
}
