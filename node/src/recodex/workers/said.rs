//! What workers say of themselves, as people read it: who they are, and how far they are.

use protocol::limits::PROGRESS_TEXT_BYTES;
use protocol::{AttemptRef, Progress};

use bytes::Bytes;

use crate::ports::PeerId;

/// Thousandths of the whole that each state stands for. (`FAILED` and `ABORTED` are at no place of their own.)
const STATES: [(&[u8], u16); 5] =
    [(b"DOWNLOADED", 100), (b"STARTED", 200), (b"ENDED", 800), (b"UPLOADED", 900), (b"FINISHED", 1_000)];

/// How far a worker said it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saying {
    permille: u16,
    /// Empty: nothing yet.
    text: String,
}

impl Saying {
    /// It says a state; or `TASK`, a task and the state of that, which says nothing about the whole.
    pub(super) fn heard(&mut self, states: &[Bytes]) {
        let of_task = states.first().filter(|_| states.len() > 1).is_some_and(|word| &word[..] == b"TASK");
        let shown = if of_task { &states[1..] } else { states };
        if !of_task
            && let Some(place) =
                STATES.iter().find(|(state, _)| Some(*state) == shown.first().map(|word| &word[..]))
        {
            self.permille = place.1;
        }
        let words: Vec<_> = shown.iter().map(|word| String::from_utf8_lossy(word)).collect();
        self.text = bounded(&plain(&words.join(" ")), PROGRESS_TEXT_BYTES);
    }

    /// The same of the attempt.
    pub(super) fn progress(&self, attempt: AttemptRef) -> Option<Progress> {
        let said = !self.text.is_empty();
        said.then(|| Progress { attempt, permille: self.permille, text: self.text.clone() })
    }
}

/// A worker as people read it: the name of its connection, and how it describes itself.
pub(super) fn shown(peer: &PeerId, description: &str) -> String {
    let name: String = peer.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} ({})", plain(description))
}

fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn bounded(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(saying: &mut Saying, states: &[&'static str]) -> (u16, String) {
        let states: Vec<Bytes> = states.iter().map(|state| Bytes::from_static(state.as_bytes())).collect();
        saying.heard(&states);
        (saying.permille, saying.text.clone())
    }

    #[test]
    fn a_state_says_how_far_the_whole_is_and_a_task_only_what_it_is_at() {
        let mut saying = Saying::default();
        let attempt = AttemptRef { job: protocol::JobId(1), attempt: 1 };
        assert_eq!(saying.progress(attempt), None, "who said nothing is nowhere");
        let table: &[(&[&'static str], u16, &str)] = &[
            (&["DOWNLOADED"], 100, "DOWNLOADED"),
            (&["STARTED"], 200, "STARTED"),
            (&["TASK", "t1", "COMPLETED"], 200, "t1 COMPLETED"),
            (&["ENDED"], 800, "ENDED"),
            (&["FAILED"], 800, "FAILED"),
            (&["UPLOADED"], 900, "UPLOADED"),
            (&["ABORTED"], 900, "ABORTED"),
            (&["FINISHED"], 1_000, "FINISHED"),
            (&["TASK"], 1_000, "TASK"),
        ];
        for (states, permille, text) in table {
            assert_eq!(heard(&mut saying, states), (*permille, (*text).to_owned()), "{states:?}");
        }
        let said = saying.progress(attempt).map(|progress| (progress.permille, progress.text));
        assert_eq!(said, Some((1_000, "TASK".to_owned())));
    }

    #[test]
    fn a_text_is_bounded_and_holds_no_control_characters() {
        let long: &'static str = "\u{e4}".repeat(PROGRESS_TEXT_BYTES).leak();
        let (_, text) = heard(&mut Saying::default(), &["TASK", "a\nb", long]);
        assert!(text.starts_with("a b \u{e4}") && text.len() <= PROGRESS_TEXT_BYTES, "{text}");
        assert_eq!(shown(&PeerId(Bytes::from_static(b"\x00\xe4")), "w\u{1b}one"), "00e4 (w one)");
    }
}
