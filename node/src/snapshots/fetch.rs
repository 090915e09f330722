//! Fetching a snapshot from a peer, part by part, each from where the one before ended.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use consensus::Base;
use master::Ledger;
use protocol::NodeId;
use tokio::task::spawn_blocking;

use super::limits::{RETRY_PAUSE, SNAPSHOT_BYTES_MAX, TRIES};
use super::serve::LENGTH_BYTES;
use crate::bulk::BulkAsk;
use crate::disk::{DiskError, Snapshots};
use crate::link::{BulkError, BulkHandle};

/// Why a snapshot could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The peer does not answer, or does not have it.
    #[error(transparent)]
    Peer(#[from] BulkError),
    /// What it answers makes no file.
    #[error("fetching a snapshot: the peer's answer at byte {offset} {why}")]
    Answer {
        /// Where.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// This node's own disk, or the bytes are no snapshot.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A thread of this process ended.
    #[error("fetching a snapshot: its thread ended by a broken invariant")]
    Broken,
}

/// Fetches it, checks it and gives it its number: whole and durable on return.
pub(super) async fn fetch(
    bulk: &BulkHandle,
    from: NodeId,
    base: Base,
    files: Snapshots,
) -> Result<Ledger, FetchError> {
    let gathering = files.clone();
    let index = base.index;
    let (path, file) = blocking(move || gathering.gather(index)).await??;
    let file = Arc::new(file);
    let mut offset = 0;
    loop {
        let (whole, part) = part(bulk, from, index, offset).await?;
        let end = offset + part.len() as u64;
        if whole > SNAPSHOT_BYTES_MAX || end > whole || (part.is_empty() && end < whole) {
            return Err(FetchError::Answer { offset, why: "does not fit the size that it says" });
        }
        write(&file, part, offset, &path).await?;
        offset = end;
        if offset == whole {
            break;
        }
    }
    blocking(move || {
        let (draft, ledger) = files.gathered(path, &file, &base)?;
        draft.publish()?;
        Ok(ledger)
    })
    .await?
}

async fn write(file: &Arc<File>, part: Bytes, offset: u64, path: &std::path::Path) -> Result<(), FetchError> {
    let (file, path) = (Arc::clone(file), path.to_owned());
    let written = blocking(move || {
        file.write_all_at(&part, offset).map_err(|source| DiskError::Unwritten { path, offset, source })
    });
    Ok(written.await??)
}

/// One part, and how long the whole is. A connection that breaks is not the end of it: parts so far are kept.
async fn part(bulk: &BulkHandle, from: NodeId, index: u64, offset: u64) -> Result<(u64, Bytes), FetchError> {
    let mut pause = RETRY_PAUSE;
    for _ in 1..TRIES {
        match bulk.ask(from, BulkAsk::Snapshot { index, offset }.encode()).await {
            Ok(answer) => return read(answer, offset),
            Err(error @ (BulkError::Refused { .. } | BulkError::Closed)) => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "a part of a snapshot is asked for again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    read(bulk.ask(from, BulkAsk::Snapshot { index, offset }.encode()).await?, offset)
}

fn read(mut answer: Bytes, offset: u64) -> Result<(u64, Bytes), FetchError> {
    if answer.len() < LENGTH_BYTES {
        return Err(FetchError::Answer { offset, why: "is cut short" });
    }
    Ok((answer.get_u64_le(), answer))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    spawn_blocking(work).await.map_err(|_| FetchError::Broken)
}
