//! Data goes to standard output, talk to standard error.

use std::io::{self, ErrorKind, Write as _};

use serde_json::Value;

pub(crate) use bridge::text::safe;

use crate::exit::Failure;

/// Writes one line of data.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes data as it is.
pub(crate) fn bytes(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(data).and_then(|()| out.flush()).map_err(|cause| match cause.kind() {
        ErrorKind::BrokenPipe => Failure::unread(),
        _ => Failure::error(format!("writing to standard output: {cause}")),
    })
}

/// Writes a JSON value, indented.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(&format!("{value:#}"))
}

/// Says something to the person; when nobody can hear it, nothing is lost.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes rows in aligned columns; the first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) -> Result<(), Failure> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut text = String::new();
    for row in rows {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            shown.push_str(cell);
            shown.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    bytes(text.as_bytes())
}

/// A member of an answer as text: what is missing or null is `-`. Control characters never reach the terminal.
pub(crate) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_string(),
        Some(Value::String(text)) => safe(text),
        Some(Value::Bool(flag)) => if *flag { "yes" } else { "no" }.to_string(),
        Some(other) => safe(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_others_cannot_drive_the_terminal() {
        let value = serde_json::json!({"name": "a\u{1b}[2Jb\n", "n": 3, "none": null, "flag": true});
        assert_eq!(cell(&value, "/name"), "a\\u{1b}[2Jb\\n");
        assert_eq!(
            (cell(&value, "/n"), cell(&value, "/none"), cell(&value, "/x")),
            ("3".into(), "-".into(), "-".into())
        );
        assert_eq!(cell(&value, "/flag"), "yes");
    }
}
