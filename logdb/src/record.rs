//! One line of a log: who says it, when, about what.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::JobId;
use serde::{Deserialize, Serialize};

use crate::limits;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever looks for a fault in the program.
    Debug,
    /// The story.
    Info,
    /// Something is not as it should be; the cluster copes.
    Warn,
    /// Somebody must do something.
    Error,
}

impl Level {
    /// The word of the public surface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A record. Its texts hold no control characters: [`Record::new`] escapes them, so a record is one line anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `cluster` for facts of the ledger, `NAME/INCARNATION` for a container's own lines.
    pub source: Arc<str>,
    /// Its number within the source, from 1.
    pub seq: u64,
    /// Wall time, milliseconds since 1970 (RFC 3339 when written).
    #[serde(rename = "time", with = "rfc3339")]
    pub time_ms: u64,
    /// How loud.
    pub level: Level,
    /// What kind of line: `accepted`, `dispatched`, `promoted` …
    pub event: Cow<'static, str>,
    /// The job it is about.
    #[serde(default, with = "job_text")]
    pub job: Option<JobId>,
    /// The node it is about, by name.
    pub node: Arc<str>,
    /// The sentence.
    pub message: String,
}

impl Record {
    /// A record whose texts are made safe: control characters escaped, lengths bounded.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "a record has eight fields and no sensible default for any"
    )]
    pub fn new(
        source: impl Into<Arc<str>>,
        seq: u64,
        time_ms: u64,
        level: Level,
        event: impl Into<Cow<'static, str>>,
        job: Option<JobId>,
        node: &str,
        message: &str,
    ) -> Self {
        Self::of_node(source, seq, time_ms, level, event, job, safe_name(node), message.into())
    }

    /// The same about a node whose name is safe already, and may be shared.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn of_node(
        source: impl Into<Arc<str>>,
        seq: u64,
        time_ms: u64,
        level: Level,
        event: impl Into<Cow<'static, str>>,
        job: Option<JobId>,
        node: Arc<str>,
        message: Cow<'_, str>,
    ) -> Self {
        let event = event.into();
        let event = match escape(&event, limits::NAME_BYTES) {
            Cow::Borrowed(_) => event,
            Cow::Owned(escaped) => Cow::Owned(escaped),
        };
        let message = match escape(&message, limits::MESSAGE_BYTES) {
            Cow::Borrowed(_) => message.into_owned(),
            Cow::Owned(escaped) => escaped,
        };
        Self { source: source.into(), seq, time_ms, level, event, job, node, message }
    }

    /// The line for people: number, time, level, node, sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let level = self.level.word();
        format!("{} {} {level} {} {}", self.seq, time_text(self.time_ms), self.node, self.message)
    }

    /// The line for programs: one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        match serde_json::to_string(self) {
            Ok(line) => line,
            Err(error) => unreachable!("a record of texts and numbers is always JSON: {error}"),
        }
    }

    /// The same behind what is there already.
    pub(crate) fn append_json(&self, to: &mut Vec<u8>) {
        match serde_json::to_writer(to, self) {
            Ok(()) => {}
            Err(error) => unreachable!("a record of texts and numbers is always JSON: {error}"),
        }
    }

    /// Memory it takes, about.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let fixed = 160;
        fixed + self.message.capacity() + self.event.len() + self.node.len()
    }
}

/// A node's name as a record bears it.
pub(crate) fn safe_name(name: &str) -> Arc<str> {
    Arc::from(escape(name, limits::NAME_BYTES))
}

/// Escapes what would change a terminal or pretend to be another line (control characters, line and paragraph
/// separators, marks that turn the reading direction) and cuts after `most_bytes`, saying how much is missing.
/// What is safe already comes back unchanged.
#[must_use]
pub fn escape(text: &str, most_bytes: usize) -> Cow<'_, str> {
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte);
    if text.len() <= most_bytes && (text.bytes().all(is_plain) || !text.chars().any(is_unsafe)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().min(most_bytes) + 32);
    for (at, c) in text.char_indices() {
        if at + c.len_utf8() > most_bytes {
            let _ = write!(safe, "… ({} bytes more)", text.len() - at);
            break;
        }
        if is_unsafe(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn time_text(time_ms: u64) -> String {
    rfc3339_of(time_ms).to_string()
}

fn rfc3339_of(time_ms: u64) -> impl std::fmt::Display {
    let year_9999_ms = 253_402_300_799_000;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time_ms.min(year_9999_ms)))
}

/// Milliseconds since 1970 now; 0 on a clock set before that.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

mod rfc3339 {
    use std::time::UNIX_EPOCH;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time_ms: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&super::rfc3339_of(*time_ms))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

mod job_text {
    use protocol::JobId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(job: &Option<JobId>, to: S) -> Result<S::Ok, S::Error> {
        match job {
            Some(job) => to.collect_str(job),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<JobId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_its_message_holds() {
        let evil = "a\nb\r\u{1b}[31mred\u{0}\u{202e}rtl\u{2028}end";
        let record = Record::new("n/1", 7, 0, Level::Info, "accepted", None, "n\n1", evil);
        assert_eq!(
            record.text(),
            "7 1970-01-01T00:00:00.000Z info n\\n1 a\\nb\\r\\u{1b}[31mred\\u{0}\\u{202e}rtl\\u{2028}end"
        );
        assert_eq!(record.json().lines().count(), 1);
        assert_eq!(
            escape(&record.message, limits::MESSAGE_BYTES),
            record.message,
            "escaping twice changes nothing"
        );
    }

    #[test]
    fn json_has_the_names_of_the_contract_and_reads_back() {
        let job: JobId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let record =
            Record::new("cluster", 3, 1_700_000_000_123, Level::Warn, "lost", Some(job), "w", "gone");
        let line = record.json();
        assert_eq!(
            line,
            r#"{"source":"cluster","seq":3,"time":"2023-11-14T22:13:20.123Z","level":"warn","event":"lost","job":"01ARZ3NDEKTSV4RRFFQ69G5FAV","node":"w","message":"gone"}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character_and_says_how_much_is_missing() {
        let long = "ä".repeat(limits::MESSAGE_BYTES);
        let record = Record::new("n/1", 1, 0, Level::Info, "x", None, "n", &long);
        assert!(record.message.len() < limits::MESSAGE_BYTES + 40);
        assert!(record.message.ends_with("… (8192 bytes more)"), "{}", &record.message[8180..]);
    }
}
