//! The token that opens a container's HTTP, and the mark that a browser keeps instead of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderValue;
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A shorter one could be guessed.
pub const TOKEN_LEAST_BYTES: usize = 32;
/// A longer one is no token.
pub const TOKEN_MOST_BYTES: usize = 512;
const NONCE_BYTES: usize = 12;
const UNTIL_BYTES: usize = 8;
const PROOF_BYTES: usize = 16;

/// Whoever names it may do everything.
#[derive(Clone)]
pub struct Token(Arc<Inside>);

struct Inside {
    text: String,
    /// Compared instead of the text, so that neither its length nor its beginning shows in the time that takes.
    digest: [u8; 32],
    /// What marks of browsers are made with.
    marks: ChaCha20Poly1305,
}

/// Nobody sees it in a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.text.as_bytes())
    }
}

impl Eq for Token {}

/// Why a text or a file is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too short, too long, or with characters no header takes.
    #[error(
        "it must be {TOKEN_LEAST_BYTES} to {TOKEN_MOST_BYTES} printable characters without spaces: head -c 32 /dev/urandom | base64"
    )]
    Form,
    /// It cannot be read.
    #[error("reading it: {0}")]
    Read(std::io::Error),
}

impl Token {
    /// A token from its text; white space around it does not count.
    ///
    /// # Errors
    /// [`TokenError::Form`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let fits = (TOKEN_LEAST_BYTES..=TOKEN_MOST_BYTES).contains(&text.len());
        if !fits || !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(TokenError::Form);
        }
        let key = Sha256::new().chain_update(b"understudy marks of browsers\0").chain_update(text).finalize();
        Ok(Self(Arc::new(Inside {
            text: text.to_string(),
            digest: Sha256::digest(text).into(),
            marks: ChaCha20Poly1305::new(&key),
        })))
    }

    /// The token in a file.
    ///
    /// # Errors
    /// [`TokenError`], without the file's name.
    pub fn read(file: &Path) -> Result<Self, TokenError> {
        let size = std::fs::metadata(file).map_err(TokenError::Read)?.len();
        if size > 2 * TOKEN_MOST_BYTES as u64 {
            return Err(TokenError::Form);
        }
        Self::parse(&std::fs::read_to_string(file).map_err(TokenError::Read)?)
    }

    /// Whether this is it; takes as long whatever is given.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        bool::from(self.0.digest.ct_eq(&<[u8; 32]>::from(Sha256::digest(given))))
    }

    /// The value of `Authorization` that names it.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        let made = HeaderValue::try_from(format!("Bearer {}", self.0.text));
        // Printable ASCII is always a header's value.
        let mut value = made.unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// A mark for a browser that named the token, good until then (seconds of wall time). None: the system has no randomness.
    pub(super) fn mark(&self, until_s: u64) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let until = until_s.to_be_bytes();
        let proof = self.0.marks.encrypt_in_place_detached(&nonce.into(), &until, &mut []).ok()?;
        Some(nonce.iter().chain(&until).chain(proof.iter()).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether this is such a mark, and still good.
    pub(super) fn made(&self, mark: &str, now_s: u64) -> bool {
        let Some(bytes) = unhex(mark) else { return false };
        let (nonce, rest) = bytes.split_at(NONCE_BYTES);
        let (until, proof) = rest.split_at(UNTIL_BYTES);
        let until_s = until.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let (nonce, proof) = (Nonce::from_slice(nonce), Tag::from_slice(proof));
        now_s < until_s && self.0.marks.decrypt_in_place_detached(nonce, until, &mut [], proof).is_ok()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|c| c.is_ascii_hexdigit());
    if !is_hex || text.len() != 2 * (NONCE_BYTES + UNTIL_BYTES + PROOF_BYTES) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_long_enough_and_is_only_itself() {
        let token = Token::parse(&format!(" {TEXT}\n")).unwrap();
        assert!(token.is(TEXT.as_bytes()));
        for wrong in [&TEXT[1..], &format!("{TEXT}0"), "", &TEXT.to_uppercase()] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(token.bearer().to_str().unwrap(), format!("Bearer {TEXT}"));
        assert!(!format!("{token:?} {:?}", token.bearer()).contains(TEXT));
        for wrong in [&TEXT[1..], "", &format!("{TEXT} {TEXT}"), &"x".repeat(513), &"ä".repeat(32)] {
            assert!(Token::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mark_is_good_for_its_token_and_its_time_only() {
        let (token, other) = (Token::parse(TEXT).unwrap(), Token::parse(&TEXT.replace('0', "1")).unwrap());
        let mark = token.mark(1_000).unwrap();
        assert!(token.made(&mark, 999) && !token.made(&mark, 1_000) && !other.made(&mark, 999));
        assert!(!mark.contains(TEXT) && mark != token.mark(1_000).unwrap());
        for at in [0, 30, 50] {
            let digit = if &mark[at..=at] == "0" { "1" } else { "0" };
            let changed = format!("{}{digit}{}", &mark[..at], &mark[at + 1..]);
            assert!(!token.made(&changed, 999), "{at}");
        }
        assert!(!token.made(&mark[2..], 999) && !token.made("", 999) && !token.made(&"ä".repeat(36), 999));
    }
}
