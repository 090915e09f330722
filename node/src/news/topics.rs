//! Topics: the first frame of everything told. A subscription is a beginning of one.
//!
//! ```text
//!   info/KIND/NODE    job/CLASS    leader    msg/KIND/NAME    again/msg/KIND/NAME
//! ```

use super::kinds::Kind;
use super::limits::WORD_BYTES;

/// The lead changed.
pub(crate) const LEADER: &str = "leader";
/// Beginning of the topics of node information.
pub(crate) const INFO: &str = "info/";
/// Beginning of the topics of jobs.
pub(crate) const JOB: &str = "job/";
/// Beginning of the topics of agents' messages.
pub(crate) const MESSAGE: &str = "msg/";
/// Beginning of the topics of agents' messages that were told before: for whoever came later, not for whoever counts them.
pub(crate) const AGAIN: &str = "again/";
/// Longest name of a node.
const NODE_BYTES: usize = 200;

/// What a topic is about, as far as views are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    /// Node information.
    Info { kind: Kind, node: &'a str },
    /// An agent's message: its place in the view (`msg/KIND/NAME`).
    Message { place: &'a str },
    /// A job or the lead: no view keeps these.
    Event,
}

impl<'a> Topic<'a> {
    /// Reads a topic; none when it is not one of ours.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        if text == LEADER || text.starts_with(JOB) {
            return Some(Self::Event);
        }
        if let Some(rest) = text.strip_prefix(INFO) {
            let (kind, node) = rest.split_once('/')?;
            return Some(Self::Info { kind: Kind::named(kind)?, node }).filter(|_| is_node(node));
        }
        let place = text.strip_prefix(AGAIN).unwrap_or(text);
        let (kind, name) = place.strip_prefix(MESSAGE)?.split_once('/')?;
        (is_word(kind) && is_word(name)).then_some(Self::Message { place })
    }
}

/// The topic of node information.
pub(crate) fn info(kind: Kind, node: &str) -> String {
    format!("{INFO}{}/{node}", kind.word())
}

/// The topic of a job's changes.
pub(crate) fn job(class: &str) -> String {
    format!("{JOB}{class}")
}

/// The topic of an agent's message, which is its place in the view too.
pub(crate) fn message(kind: &str, name: &str) -> String {
    format!("{MESSAGE}{kind}/{name}")
}

/// Whether this may be the kind or the name of an agent's message. `.` and `..` mean other things in a path.
#[must_use]
pub fn is_word(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=WORD_BYTES).contains(&text.len()) && text.chars().all(good) && !matches!(text, "." | "..")
}

fn is_node(text: &str) -> bool {
    let bad = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    (1..=NODE_BYTES).contains(&text.len()) && !text.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_they_are_made() {
        let of = info(Kind::State, "worker1");
        assert_eq!(of, "info/state/worker1");
        assert_eq!(Topic::read(&of), Some(Topic::Info { kind: Kind::State, node: "worker1" }));
        let said = message("weather", "hall.2");
        assert_eq!(Topic::read(&said), Some(Topic::Message { place: "msg/weather/hall.2" }));
        let again = format!("{AGAIN}{said}");
        assert_eq!(Topic::read(&again), Some(Topic::Message { place: "msg/weather/hall.2" }));
        assert_eq!(Topic::read(LEADER), Some(Topic::Event));
        assert_eq!(Topic::read(&job("")), Some(Topic::Event));
    }

    #[test]
    fn what_is_no_topic_of_ours_is_none() {
        let long = format!("msg/{}/x", "k".repeat(WORD_BYTES + 1));
        for text in [
            "",
            "info",
            "info/state",
            "info/state/",
            "info/mood/n",
            "info/state/a/b",
            "info/state/a b",
            "msg/a",
            "msg/a/",
            "msg//a",
            "msg/a/b/c",
            "msg/a/..",
            "again/info/state/n",
            "again/again/msg/a/b",
            "leaders",
            &long,
        ] {
            assert_eq!(Topic::read(text), None, "{text}");
        }
    }
}
