//! A node whose disk failed: it says so, takes no part, tries the disk with growing pauses, and begins anew when the disk is
//! well. What it had in memory proves nothing; what the disk had confirmed is read again.

use std::time::Instant;

use tokio::runtime::Handle;

use crate::disk::{DiskError, Folder, Found, HealthState, Identity, Pauses, WELL_FOR};
use crate::error::StageError;
use crate::stage::Stage;

/// How this node's disk has been.
#[derive(Debug)]
pub(crate) struct Sickbed {
    pauses: Pauses,
    /// When it was well again last.
    well_since: Option<Instant>,
}

impl Sickbed {
    pub(crate) fn new() -> Self {
        Self { pauses: Pauses::new(), well_since: None }
    }
}

impl Stage {
    /// The disk failed. From here on nothing is acknowledged, and whoever asks hears why.
    pub(crate) fn fell_ill(&mut self, why: &str) {
        let well_for_long = self.sickbed.well_since.take().is_none_or(|since| since.elapsed() > WELL_FOR);
        if well_for_long {
            self.sickbed.pauses = Pauses::new();
        }
        self.front.disk.set(Some(HealthState::Out { why: why.to_owned() }));
        let line = format!(
            "Disk failed: {why}. This node takes no part until its disk is well; what it had confirmed is safe, nothing more is \
             promised"
        );
        self.log.record(logdb::Level::Error, "disk-failed", None, &line);
    }

    /// Tries the disk until it is well, and reads it. None: told to end.
    pub(crate) async fn convalesce(
        &mut self,
        handle: &Handle,
        mut folder: Folder,
        identity: Option<Identity>,
        mut why: String,
    ) -> Result<Option<Found>, StageError> {
        let since = Instant::now();
        loop {
            let pause = self.sickbed.pauses.next();
            if self.meanwhile(tokio::time::sleep(pause)).await.is_none() {
                return Ok(None);
            }
            let trying = handle.spawn_blocking(move || {
                let tried = folder.probe().and_then(|()| folder.read());
                (folder, tried)
            });
            // A disk that hangs holds up this one try; meanwhile there is no other.
            let Some(tried) = self.meanwhile(trying).await else { return Ok(None) };
            let (back, tried) = tried.map_err(|_| StageError::Thread)?;
            folder = back;
            let text = match tried {
                Ok(Some((found, boot, recovered))) if identity.is_none_or(|ours| ours == found) => {
                    if self.stopping_now() && !self.rest().await {
                        return Ok(None);
                    }
                    self.is_well(since);
                    return Ok(Some(Found::Member(folder, found, boot, recovered)));
                }
                Ok(_) => {
                    format!(
                        "the folder {} is another node's now; is the right disk mounted?",
                        folder.path().display()
                    )
                }
                Err(error @ DiskError::Damaged { .. }) => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            if text != why {
                self.log.record(
                    logdb::Level::Warn,
                    "disk-failed",
                    None,
                    format!("Disk is not well yet: {text}"),
                );
                self.front.disk.set(Some(HealthState::Out { why: text.clone() }));
                why = text;
            }
        }
    }

    fn is_well(&mut self, since: Instant) {
        self.sickbed.well_since = Some(Instant::now());
        self.front.disk.set(None);
        let line =
            format!("Disk is well again after {} s: this node takes part again", since.elapsed().as_secs());
        self.log.record(logdb::Level::Info, "disk-well", None, &line);
    }
}
