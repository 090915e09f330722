//! The end of a disk's thread, which a hanging disk may hold up: waited for without blocking.

use super::Disk;
use super::folder::Folder;

/// A disk that was told to end.
#[derive(Debug)]
pub struct Closing(Disk);

impl Closing {
    pub(super) fn new(disk: Disk) -> Self {
        Self(disk)
    }

    /// Waits until the batch under way is over, and gives the folder back.
    pub async fn folder(mut self) -> Folder {
        // The sender is never used: its end is the news.
        while self.0.ended.changed().await.is_ok() {}
        self.join()
    }

    /// The same for whoever may block.
    #[must_use]
    pub fn join(self) -> Folder {
        let Disk { mut folder, thread, .. } = self.0;
        match thread.join() {
            Ok(doubted) => folder.doubt(doubted),
            // Its folder knows nothing then, as after a crash.
            Err(_) => tracing::error!(
                "the disk thread ended by a panic; what it had not reported is not counted as written"
            ),
        }
        folder
    }
}
