//! An answer that keeps the place of its request until the last byte of it has left: a slow reader's answers count, too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The body, and every piece of it that was handed on and is not sent yet, share the place.
pub(super) struct Seated {
    body: Body,
    place: Arc<OwnedSemaphorePermit>,
}

/// A piece that is on its way.
struct Piece {
    bytes: Bytes,
    _place: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Seated {
    pub(super) fn new(body: Body, place: OwnedSemaphorePermit) -> Self {
        Self { body, place: Arc::new(place) }
    }
}

impl HttpBody for Seated {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = Pin::new(&mut self.body).poll_frame(context);
        next.map_ok(|frame| {
            frame.map_data(|bytes| Bytes::from_owner(Piece { bytes, _place: Arc::clone(&self.place) }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
