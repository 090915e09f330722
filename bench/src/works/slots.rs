//! What one slot does over HTTP.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use crate::lab::BenchError;
use crate::limits::BATCH_JOBS;
use crate::line::Line;
use crate::load::Slot;

/// A class that nobody serves: its jobs stay in the queue.
pub(super) const IDLE_CLASS: &str = "bench-idle";

/// Text that no compression makes nothing of, the same each time.
pub(crate) fn payload(bytes: usize) -> Bytes {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}

fn wrong(status: StatusCode, body: &Bytes) -> BenchError {
    let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
    BenchError::new("asking over HTTP", format!("{status}: {text}"))
}

/// Connections to the doors in turn.
async fn lines(doors: &[String], count: usize) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::with_capacity(count);
    for door in doors.iter().cycle().take(count) {
        lines.push(Line::connect(door).await?);
    }
    Ok(lines)
}

/// Submits one job and hears that it is on a majority's disks.
pub(super) struct Submits {
    line: Line,
    payload: Bytes,
    path: String,
}

impl Submits {
    pub(super) async fn connect(
        doors: &[String],
        count: usize,
        bytes: usize,
    ) -> Result<Vec<Self>, BenchError> {
        let payload = payload(bytes);
        let slot = |line| {
            let path = format!("/api/v1/jobs?class={IDLE_CLASS}");
            Self { line, payload: payload.clone(), path }
        };
        Ok(lines(doors, count).await?.into_iter().map(slot).collect())
    }
}

impl Slot for Submits {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let body = Some(("application/octet-stream", self.payload.clone()));
        let (status, answer) = self.line.ask(Method::POST, &self.path, body).await?;
        if status == StatusCode::CREATED { Ok(1) } else { Err(wrong(status, &answer)) }
    }
}

/// Submits one job of the class `echo` and hears its end.
pub(super) struct RoundTrips {
    line: Line,
    payload: Bytes,
}

impl RoundTrips {
    pub(super) async fn connect(doors: &[String], count: usize) -> Result<Vec<Self>, BenchError> {
        let payload = payload(100);
        let slot = |line| Self { line, payload: payload.clone() };
        Ok(lines(doors, count).await?.into_iter().map(slot).collect())
    }
}

impl Slot for RoundTrips {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let body = Some(("application/octet-stream", self.payload.clone()));
        let path = "/api/v1/jobs?class=echo&wait=30s";
        let (status, answer) = self.line.ask(Method::POST, path, body).await?;
        let ended = answer.windows(ENDED.len()).any(|part| part == ENDED);
        if status == StatusCode::CREATED && ended { Ok(1) } else { Err(wrong(status, &answer)) }
    }
}

const ENDED: &[u8] = b"\"state\":\"succeeded\"";

/// Submits a thousand jobs with one acknowledgement.
pub(super) struct Batches {
    line: Line,
    body: Bytes,
}

impl Batches {
    pub(super) async fn connect(doors: &[String], count: usize) -> Result<Vec<Self>, BenchError> {
        Self::of(doors, count, &format!("\"class\":\"{IDLE_CLASS}\"")).await
    }

    /// Jobs with these fields beside their payload of 100 bytes.
    pub(super) async fn of(doors: &[String], count: usize, fields: &str) -> Result<Vec<Self>, BenchError> {
        let payload = payload(100);
        let job = format!("{{{fields},\"payload\":\"{}\"}}\n", String::from_utf8_lossy(&payload));
        let body = Bytes::from(job.repeat(BATCH_JOBS as usize));
        let slot = |line| Self { line, body: body.clone() };
        Ok(lines(doors, count).await?.into_iter().map(slot).collect())
    }
}

impl Slot for Batches {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let body = Some(("application/x-ndjson", self.body.clone()));
        let (status, answer) = self.line.ask(Method::POST, "/api/v1/jobs/batch", body).await?;
        if status == StatusCode::CREATED { Ok(BATCH_JOBS) } else { Err(wrong(status, &answer)) }
    }
}
