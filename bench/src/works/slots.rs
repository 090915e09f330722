//! What one slot does over HTTP.

use bytes::Bytes;
use hyper::StatusCode;

use super::way::{Http, Way};
use crate::lab::BenchError;
use crate::limits::BATCH_JOBS;
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

/// Submits one job and hears that it is on a majority's disks.
pub(super) struct Submits {
    way: Way,
    payload: Bytes,
}

impl Submits {
    pub(super) async fn connect(
        http: Http,
        doors: &[String],
        count: usize,
        bytes: usize,
    ) -> Result<Vec<Self>, BenchError> {
        let payload = payload(bytes);
        let path = format!("/api/v1/jobs?class={IDLE_CLASS}");
        let ways = Way::all(http, doors, count, &path).await?;
        Ok(ways.into_iter().map(|way| Self { way, payload: payload.clone() }).collect())
    }
}

impl Slot for Submits {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let (status, answer) = self.way.post(RAW, self.payload.clone()).await?;
        if status == StatusCode::CREATED { Ok(1) } else { Err(wrong(status, &answer)) }
    }
}

/// Submits one job of the class `echo` and hears its end.
pub(super) struct RoundTrips {
    way: Way,
    payload: Bytes,
}

impl RoundTrips {
    pub(super) async fn connect(http: Http, doors: &[String], count: usize) -> Result<Vec<Self>, BenchError> {
        let payload = payload(100);
        let ways = Way::all(http, doors, count, "/api/v1/jobs?class=echo&wait=30s").await?;
        Ok(ways.into_iter().map(|way| Self { way, payload: payload.clone() }).collect())
    }
}

impl Slot for RoundTrips {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let (status, answer) = self.way.post(RAW, self.payload.clone()).await?;
        let ended = answer.windows(ENDED.len()).any(|part| part == ENDED);
        if status == StatusCode::CREATED && ended { Ok(1) } else { Err(wrong(status, &answer)) }
    }
}

/// A body that is the payload itself.
const RAW: &str = "application/octet-stream";
const ENDED: &[u8] = b"\"state\":\"succeeded\"";

/// Submits a thousand jobs with one acknowledgement.
pub(super) struct Batches {
    way: Way,
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
        let ways = Way::all(Http::One, doors, count, "/api/v1/jobs/batch").await?;
        Ok(ways.into_iter().map(|way| Self { way, body: body.clone() }).collect())
    }
}

impl Slot for Batches {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let (status, answer) = self.way.post("application/x-ndjson", self.body.clone()).await?;
        if status == StatusCode::CREATED { Ok(BATCH_JOBS) } else { Err(wrong(status, &answer)) }
    }
}
