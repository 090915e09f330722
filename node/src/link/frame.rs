//! Frames: four bytes of length (big endian), then so many bytes. A frame of length 0 says only: I am alive.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protocol::limits::MESSAGE_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::seal::Opener;

/// Each side says at least this often that it is there.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(200);
/// A connection that brings nothing for so long is closed.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// Bytes read at once, at least.
const READ_BYTES: usize = 64 << 10;
/// A buffer is not made larger than this for a frame that may come.
const GUESSED_BYTES: usize = 2 << 20;
const LENGTH_BYTES: usize = 4;

/// The frame that says only: I am alive.
pub(super) const ALIVE: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other kernel closed it: the process is gone, or wants to look so.
    Gone,
    /// Nothing came, or this side did not want to go on.
    Ours(String),
}

impl End {
    pub(super) fn by(error: &io::Error) -> End {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
        };
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof => End::Gone,
            _ => End::Ours(error.to_string()),
        }
    }
}

/// Adds one frame; false: the message is larger than any message may be, nothing is added.
pub(super) fn put(out: &mut Vec<u8>, message: &impl Serialize) -> bool {
    let start = out.len();
    out.extend_from_slice(&head(0));
    *out = protocol::native::append(message, std::mem::take(out));
    let body_bytes = out.len() - start - LENGTH_BYTES;
    if body_bytes > MESSAGE_BYTES {
        out.truncate(start);
        return false;
    }
    out[start..start + LENGTH_BYTES].copy_from_slice(&head(body_bytes));
    true
}

/// The head of a frame of so many bytes, which follow it.
pub(super) fn head(body_bytes: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// Bytes of a whole frame by its head, with that.
fn frame_bytes(head: [u8; LENGTH_BYTES]) -> usize {
    // Fits: it is far below what memory can hold.
    u32::from_be_bytes(head) as usize + LENGTH_BYTES
}

/// Reads frames of at most `bound` bytes.
pub(super) struct Frames<R> {
    from: R,
    buffer: BytesMut,
    /// What the buffer was made with; the frames that were split off it have their part of that.
    made_bytes: usize,
    /// Bytes of the largest frame of late.
    usual: usize,
    bound: usize,
    patience: Duration,
    /// What opens the bytes, when they are sealed.
    opener: Option<Opener>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    #[cfg(test)]
    pub(super) fn new(from: R, bound: usize) -> Self {
        Self::through(from, None, bound)
    }

    /// Frames that come sealed, when there is something that opens them.
    pub(super) fn through(from: R, opener: Option<Opener>, bound: usize) -> Self {
        Self { from, buffer: BytesMut::new(), made_bytes: 0, usual: 0, bound, patience: SILENCE, opener }
    }

    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Ends the connection when nothing comes for so long.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The next message; frames that only say "alive" are passed over.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, End> {
        let frame = self.next_bytes().await?;
        protocol::native::decode(&frame).map_err(|error| End::Ours(error.to_string()))
    }

    /// The next frame as it came; those that only say "alive" are passed over.
    pub(super) async fn next_bytes(&mut self) -> Result<BytesMut, End> {
        loop {
            while let Some(length) = self.whole_frame()? {
                self.usual = length.max(self.usual - self.usual / 4);
                self.buffer.advance(LENGTH_BYTES);
                if length > 0 {
                    let frame = self.buffer.split_to(length);
                    // Whoever keeps a little of it would keep all of a large buffer.
                    let is_little = self.made_bytes > READ_BYTES && length < self.made_bytes / 4;
                    return Ok(if is_little { BytesMut::from(&frame[..]) } else { frame });
                }
            }
            self.fill().await?;
        }
    }

    /// Length of the frame at the head of the buffer, when all of it is there.
    fn whole_frame(&self) -> Result<Option<usize>, End> {
        let Some(head) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = frame_bytes(*head) - LENGTH_BYTES;
        if length > self.bound {
            return Err(End::Ours(format!("a frame of {length} bytes came, the limit is {}", self.bound)));
        }
        Ok((self.buffer.len() - LENGTH_BYTES >= length).then_some(length))
    }

    /// Makes room for what comes next.
    fn make_room(&mut self) {
        let usual = self.usual.next_power_of_two().clamp(READ_BYTES, GUESSED_BYTES);
        if self.buffer.is_empty() && self.made_bytes > 4 * usual {
            self.buffer = BytesMut::new();
        }
        // A large frame that has begun gets its room at once: it would be copied each time that its buffer grows. And no more, but
        // for what may be opened behind it.
        let begun = self.buffer.first_chunk::<LENGTH_BYTES>().map_or(0, |head| frame_bytes(*head));
        let behind = if self.opener.is_some() { READ_BYTES } else { 0 };
        let missing = begun.saturating_sub(self.buffer.len()) + behind;
        let wanted = if begun > READ_BYTES { missing } else { usual };
        if self.buffer.capacity() - self.buffer.len() < wanted {
            self.buffer.reserve(wanted);
            self.made_bytes = self.buffer.capacity();
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        self.make_room();
        let into = match &mut self.opener {
            Some(opener) => {
                opener.raw.reserve(READ_BYTES);
                &mut opener.raw
            }
            None => &mut self.buffer,
        };
        match timeout(self.patience, self.from.read_buf(into)).await {
            Err(_) => return Err(End::Ours(format!("nothing came for {} ms", self.patience.as_millis()))),
            Ok(Err(error)) => return Err(End::by(&error)),
            Ok(Ok(0)) => return Err(End::Gone),
            Ok(Ok(_)) => {}
        }
        match &mut self.opener {
            Some(opener) => opener.open(&mut self.buffer).map_err(|error| End::Ours(error.to_string())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut wire = Vec::new();
        assert!(put(&mut wire, &"one"));
        wire.extend_from_slice(&ALIVE);
        assert!(put(&mut wire, &"x".repeat(200_000)));
        for cut in [1, 3, 4, 5, 9, 70_000] {
            let (near, far) = tokio::io::duplex(cut);
            let mut frames = Frames::new(far, MESSAGE_BYTES);
            let wire = wire.clone();
            let writer = tokio::spawn(async move {
                let mut near = near;
                tokio::io::AsyncWriteExt::write_all(&mut near, &wire).await.unwrap();
            });
            assert_eq!(frames.next::<String>().await, Ok("one".to_owned()));
            assert_eq!(frames.next::<String>().await.map(|text| text.len()), Ok(200_000));
            assert_eq!(frames.next::<String>().await, Err(End::Gone));
            writer.await.unwrap();
        }
    }

    /// A wire that notes how much room it is given.
    struct Noting<'a> {
        wire: &'a [u8],
        rooms: Vec<usize>,
    }

    impl AsyncRead for Noting<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.rooms.push(into.remaining());
            Pin::new(&mut self.wire).poll_read(context, into)
        }
    }

    #[tokio::test]
    async fn a_buffer_has_room_for_frames_like_the_last_ones_and_shrinks_when_they_get_small() {
        let large = [300_000, 290_000, 310_000];
        let mut wire = Vec::new();
        large.iter().for_each(|bytes| assert!(put(&mut wire, &"x".repeat(*bytes))));
        (0..40_000).for_each(|_| assert!(put(&mut wire, &"small")));
        let mut frames = Frames::new(Noting { wire: &wire, rooms: Vec::new() }, MESSAGE_BYTES);
        for bytes in large {
            assert_eq!(frames.next::<String>().await.map(|text| text.len()), Ok(bytes));
        }
        // The first had to be told how long it is; those after it are read at once.
        assert_eq!(frames.from.rooms[0], READ_BYTES);
        assert!(frames.from.rooms[2..].iter().all(|room| *room > 300_000), "{:?}", frames.from.rooms);
        for _ in 0..40_000 {
            assert_eq!(frames.next::<String>().await.as_deref(), Ok("small"));
        }
        assert_eq!(frames.next::<String>().await, Err(End::Gone));
        assert!(frames.usual < 100 && frames.made_bytes < 2 * READ_BYTES, "{}", frames.made_bytes);
    }

    #[tokio::test]
    async fn a_small_frame_does_not_keep_the_buffer_of_a_large_one() {
        let mut wire = Vec::new();
        for bytes in [600_000, 30_000, 600_000, 30_000] {
            assert!(put(&mut wire, &"x".repeat(bytes)));
        }
        let mut frames = Frames::new(wire.as_slice(), MESSAGE_BYTES);
        for bytes in [600_000, 30_000, 600_000, 30_000] {
            let frame = frames.next_bytes().await.unwrap();
            // What was split off the buffer ends where the buffer goes on.
            let is_part = frame.as_ptr().wrapping_add(frame.len()) == frames.buffer.as_ptr();
            assert_eq!(is_part, bytes > 100_000, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_length_over_the_bound_ends_the_connection_before_it_is_read() {
        let wire = [0xff_u8; 64];
        let mut frames = Frames::new(wire.as_slice(), 1000);
        assert!(matches!(frames.next::<String>().await, Err(End::Ours(text)) if text.contains("1000")));
        assert!(frames.buffer.capacity() <= 2 * READ_BYTES);
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_end_the_connection() {
        let wire = [0, 0, 0, 2, 0xff, 0xff];
        assert!(matches!(Frames::new(wire.as_slice(), 1000).next::<String>().await, Err(End::Ours(_))));
    }
}
