//! The leader is killed while jobs are submitted one at a time; the longest gap between two acknowledgements is what a client
//! sees of it.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Wish;
use super::slots::Submits;
use super::way::Http;
use crate::cluster::Cluster;
use crate::lab::BenchError;
use crate::limits::TRY;
use crate::load::Slot as _;
use crate::report::{Report, Row};

/// Pause before another node is tried.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn failover(
    wish: &Wish,
    cluster: &mut Cluster,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut gaps = Vec::new();
    for _ in 0..wish.runs {
        let doors = cluster.doors().await?;
        let leader = doors[0].clone();
        // The client stands at the leader's own door, where it hurts most, and goes to the next when that is shut.
        let client = tokio::spawn(longest_gap(doors, wish.run * 6));
        sleep(wish.run * 2).await;
        cluster.kill(&leader)?;
        let ended = client.await.map_err(|error| BenchError::new("submitting one at a time", error))?;
        gaps.push(ended.as_millis() as u64);
        cluster.revive(&leader).await?;
    }
    report.add(Row::of("failover", "ms, longest gap", gaps));
    Ok(())
}

async fn longest_gap(doors: Vec<String>, time: Duration) -> Duration {
    let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut ways = doors.iter().cycle();
    let mut slot: Option<Submits> = None;
    while began.elapsed() < time {
        if slot.is_none() {
            let door: Vec<String> = ways.next().cloned().into_iter().collect();
            slot = timeout(TRY, Submits::connect(Http::One, &door, 1, 100))
                .await
                .ok()
                .and_then(Result::ok)
                .and_then(|mut s| s.pop());
        }
        let done = match &mut slot {
            Some(slot) => matches!(timeout(TRY, slot.once()).await, Ok(Ok(_))),
            None => false,
        };
        if done {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        } else {
            slot = None;
            sleep(PAUSE).await;
        }
    }
    longest.max(last.elapsed())
}
