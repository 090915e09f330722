//! The leader of another system is killed while one slot submits; the longest gap is what its client sees.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::etcd::Puts;
use super::rabbit::Rabbit;
use super::{Peer, etcd};
use crate::lab::BenchError;
use crate::limits::TRY;
use crate::load::Slot;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// etcd.
    Etcd,
    /// RabbitMQ with a quorum queue.
    Rabbit,
}

/// Kills the leader a third into `time`; the longest gap.
///
/// # Errors
/// [`BenchError`]: there is no leader to kill.
pub async fn longest_gap(kind: Kind, peer: &Peer, time: Duration) -> Result<Duration, BenchError> {
    let leader = match kind {
        Kind::Etcd => etcd::leader(peer).await?,
        // Its queue's leader is where it was declared.
        Kind::Rabbit => 0,
    };
    let process = peer.processes.get(leader).copied();
    let process = process.ok_or_else(|| BenchError::new("killing a leader", "its process is not known"))?;
    let mut ways = peer.addresses.clone();
    ways.rotate_left(leader);
    let killer = async {
        sleep(time / 3).await;
        let killed = tokio::process::Command::new("kill").args(["-9", &process.to_string()]).status().await;
        killed.map_err(|error| BenchError::new("killing a leader", error))
    };
    let (gap, killed) = tokio::join!(gap(kind, &ways, time), killer);
    killed?;
    Ok(gap)
}

async fn gap(kind: Kind, ways: &[String], time: Duration) -> Duration {
    let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut ways = ways.iter().cycle();
    let mut slot = None;
    while began.elapsed() < time {
        if slot.is_none() {
            let Some(way) = ways.next() else { break };
            slot = timeout(TRY, connect(kind, way)).await.ok().flatten();
        }
        let done = match &mut slot {
            Some(Either::Etcd(slot)) => matches!(timeout(TRY, slot.once()).await, Ok(Ok(_))),
            Some(Either::Rabbit(_, slot)) => matches!(timeout(TRY, slot.once()).await, Ok(Ok(_))),
            None => false,
        };
        if done {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        } else {
            slot = None;
            sleep(TRY / 100).await;
        }
    }
    longest.max(last.elapsed())
}

enum Either {
    Etcd(Puts),
    /// The connection goes with its channel.
    Rabbit(
        #[expect(dead_code, reason = "held so that its channels stay open")] Rabbit,
        super::rabbit::Publishes,
    ),
}

async fn connect(kind: Kind, way: &str) -> Option<Either> {
    match kind {
        Kind::Etcd => Puts::connect(&[way.to_owned()], 1, 100).await.ok()?.pop().map(Either::Etcd),
        Kind::Rabbit => {
            let peer = Peer { addresses: vec![way.to_owned()], processes: Vec::new() };
            let rabbit = Rabbit::connect(&peer).await.ok()?;
            let slot = rabbit.publishers(1, 100).await.ok()?.pop()?;
            Some(Either::Rabbit(rabbit, slot))
        }
    }
}
