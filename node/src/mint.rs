//! Where new jobs get their ids.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::JobId;

/// No id could be made.
#[derive(Debug, thiserror::Error)]
#[error("making a job id: {0}")]
pub(crate) struct MintError(getrandom::Error);

/// Makes ids: ULIDs of now, rising within one mint also when the clock does not.
#[derive(Debug, Default)]
pub(crate) struct Mint(u128);

impl Mint {
    /// A new job id.
    pub(crate) fn job(&mut self) -> Result<JobId, MintError> {
        self.jobs(1)
    }

    /// The first of so many new job ids that follow each other.
    pub(crate) fn jobs(&mut self, jobs: usize) -> Result<JobId, MintError> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(MintError)?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let fresh = ulid::Ulid::from_parts(now_ms, u128::from_be_bytes(random)).0;
        let first = if fresh > self.0 { fresh } else { self.0.wrapping_add(1) };
        self.0 = first.wrapping_add(jobs.saturating_sub(1) as u128);
        Ok(JobId(first))
    }
}
