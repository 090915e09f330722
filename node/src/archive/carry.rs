//! After a recovery by hand: what the log said and the archive has not yet is written into it, and it becomes the new cluster's.

use std::path::Path;
use std::sync::Arc;

use protocol::ClusterId;
use sqlx::sqlite::SqlitePool;

use super::backlog::Backlog;
use super::error::ArchiveError;
use super::store::{self, Store};
use super::{Batch, PLACE};

/// The archive of a node that does not run.
pub(crate) struct Carried {
    store: Store,
    pool: SqlitePool,
}

impl Carried {
    /// Opens the archive in a data folder where there is one; it must be of one of these clusters.
    ///
    /// # Errors
    /// [`ArchiveError`], naming the file.
    pub(crate) async fn open(data: &Path, clusters: &[ClusterId]) -> Result<Option<Self>, ArchiveError> {
        let path = data.join(PLACE);
        if !path.exists() {
            return Ok(None);
        }
        let mut foreign = ArchiveError::Foreign { path: path.clone() };
        for cluster in clusters {
            match store::open(&path, *cluster).await {
                Ok((store, pool)) => return Ok(Some(Self { store, pool })),
                Err(error @ ArchiveError::Foreign { .. }) => foreign = error,
                Err(error) => return Err(error),
            }
        }
        Err(foreign)
    }

    /// Writes what is missing of these batches and gives the archive to a cluster; safe on return.
    ///
    /// # Errors
    /// It cannot be written, or another program reads it.
    pub(crate) async fn give(mut self, batches: Vec<Batch>, cluster: ClusterId) -> Result<(), ArchiveError> {
        let mut backlog = Backlog::default();
        batches.into_iter().for_each(|batch| backlog.push(batch));
        loop {
            let next: Vec<Arc<Batch>> = backlog.next();
            let Some(applied) = next.iter().map(|batch| batch.applied).max() else { break };
            self.store.write(&next, applied).await?;
            backlog.written(next.len());
        }
        self.store.give_to(cluster).await?;
        self.pool.close().await;
        let is_safe = self.store.checkpoint().await?;
        self.store.close().await;
        if is_safe { Ok(()) } else { Err(ArchiveError::InUse) }
    }

    /// Leaves it as it is.
    pub(crate) async fn close(self) {
        self.pool.close().await;
        self.store.close().await;
    }
}
