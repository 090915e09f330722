//! Sealing of one connection: what goes over it is cut into pieces, each sealed under the next number of its direction.
//!
//! ```text
//!   piece = two bytes of length (big endian) │ so many bytes: sealed, the last 16 of them are its proof
//! ```
//!
//! A piece that was changed, left out, repeated or moved does not fit its number, and ends the connection.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use snow::StatelessTransportState;

/// Bytes of a piece after its length: the most that Noise seals at once.
pub(super) const PIECE_BYTES: usize = 65_535;
/// Bytes that sealing adds to a piece.
pub(super) const PROOF_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;

/// What came is not what the peer sealed, or the numbers are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("opening a sealed piece: it was changed, repeated or moved on its way")]
pub(super) struct Unsealed;

/// Seals one direction.
pub(super) struct Sealer {
    way: Arc<StatelessTransportState>,
    next: u64,
}

/// Opens the other one.
pub(super) struct Opener {
    way: Arc<StatelessTransportState>,
    next: u64,
    /// What has come and is not a whole piece yet.
    pub(super) raw: BytesMut,
}

/// Both directions of a connection whose handshake is over.
pub(super) fn halves(way: StatelessTransportState) -> (Sealer, Opener) {
    let way = Arc::new(way);
    (Sealer { way: Arc::clone(&way), next: 0 }, Opener { way, next: 0, raw: BytesMut::new() })
}

impl Sealer {
    /// Adds `plain` to `out`, sealed in pieces.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealed> {
        for part in plain.chunks(PIECE_BYTES - PROOF_BYTES) {
            let sealed_bytes = part.len() + PROOF_BYTES;
            let length = u16::try_from(sealed_bytes).map_err(|_| Unsealed)?;
            out.extend_from_slice(&length.to_be_bytes());
            let start = out.len();
            out.resize(start + sealed_bytes, 0);
            self.way.write_message(self.next, part, &mut out[start..]).map_err(|_| Unsealed)?;
            self.next = self.next.checked_add(1).ok_or(Unsealed)?;
        }
        Ok(())
    }
}

impl Opener {
    /// Opens all whole pieces that have come, and adds what is in them to `plain`.
    pub(super) fn open(&mut self, plain: &mut BytesMut) -> Result<(), Unsealed> {
        while let Some(head) = self.raw.first_chunk::<LENGTH_BYTES>() {
            let sealed_bytes = usize::from(u16::from_be_bytes(*head));
            let Some(part_bytes) = sealed_bytes.checked_sub(PROOF_BYTES) else { return Err(Unsealed) };
            let Some(piece) = self.raw.get(LENGTH_BYTES..LENGTH_BYTES + sealed_bytes) else { break };
            let start = plain.len();
            plain.resize(start + part_bytes, 0);
            let opened = self.way.read_message(self.next, piece, &mut plain[start..]);
            if !matches!(opened, Ok(bytes) if bytes == part_bytes) {
                plain.truncate(start);
                return Err(Unsealed);
            }
            self.next = self.next.checked_add(1).ok_or(Unsealed)?;
            self.raw.advance(LENGTH_BYTES + sealed_bytes);
        }
        Ok(())
    }
}
