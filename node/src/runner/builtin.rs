//! The classes every node has: `echo`, `sleep`, `burn`, `hash`. They run within the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use protocol::duration::parse_seconds_or_duration_ms;
use protocol::{Outcome, Reason};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::live::{Live, Wish};
use crate::keeper::lower_priority;

/// The built-in classes.
pub(super) const NAMES: [&str; 4] = ["burn", "echo", "hash", "sleep"];
/// A payload from this size on is hashed beside the runtime, not in it.
const HASH_ASIDE_BYTES: usize = 16 << 10;
/// Rounds of arithmetic between two looks at the clock: some tens of microseconds.
const BURN_ROUNDS: u64 = 20_000;

/// What a class brings that needs no time at all; none for the others.
pub(super) fn at_once(class: &str, payload: &Bytes) -> Option<Outcome> {
    (class == "echo").then(|| Outcome::success(payload.clone()))
}

/// Runs a built-in class; none when it is not one.
pub(super) async fn run(
    class: &str,
    payload: &Bytes,
    timeout_ms: Option<u64>,
    live: &Live,
) -> Option<Outcome> {
    Some(match class {
        "hash" => hash(payload.clone()).await,
        "sleep" => match duration_ms(class, payload) {
            Ok(ms) => sleep(ms, payload, timeout_ms, live).await,
            Err(error) => Outcome::failure(Reason::Exit, error),
        },
        "burn" => match duration_ms(class, payload) {
            Ok(ms) => burn(ms, payload, timeout_ms, live).await,
            Err(error) => Outcome::failure(Reason::Exit, error),
        },
        _ => return None,
    })
}

fn duration_ms(class: &str, payload: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(payload).map_err(|_| format!("the payload of {class} is not text"))?;
    parse_seconds_or_duration_ms(text).map_err(|error| {
        let shown: String = text.chars().take(40).collect();
        format!("the payload of {class} is seconds or a duration, this is {shown:?}: {error}")
    })
}

async fn hash(payload: Bytes) -> Outcome {
    let digest = |payload: &[u8]| {
        let hex: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
        Bytes::from(hex)
    };
    if payload.len() < HASH_ASIDE_BYTES {
        return Outcome::success(digest(&payload));
    }
    match spawn_blocking(move || digest(&payload)).await {
        Ok(hex) => Outcome::success(hex),
        Err(error) => Outcome::failure(Reason::Exit, format!("hashing did not end: {error}")),
    }
}

async fn sleep(ms: u64, payload: &Bytes, timeout_ms: Option<u64>, live: &Live) -> Outcome {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => Outcome::success(payload.clone()),
        cut = cut_short(timeout_ms, live) => cut,
    }
}

/// Spends processor time on a thread of its own, which looks for its end every few microseconds.
async fn burn(ms: u64, payload: &Bytes, timeout_ms: Option<u64>, live: &Live) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut ended) = oneshot::channel();
    let flag = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("burn".into()).spawn(move || {
        lower_priority();
        // Nobody listens any more only when the node is ending.
        let _ = done.send(spend(ms, &flag));
    });
    if let Err(error) = thread {
        return Outcome::failure(Reason::Exit, format!("cannot start a thread for burn: {error}"));
    }
    let cut = tokio::select! {
        _ = &mut ended => None,
        cut = cut_short(timeout_ms, live) => Some(cut),
    };
    let Some(mut cut) = cut else {
        return Outcome { cpu_ms: Some(ms), ..Outcome::success(payload.clone()) };
    };
    stop.store(true, Ordering::Relaxed);
    cut.cpu_ms = ended.await.ok();
    cut
}

/// Burns until this thread has had `ms` of processor time or is stopped; how much it had.
fn spend(ms: u64, stop: &AtomicBool) -> u64 {
    let mut number = 1_u64;
    loop {
        let spent_ms = thread_cpu_ms();
        if spent_ms >= ms || stop.load(Ordering::Relaxed) {
            return spent_ms;
        }
        for round in 0..BURN_ROUNDS {
            number = std::hint::black_box(number.rotate_left(7) ^ round);
        }
    }
}

fn thread_cpu_ms() -> u64 {
    // It has no way to fail for the calling thread; if it did, the burn would end at once instead of never.
    getrusage(UsageWho::RUSAGE_THREAD).map_or(u64::MAX, |usage| {
        super::child::milliseconds(usage.user_time()) + super::child::milliseconds(usage.system_time())
    })
}

/// Waits until the attempt must end before its time, and says how it ended then.
async fn cut_short(timeout_ms: Option<u64>, live: &Live) -> Outcome {
    let limit_ms = timeout_ms.unwrap_or(u64::MAX);
    let limit = async {
        match timeout_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = limit => Outcome::failure(Reason::Timeout, timeout_text(limit_ms)),
        () = live.wished(Wish::Cancel) => Outcome::failure(Reason::Signal, CANCELLED.into()),
    }
}

/// The error of an attempt that somebody ended.
pub(super) const CANCELLED: &str = "cancelled";

/// The error of an attempt that took too long.
pub(super) fn timeout_text(timeout_ms: u64) -> String {
    format!("ran longer than its timeout of {timeout_ms} ms")
}

/// The error of an attempt that was silent too long.
pub(super) fn quiet_text(quiet_ms: u64) -> String {
    format!("printed nothing for longer than its quiet_limit of {quiet_ms} ms")
}
