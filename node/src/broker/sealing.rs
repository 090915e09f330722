//! How one message is sealed: a head in clear (tag and number), then the message, opened only by who has the key of the tag.
//!
//! Each direction of a session numbers its messages from 1; the number is part of what is sealed. A message is opened once:
//! its number must be higher than any before. Where links are not sealed, heads are the same and bodies are in clear.

use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use super::counts::Dropped;
use crate::link::KEY_BYTES;

/// Bytes of a head: the tag of a key and the number of a message, big endian.
pub(super) const HEAD_BYTES: usize = 16;
/// Bytes that sealing adds to a message.
pub(super) const PROOF_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;

/// Which way a message goes; both ways share a key and must not share a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToMaster,
    ToNode,
}

/// Both directions of one session, at one end.
pub(super) struct Sealing {
    pub(super) tag: u64,
    cipher: Option<ChaCha20Poly1305>,
    /// The way of what this end sends.
    way: Way,
    /// Number of the last message sent.
    sent: u64,
    /// Highest number opened.
    heard: u64,
}

impl Sealing {
    pub(super) fn new(tag: u64, key: Option<&[u8; KEY_BYTES]>, way: Way) -> Self {
        let cipher = key.map(|key| ChaCha20Poly1305::new(key.into()));
        Self { tag, cipher, way, sent: 0, heard: 0 }
    }

    /// Head of the next message. It counts once [`Sealing::seal`] has used it.
    pub(super) fn head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..NUMBER_BYTES].copy_from_slice(&self.tag.to_be_bytes());
        head[NUMBER_BYTES..].copy_from_slice(&self.sent.saturating_add(1).to_be_bytes());
        head
    }

    /// Seals the next message where it stands. False: nothing can be sealed any more, the message must not leave.
    pub(super) fn seal(&mut self, body: &mut Vec<u8>) -> bool {
        let head = self.head();
        let Some(number) = self.sent.checked_add(1) else { return false };
        self.sent = number;
        let Some(cipher) = &self.cipher else { return true };
        let Ok(proof) = cipher.encrypt_in_place_detached(&nonce(self.way, number), &head, body) else {
            return false;
        };
        body.extend_from_slice(&proof);
        true
    }

    /// Opens a message where it stands.
    pub(super) fn open<'a>(&mut self, head: &[u8], body: &'a mut [u8]) -> Result<&'a [u8], Dropped> {
        let (tag, number) = read_head(head).ok_or(Dropped::Unreadable)?;
        if tag != self.tag {
            return Err(Dropped::Ended);
        }
        if number <= self.heard {
            return Err(Dropped::Repeated);
        }
        let open = match &self.cipher {
            None => body,
            Some(cipher) => {
                let body_bytes = body.len().checked_sub(PROOF_BYTES).ok_or(Dropped::Forged)?;
                let (body, proof) = body.split_at_mut(body_bytes);
                let way = match self.way {
                    Way::ToMaster => Way::ToNode,
                    Way::ToNode => Way::ToMaster,
                };
                cipher
                    .decrypt_in_place_detached(&nonce(way, number), head, body, Tag::from_slice(proof))
                    .map_err(|_| Dropped::Forged)?;
                body
            }
        };
        self.heard = number;
        Ok(open)
    }
}

/// Tag and number of a head.
pub(super) fn read_head(head: &[u8]) -> Option<(u64, u64)> {
    let (tag, number) = head.split_first_chunk::<NUMBER_BYTES>()?;
    Some((u64::from_be_bytes(*tag), u64::from_be_bytes(number.try_into().ok()?)))
}

fn nonce(way: Way, number: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[0] = way as u8;
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn ends(key: Option<&[u8; KEY_BYTES]>) -> (Sealing, Sealing) {
        (Sealing::new(7, key, Way::ToMaster), Sealing::new(7, key, Way::ToNode))
    }

    fn sealed(from: &mut Sealing, text: &str) -> ([u8; HEAD_BYTES], Vec<u8>) {
        let (head, mut body) = (from.head(), text.as_bytes().to_vec());
        assert!(from.seal(&mut body));
        (head, body)
    }

    #[test]
    fn what_one_end_seals_the_other_opens_once_and_in_order() {
        for key in [Some(&[3; KEY_BYTES]), None] {
            let (mut node, mut leader) = ends(key);
            let (first, second) = (sealed(&mut node, "one"), sealed(&mut node, "two"));
            assert_eq!(second.1.windows(3).any(|part| part == b"two"), key.is_none());
            assert_eq!(leader.open(&first.0, &mut first.1.clone()), Ok(b"one".as_slice()));
            assert_eq!(leader.open(&first.0, &mut first.1.clone()), Err(Dropped::Repeated));
            assert_eq!(leader.open(&second.0, &mut second.1.clone()), Ok(b"two".as_slice()));
            assert_eq!(leader.open(&first.0, &mut first.1.clone()), Err(Dropped::Repeated));
            let back = sealed(&mut leader, "back");
            assert_eq!(node.open(&back.0, &mut back.1.clone()), Ok(b"back".as_slice()));
        }
    }

    #[test]
    fn changed_heads_bodies_ways_keys_and_tags_are_told_apart_and_cost_nothing() {
        let (mut node, mut leader) = ends(Some(&[3; KEY_BYTES]));
        let (head, body) = sealed(&mut node, "a message of some length");
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert_eq!(leader.open(&head, &mut changed), Err(Dropped::Forged));
        }
        for cut in 0..body.len() {
            assert_eq!(leader.open(&head, &mut body[..cut].to_vec()), Err(Dropped::Forged));
        }
        let mut later = head;
        later[HEAD_BYTES - 1] += 1;
        assert_eq!(leader.open(&later, &mut body.clone()), Err(Dropped::Forged), "a head changed");
        assert_eq!(node.open(&head, &mut body.clone()), Err(Dropped::Forged), "sent back to its sender");
        assert_eq!(leader.open(&head[1..], &mut body.clone()), Err(Dropped::Unreadable));
        let mut other = Sealing::new(7, Some(&[4; KEY_BYTES]), Way::ToNode);
        assert_eq!(other.open(&head, &mut body.clone()), Err(Dropped::Forged), "another key");
        let mut ended = Sealing::new(8, Some(&[3; KEY_BYTES]), Way::ToNode);
        assert_eq!(ended.open(&head, &mut body.clone()), Err(Dropped::Ended));
        assert_eq!(leader.open(&head, &mut body.clone()), Ok(b"a message of some length".as_slice()));
    }

    /// No verdict: prints what sealing costs (`cargo test --release -p node sealing_costs -- --nocapture`).
    #[test]
    fn sealing_costs_so_much() {
        let (mut node, mut leader) = ends(Some(&[3; KEY_BYTES]));
        for bytes in [100_usize, 10_000, 1_000_000] {
            let rounds = (20_000_000 / (bytes + 1_000)).max(10);
            let mut body = Vec::with_capacity(bytes + PROOF_BYTES);
            let began = Instant::now();
            for _ in 0..rounds {
                body.clear();
                body.resize(bytes, 7);
                let head = node.head();
                assert!(node.seal(&mut body) && leader.open(&head, &mut body).is_ok());
            }
            let each = began.elapsed().as_nanos() / u128::try_from(rounds).unwrap();
            println!("broker link: {bytes} bytes sealed and opened in {each} ns");
        }
    }
}
