//! Lines `::progress 0.4 some text` that a program prints: they say how far it is, and are no part of what it printed.

use protocol::limits::PROGRESS_TEXT_BYTES;

/// How such a line begins.
const BEGIN: &[u8] = b"::progress ";
/// A longer line is an ordinary one.
const LINE_BYTES: usize = 1 << 10;

/// How far a program says it is: thousandths of the whole, and a text.
pub(super) type Said = (u16, String);

/// Takes these lines out of a stream, however it is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// The beginning of a line that may be one of them.
    open: Vec<u8>,
    /// The line that is being read is an ordinary one.
    ordinary: bool,
}

impl Sieve {
    /// What of a piece (and of what was held back before it) was printed for others, and the last progress said in it.
    pub(super) fn sift(&mut self, piece: &[u8]) -> (Vec<u8>, Option<Said>) {
        let (mut kept, mut said) = (Vec::with_capacity(self.open.len() + piece.len()), None);
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.ordinary {
                kept.extend_from_slice(part);
                self.ordinary = !ends;
                continue;
            }
            if self.open.is_empty() && !may_be(part) {
                kept.extend_from_slice(part);
                self.ordinary = !ends;
                continue;
            }
            self.open.extend_from_slice(part);
            match read(&self.open).filter(|_| ends) {
                Some(told) => said = Some(told),
                None if !ends && may_be(&self.open) => continue,
                None => {
                    kept.append(&mut self.open);
                    self.ordinary = !ends;
                }
            }
            self.open.clear();
        }
        (kept, said)
    }

    /// The stream has ended: what was held back.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let open = std::mem::take(&mut self.open);
        if read(&open).is_some() { Vec::new() } else { open }
    }
}

/// Whether a line that begins so may be one of ours.
fn may_be(line: &[u8]) -> bool {
    line.len() <= LINE_BYTES && (line.starts_with(BEGIN) || BEGIN.starts_with(line))
}

/// Reads a whole line; none when it is an ordinary one.
fn read(line: &[u8]) -> Option<Said> {
    if line.len() > LINE_BYTES {
        return None;
    }
    let text = std::str::from_utf8(line.strip_prefix(BEGIN)?).ok()?.trim();
    let (value, text) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut text: String =
        text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let end = (0..=PROGRESS_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    Some((thousandths(value)?, text))
}

/// `0.4`: a number from 0 to 1 with decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let part: u16 = format!("{decimals:0<3}").get(..3)?.parse().ok()?;
    match whole.parse().ok()? {
        0_u16 => Some(part),
        1 if decimals.bytes().all(|byte| byte == b'0') => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(stream: &[u8], step: usize) -> (String, Vec<Said>) {
        let (mut sieve, mut kept, mut said) = (Sieve::default(), Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            let (more, told) = sieve.sift(piece);
            kept.extend(more);
            said.extend(told);
        }
        kept.extend(sieve.rest());
        (String::from_utf8(kept).unwrap(), said)
    }

    #[test]
    fn progress_is_taken_out_of_a_stream_however_it_is_cut() {
        let stream = b"one\n::progress 0.4 half way\ntwo :\n:\n::progressive\n::progress 1\r\n\n::\nthree";
        let expected = "one\ntwo :\n:\n::progressive\n\n::\nthree";
        for step in [1, 2, 5, 11, 12] {
            let (kept, said) = sifted(stream, step);
            assert_eq!(
                (kept.as_str(), said),
                (expected, vec![(400, "half way".into()), (1_000, String::new())]),
                "{step}"
            );
        }
        assert_eq!(sifted(stream, 1000).1, [(1_000, String::new())], "the last one of a piece is the news");
    }

    #[test]
    fn what_is_no_progress_is_output() {
        for line in [
            "::progress\n",
            "::progress \n",
            "::progress soon\n",
            "::progress 1.1\n",
            "::progress 2\n",
            "::progress -0.5\n",
            "::progress 0.\n",
            "x ::progress 0.5\n",
            "::progress 0.5\u{7f}\n",
        ] {
            assert_eq!(sifted(line.as_bytes(), 3), (line.to_owned(), Vec::new()));
        }
        let long = format!("::progress 0.5 {}\n::progress 0.25\n", "x".repeat(5_000));
        let (kept, said) = sifted(long.as_bytes(), 100);
        assert_eq!((kept.len(), said), (5_016, vec![(250, String::new())]));
        // The end of the stream ends a line.
        assert_eq!(sifted(b"::progress 0.5", 3).0, "");
    }

    #[test]
    fn a_text_is_bounded_and_holds_no_control_characters() {
        let (_, said) =
            sifted(format!("::progress 0.0619 a\u{1b}b{}\n", "\u{e4}".repeat(300)).as_bytes(), 4096);
        let (value, text) = &said[0];
        assert_eq!((*value, text.len(), text.starts_with("a b\u{e4}")), (61, PROGRESS_TEXT_BYTES - 1, true));
    }
}
