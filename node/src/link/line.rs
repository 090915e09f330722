//! A connection after its greeting: frames come in, frames go out, sealed or not.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::frame::{End, Frames};
use super::seal::Sealer;

/// A buffer larger than this is given back after its use.
const KEPT_BYTES: usize = 2 * protocol::limits::ENTRY_BYTES;

/// Both ways of a connection. It closes when both are dropped.
pub(super) struct Line {
    pub(super) frames: Frames<OwnedReadHalf>,
    pub(super) out: Out<OwnedWriteHalf>,
}

/// The way out.
pub(super) struct Out<W> {
    to: W,
    sealer: Option<Sealer>,
    sealed: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Out<W> {
    pub(super) fn new(to: W, sealer: Option<Sealer>) -> Self {
        Self { to, sealer, sealed: Vec::new() }
    }

    /// Whether a seal is on it.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealer.is_some()
    }

    /// Sends these bytes. Whoever stops waiting for it can only close the connection.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.send_both(bytes, &[]).await
    }

    /// Sends the one after the other, without copying them together.
    pub(super) async fn send_both(&mut self, one: &[u8], other: &[u8]) -> Result<(), End> {
        let Some(sealer) = &mut self.sealer else {
            self.to.write_all(one).await.map_err(|error| End::by(&error))?;
            return self.to.write_all(other).await.map_err(|error| End::by(&error));
        };
        self.sealed.clear();
        for part in [one, other] {
            sealer.seal(part, &mut self.sealed).map_err(|error| End::Ours(error.to_string()))?;
        }
        self.to.write_all(&self.sealed).await.map_err(|error| End::by(&error))?;
        if self.sealed.capacity() > KEPT_BYTES {
            self.sealed = Vec::new();
        }
        Ok(())
    }
}
