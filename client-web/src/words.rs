//! How values are put into words for people.

use crate::limits::{EXCERPT_CHARS, SHOWN_CHARS};
use crate::model::{Job, Outcome};

/// Bytes with a unit of 1024.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scale = 1_u64;
    let mut unit = units[0];
    for next in &units[1..] {
        if count / scale < 1024 {
            break;
        }
        scale *= 1024;
        unit = next;
    }
    format!("{} {unit}", count / scale)
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, most_chars: usize) -> String {
    match text.char_indices().nth(most_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A result in a row: its output, else what went wrong.
pub(crate) fn result(job: &Job) -> String {
    let Some(outcome) = &job.result else { return String::new() };
    match &outcome.output {
        Some(output) if !output.is_empty() || outcome.error.is_none() => {
            cut(output.trim_end(), EXCERPT_CHARS)
        }
        _ if outcome.error.is_some() => cut(outcome.error.as_deref().unwrap_or_default(), EXCERPT_CHARS),
        _ => format!("({})", bytes(outcome.output_bytes)),
    }
}

/// The node that has, or had, the job.
pub(crate) fn node(job: &Job) -> String {
    job.attempts.last().map(|attempt| attempt.node.clone()).unwrap_or_default()
}

/// The output on a job's own page.
pub(crate) fn output(outcome: &Outcome) -> String {
    match (&outcome.output, &outcome.output_base64) {
        (Some(output), _) => cut(output, SHOWN_CHARS),
        (None, Some(_)) => format!("({}, not text)", bytes(outcome.output_bytes)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_excerpts_read_well() {
        assert_eq!((bytes(0), bytes(1023), bytes(1 << 20)), ("0 B".into(), "1023 B".into(), "1 MiB".into()));
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }

    #[test]
    fn a_row_shows_the_output_or_the_error() {
        let row = |output: Option<&str>, error: Option<&str>| {
            let outcome = Outcome {
                output: output.map(str::to_string),
                error: error.map(str::to_string),
                output_bytes: 7,
                ..Outcome::default()
            };
            result(&Job { result: Some(outcome), ..Job::default() })
        };
        assert_eq!(row(Some("42\n"), None), "42");
        assert_eq!(row(Some(""), Some("exit code 1")), "exit code 1");
        assert_eq!(row(None, None), "(7 B)");
        assert_eq!(result(&Job::default()), "");
    }
}
