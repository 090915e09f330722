//! As much of YAML as a settings file needs: every value with the dotted name of its key and the line it stands on. What a value
//! is (a port, a level) says whoever asks for it, as with the original: `port: 9658` and `port: "9658"` are the same.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Values of one file; more are refused.
const VALUES: usize = 1_000;
/// Maps and lists inside each other; more are refused.
const DEPTH: usize = 16;

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, or one of YAML's words for it.
    Nothing,
    /// A text or a number, as it was written.
    Text(String),
    /// Keys of its own, which are listed by their own names.
    Map,
    /// A list, of whatever.
    List,
}

impl Value {
    /// For messages.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Map => "a map".to_string(),
            Self::List => "a list".to_string(),
        }
    }
}

/// A value and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What is open at the moment.
enum Open {
    /// A map with the name of its key, and the key whose value is next.
    Map { name: String, key: Option<String> },
    /// A list, or a map somewhere in one: what it holds has no name.
    List,
}

/// All values by the dotted names of their keys, those of maps too; the same key twice: the last one.
pub(super) fn values(text: &str) -> Result<BTreeMap<String, Placed>, String> {
    let (mut all, mut open) = (BTreeMap::new(), Vec::new());
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let line = span.start.line();
        let at = |why: &str| Err(format!("line {line}: {why}"));
        let value = match event {
            Event::Scalar(text, style, ..) => match open.last_mut() {
                Some(Open::Map { key: key @ None, .. }) => {
                    *key = Some(text.into_owned());
                    continue;
                }
                _ => scalar(&text, style),
            },
            Event::MappingStart(..) => Value::Map,
            Event::SequenceStart(..) => Value::List,
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            Event::Alias(_) => return at("a reference to another value: write the value itself"),
            // Only the first document counts.
            Event::DocumentEnd => break,
            _ => continue,
        };
        let name = match open.last_mut() {
            None if value == Value::Map => Some(String::new()),
            None if value == Value::Nothing => None,
            None => return at(&format!("must be keys with values, this is {}", value.words())),
            Some(Open::List) => None,
            Some(Open::Map { name, key }) => match key.take() {
                Some(key) if name.is_empty() => Some(key),
                Some(key) => Some(format!("{name}.{key}")),
                None => return at("a key must be a word"),
            },
        };
        match (&value, &name) {
            (Value::Map, Some(name)) => open.push(Open::Map { name: name.clone(), key: None }),
            // Nothing below it has a name: no setting has a list, and which keys are unknown is told by that of the list.
            (Value::Map, None) | (Value::List, _) => open.push(Open::List),
            _ => {}
        }
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            all.insert(name, Placed { line, value });
        }
        if all.len() > VALUES || open.len() > DEPTH {
            return at(&format!("more than {VALUES} values, or more than {DEPTH} inside each other"));
        }
    }
    Ok(all)
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_nothing = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    if is_nothing { Value::Nothing } else { Value::Text(text.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(String, usize, Value)> {
        let all = values(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        all.into_iter().map(|(name, placed)| (name, placed.line, placed.value)).collect()
    }

    fn one(name: &str, line: usize, text: &str) -> (String, usize, Value) {
        (name.to_string(), line, Value::Text(text.to_string()))
    }

    #[test]
    fn every_value_has_its_full_name_and_its_line() {
        let map = |name: &str, line| (name.to_string(), line, Value::Map);
        let text = "# first\na: \"*\" # any\nb:\n  c: 1\n  'd e': {f: 'x: y'}\ng: ~\n";
        let expected = [
            one("a", 2, "*"),
            map("b", 4),
            one("b.c", 4, "1"),
            map("b.d e", 5),
            one("b.d e.f", 5, "x: y"),
            ("g".to_string(), 6, Value::Nothing),
        ];
        assert_eq!(texts(text), expected);
    }

    #[test]
    fn a_value_is_what_was_written_and_the_last_of_a_key_counts() {
        assert_eq!(texts("a: 007\n"), [one("a", 1, "007")]);
        assert_eq!(texts("a: no\na: yes\n"), [one("a", 2, "yes")]);
        assert_eq!(texts("\u{feff}a: ''\n"), [one("a", 1, "")]);
        assert_eq!(texts("a: [1, [2, 3]]\nb: 4\n"), [("a".to_string(), 1, Value::List), one("b", 2, "4")]);
        assert_eq!(
            texts("a: [{b: {c: 1}}, 2]\nd: 3\n"),
            [("a".to_string(), 1, Value::List), one("d", 2, "3")]
        );
        assert_eq!(texts("---\na: 1\n---\nb: 2\n"), [one("a", 2, "1")]);
        for empty in ["", "# nothing\n", "---\n", "~\n", "{}\n"] {
            assert_eq!(texts(empty), [], "{empty:?}");
        }
    }

    #[test]
    fn what_is_no_settings_file_is_refused_with_its_line() {
        for (text, why) in [
            ("a: *\n", "line 1"),
            ("a: 1\n  b: 2\n", "line 2"),
            ("a: \"open\n", "line"),
            ("a: &x 1\nb: *x\n", "line 2: a reference"),
            ("- 1\n", "line 1: must be keys with values, this is a list"),
            ("just words\n", "line 1: must be keys with values"),
            ("[1, 2]: 3\n", "line 1: "),
        ] {
            let refusal = values(text).expect_err(text);
            assert!(refusal.contains(why), "{text:?}: {refusal}");
        }
        let deep = format!("a: {}1{}\n", "[".repeat(DEPTH + 1), "]".repeat(DEPTH + 1));
        assert!(values(&deep).is_err());
    }
}
