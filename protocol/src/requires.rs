//! What a job may require of a node's capability headers, form by form.
//!
//! ```text
//!   linux        this value
//!   a100|h100    one of these (each in one of the forms above and below)
//!   8            this value, or a number that is at least this
//!   >=8          a number that is at least this
//!   *            any value at all
//! ```
//! A header of a node may have several values: one that fits is enough. Numbers are whole ones, so that nobody takes the
//! version 3.10 for less than 3.9.

use alloc::collections::BTreeSet;
use alloc::string::String;

/// A text in none of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// Nothing where a value should be.
    #[error("must not be empty, and no alternative of it either")]
    Empty,
    /// `>=` without a number.
    #[error(">= must be followed by a whole number up to 18446744073709551615")]
    NoNumber,
    /// `*` beside something else.
    #[error("* stands for any value and stands alone")]
    NotAlone,
    /// Another comparison.
    #[error("is in no known form: a value, a|b, 8 or >=8 (at least), or * (any value)")]
    Unknown,
}

/// Whether a text is a requirement in one of the forms.
///
/// # Errors
/// It is in none of them.
pub fn check(wanted: &str) -> Result<(), BadForm> {
    if wanted.trim() == "*" {
        return Ok(());
    }
    wanted.split('|').map(str::trim).try_for_each(|one| {
        if one.is_empty() {
            Err(BadForm::Empty)
        } else if one.contains('*') {
            Err(BadForm::NotAlone)
        } else if let Some(least) = one.strip_prefix(">=") {
            number(least.trim()).map(drop).ok_or(BadForm::NoNumber)
        } else if one.starts_with(['<', '>', '=', '!', '~']) {
            Err(BadForm::Unknown)
        } else {
            Ok(())
        }
    })
}

/// Whether a header with these values (none: the node does not have it) is what is wanted.
#[must_use]
pub fn satisfies(wanted: &str, has: &BTreeSet<String>) -> bool {
    if wanted.trim() == "*" {
        return !has.is_empty();
    }
    wanted.split('|').map(str::trim).any(|one| {
        let least = number(one.strip_prefix(">=").map_or(one, str::trim));
        let enough = |value: &String| least.is_some_and(|least| number(value).is_some_and(|v| v >= least));
        has.contains(one) || has.iter().any(enough)
    })
}

fn number(text: &str) -> Option<u64> {
    // A sign is none of ours, though the parser takes one.
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn has(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form_takes_what_it_should_and_nothing_else() {
        let table: &[(&str, &[&str], bool)] = &[
            ("linux", &["linux"], true),
            ("linux", &["Linux", "bsd"], false),
            ("linux", &[], false),
            ("windows | linux", &["linux"], true),
            ("c|d", &["a", "b"], false),
            ("*", &["anything"], true),
            (" * ", &["anything"], true),
            ("*", &[], false),
            ("8", &["8"], true),
            ("8", &["16"], true),
            ("8", &["4", "16"], true),
            ("16", &["8"], false),
            ("007", &["7"], true),
            (">=8", &["8"], true),
            (">= 9", &["8"], false),
            (">=8", &["eight"], false),
            ("none|>=8", &["9"], true),
            ("none|>=8", &["none"], true),
            ("+8", &["9"], false),
            ("3.9", &["3.10"], false),
        ];
        for (wanted, values, fits) in table {
            assert_eq!(check(wanted), Ok(()), "{wanted}");
            assert_eq!(satisfies(wanted, &has(values)), *fits, "{wanted} of {values:?}");
        }
    }

    #[test]
    fn what_is_in_no_form_is_refused() {
        let table = [
            ("", BadForm::Empty),
            ("  ", BadForm::Empty),
            ("a||b", BadForm::Empty),
            ("a|", BadForm::Empty),
            (">=", BadForm::NoNumber),
            (">=x", BadForm::NoNumber),
            (">=-1", BadForm::NoNumber),
            (">=1.5", BadForm::NoNumber),
            (">=18446744073709551616", BadForm::NoNumber),
            ("a|*", BadForm::NotAlone),
            ("a100*", BadForm::NotAlone),
            ("<8", BadForm::Unknown),
            (">8", BadForm::Unknown),
            ("!=a", BadForm::Unknown),
            ("a|~b", BadForm::Unknown),
        ];
        for (wanted, fault) in table {
            assert_eq!(check(wanted), Err(fault), "{wanted:?}");
        }
    }
}
