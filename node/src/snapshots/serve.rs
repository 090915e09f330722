//! A peer asks for a part of a snapshot.
//!
//! ```text
//!   question: BulkAsk::Snapshot { index, offset }      answer: 8 bytes: bytes of the whole file │ bytes from the offset on
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::limits::BULK_ANSWER_BYTES;

use super::limits::SERVING;
use crate::bulk::{BulkAsk, Shelf};
use crate::disk::Snapshots;

/// Bytes of the length before each part.
pub(super) const LENGTH_BYTES: usize = 8;

/// When a peer last asked for a part.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<Option<Instant>>);

impl Served {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// A peer is fetching.
    pub(crate) fn lately(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < SERVING)
    }
}

/// Answers with parts of this node's snapshots.
pub(crate) fn shelf(files: Snapshots, served: Arc<Served>) -> Shelf {
    Arc::new(move |_, ask| {
        let (files, served) = (files.clone(), Arc::clone(&served));
        Box::pin(async move {
            let BulkAsk::Snapshot { index, offset } = ask else {
                return Err("this is the shelf of snapshots".to_string());
            };
            served.now();
            let part = move || files.part(index, offset, BULK_ANSWER_BYTES - LENGTH_BYTES);
            match tokio::task::spawn_blocking(part).await {
                Ok(Ok(Some((whole, part)))) => {
                    let mut answer = BytesMut::with_capacity(LENGTH_BYTES + part.len());
                    answer.put_u64_le(whole);
                    answer.extend_from_slice(&part);
                    Ok(Bytes::from(answer))
                }
                Ok(Ok(None)) => Err(format!("there is no snapshot at index {index} any more")),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("reading it was given up".to_string()),
            }
        })
    })
}
