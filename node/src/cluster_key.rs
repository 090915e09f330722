//! The key that the nodes of one cluster share: whoever has it is a node, whoever has not is nobody.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// A file longer than this is no key file.
const FILE_BYTES: u64 = 4 << 10;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The key of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// Nobody sees it in a log.
impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// Why a text or a file is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither form, or of another length.
    #[error(
        "it must be {KEY_BYTES} bytes, as 64 hexadecimal digits or in base64: head -c 32 /dev/urandom | base64"
    )]
    Form,
    /// It cannot be read.
    #[error("reading it: {0}")]
    Read(std::io::Error),
    /// It cannot be written.
    #[error("writing it: {0}")]
    Write(std::io::Error),
    /// The system has no randomness.
    #[error("making one: {0}")]
    Chance(getrandom::Error),
}

impl ClusterKey {
    /// A key from its text: 64 hexadecimal digits, or base64; white space around it does not count.
    ///
    /// # Errors
    /// [`KeyError::Form`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match unhex(text) {
            Some(bytes) => bytes,
            None => {
                STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map_err(|_| KeyError::Form)?
            }
        };
        bytes.try_into().map(Self).map_err(|_| KeyError::Form)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`KeyError`], without the file's name.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let size = std::fs::metadata(file).map_err(KeyError::Read)?.len();
        if size > FILE_BYTES {
            return Err(KeyError::Form);
        }
        Self::parse(&std::fs::read_to_string(file).map_err(KeyError::Read)?)
    }

    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::Chance`].
    pub fn draw() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(KeyError::Chance)?;
        Ok(Self(bytes))
    }

    /// Makes a key file that only its owner reads, unless one is there; true: it was made. Several may try at once: one key
    /// stays, and is there as a whole.
    ///
    /// # Errors
    /// [`KeyError`], without the file's name.
    pub fn keep(file: &Path) -> Result<bool, KeyError> {
        if file.exists() {
            return Ok(false);
        }
        let key = Self::draw()?;
        let mut draft = file.as_os_str().to_owned();
        draft.push(format!(".{:016x}", getrandom::u64().map_err(KeyError::Chance)?));
        let draft = Path::new(&draft);
        let made =
            write_secret(draft, &format!("{}\n", key.text())).and_then(|()| std::fs::hard_link(draft, file));
        // It has its name now, or another one was faster.
        let _ = std::fs::remove_file(draft);
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(KeyError::Write(error)),
        }
    }

    /// As a key file has it.
    #[must_use]
    pub fn text(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A proof that whoever says `what` has the key: hexadecimal text. None: the system has no randomness.
    #[must_use]
    pub fn prove(&self, what: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let cipher = ChaCha20Poly1305::new(&self.0.into());
        let tag = cipher.encrypt_in_place_detached(&nonce.into(), what, &mut []).ok()?;
        Some(nonce.iter().chain(tag.iter()).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether a proof of [`ClusterKey::prove`] is of this key and of `what`.
    #[must_use]
    pub fn proves(&self, what: &[u8], proof: &str) -> bool {
        let Some(bytes) = unhex(proof).filter(|bytes| bytes.len() == NONCE_BYTES + TAG_BYTES) else {
            return false;
        };
        let (nonce, tag) = bytes.split_at(NONCE_BYTES);
        let cipher = ChaCha20Poly1305::new(&self.0.into());
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        cipher.decrypt_in_place_detached(nonce, what, &mut [], tag).is_ok()
    }
}

fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_both_forms_and_nothing_else_is_one() {
        let key = ClusterKey::draw().unwrap();
        let hex: String = key.0.iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [key.text(), format!(" {}\n", key.text().trim_end_matches('=')), hex.clone()] {
            assert_eq!(ClusterKey::parse(&text).unwrap(), key, "{text}");
        }
        for wrong in ["", "secret", &hex[..62], &format!("{hex}00"), &"A".repeat(42)] {
            assert!(ClusterKey::parse(wrong).is_err(), "{wrong}");
        }
        assert_ne!(key, ClusterKey::draw().unwrap());
        assert!(!format!("{key:?}").contains(&hex[..4].to_lowercase()));
    }

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.key");
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let file = file.clone();
                std::thread::spawn(move || {
                    (ClusterKey::keep(&file).unwrap(), ClusterKey::read(&file).unwrap())
                })
            })
            .collect();
        let made: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(made.iter().filter(|(made, _)| *made).count() <= 1);
        assert!(made.iter().all(|(_, key)| *key == made[0].1));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        assert!(ClusterKey::keep(&folder.path().join("nowhere/key")).is_err());
    }

    #[test]
    fn a_proof_is_of_one_key_and_one_text() {
        let (ours, theirs) = (ClusterKey::draw().unwrap(), ClusterKey::draw().unwrap());
        let proof = ours.prove(b"take me in").unwrap();
        assert!(ours.proves(b"take me in", &proof));
        assert!(!theirs.proves(b"take me in", &proof));
        assert!(!ours.proves(b"take him in", &proof));
        assert!(!ours.proves(b"take me in", &proof[2..]) && !ours.proves(b"take me in", ""));
    }
}
