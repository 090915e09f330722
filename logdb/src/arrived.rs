//! What comes in at the store's port: our JSON records, or lines of text (seed 000's logger).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::record::{Level, Record, escape, now_ms};

/// The source of lines that came as text: no container can bear it, because theirs have a `/`.
pub(crate) const TEXT: &str = "text";
/// The source of facts of the ledger.
const CLUSTER: &str = "cluster";

/// A record on its way to the store, with the number its container bears on consoles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    #[serde(flatten)]
    pub(crate) record: Record,
    /// The founder 1, then in order of joining; client-web 0; none: not a member yet.
    #[serde(default)]
    pub(crate) number: Option<u32>,
}

impl Arrived {
    /// Reads one frame. Never fails: what is no record of ours is a line of text. None for an empty frame.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        if frame.first() == Some(&b'{')
            && let Ok(arrived) = serde_json::from_slice::<Self>(frame)
            && arrived.is_plausible()
        {
            return Some(arrived.made_safe());
        }
        let text = String::from_utf8_lossy(frame);
        let text = text.trim_end_matches(['\r', '\n', '\0']);
        if text.is_empty() {
            return None;
        }
        // Numbered when it is stored: a line of text has no number of its own.
        let record = Record::new(TEXT, 0, now_ms(), Level::Info, "text", None, "", text);
        Some(Self { record, number: None })
    }

    /// The frame for the wire.
    pub(crate) fn frame(&self) -> String {
        match serde_json::to_string(self) {
            Ok(line) => line,
            Err(error) => unreachable!("a record of texts and numbers is always JSON: {error}"),
        }
    }

    /// Whether it has a number of its own, by which a repeat is recognised.
    pub(crate) fn is_numbered(&self) -> bool {
        &*self.record.source != TEXT
    }

    fn is_plausible(&self) -> bool {
        let Record { source, seq, .. } = &self.record;
        let named = &**source == CLUSTER || source.contains('/');
        named && source.len() <= 2 * limits::NAME_BYTES && (1..=i64::MAX.unsigned_abs()).contains(seq)
    }

    /// A stranger may have written it: every text is escaped and bounded anew.
    fn made_safe(self) -> Self {
        let Record { source, seq, time_ms, level, event, job, node, message } = self.record;
        let source: Arc<str> = Arc::from(escape(&source, 2 * limits::NAME_BYTES));
        Self {
            record: Record::new(source, seq, time_ms, level, event, job, &node, &message),
            number: self.number,
        }
    }
}

/// A line as the store keeps it: numbered by arrival.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    /// Its number by arrival, from 1, without holes.
    pub(crate) n: u64,
    /// The number of the container that said it.
    pub(crate) container: Option<u32>,
    #[serde(flatten)]
    pub(crate) record: Record,
}

impl Kept {
    /// The line in the seed's form.
    pub(crate) fn text(&self) -> String {
        format!("<Log {}, Container {}: {}>", self.n, self.container_text(), self.record.message)
    }

    /// The line for consoles.
    pub(crate) fn console(&self) -> String {
        format!("{},{}", self.container_text(), self.record.message)
    }

    /// The line for programs: one JSON object.
    pub(crate) fn json(&self) -> String {
        match serde_json::to_string(self) {
            Ok(line) => line,
            Err(error) => unreachable!("a record of texts and numbers is always JSON: {error}"),
        }
    }

    fn container_text(&self) -> String {
        self.container.map_or_else(|| "-".to_string(), |number| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str) -> Record {
        Record::new("w/1", 3, 1_000, Level::Warn, "lost", None, "w", message)
    }

    #[test]
    fn a_record_travels_with_its_containers_number() {
        let sent = Arrived { record: record("gone"), number: Some(2) };
        assert!(sent.frame().contains("\"number\":2"));
        assert_eq!(Arrived::read(sent.frame().as_bytes()), Some(sent));
        let unnumbered = Arrived::read(record("gone").json().as_bytes()).unwrap();
        assert_eq!((unnumbered.record.seq, unnumbered.number), (3, None));
    }

    #[test]
    fn whatever_is_no_record_is_one_line_of_text() {
        for frame in [
            &b"FROM Client C_1 (class \"B\")\n"[..],
            b"{\"source\":",
            b"{}",
            b"\xff\xfe\x00\x01",
            b"{\"source\":\"text\",\"seq\":1,\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"info\",\"event\":\"x\",\"node\":\"\",\"message\":\"m\"}",
            b"{\"source\":\"a/b\",\"seq\":0,\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"info\",\"event\":\"x\",\"node\":\"\",\"message\":\"m\"}",
        ] {
            let read = Arrived::read(frame).unwrap();
            assert_eq!((&*read.record.source, read.record.seq), (TEXT, 0), "{frame:?}");
            assert!(!read.record.message.contains('\n'));
        }
        assert_eq!(Arrived::read(b""), None);
        assert_eq!(Arrived::read(b"\r\n"), None);
    }

    #[test]
    fn a_strangers_record_cannot_change_a_terminal() {
        let mut evil = Arrived { record: record("x"), number: None };
        evil.record.message = "a\u{1b}[31m\nfake".to_string();
        evil.record.source = Arc::from("a\n/b");
        let read = Arrived::read(evil.frame().as_bytes()).unwrap();
        assert_eq!(read.record.message, "a\\u{1b}[31m\\nfake");
        assert_eq!(&*read.record.source, "a\\n/b");
    }

    #[test]
    fn the_seeds_form_names_number_and_container() {
        let mut kept = Kept { n: 3, container: Some(1), record: record("Is master container") };
        assert_eq!(kept.text(), "<Log 3, Container 1: Is master container>");
        assert_eq!(kept.console(), "1,Is master container");
        kept.container = None;
        assert_eq!(kept.console(), "-,Is master container");
    }
}
