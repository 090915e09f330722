//! Waiting for what must come, with a deadline so generous that only a fault reaches it.

use std::time::{Duration, Instant};

/// How long a thing may take that takes a second on a calm machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is asked for.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks again and again until there is an answer; panics after [`PATIENCE`] and says `what` never came.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until(what, PATIENCE, ask).await
}

/// As [`eventually`], with a deadline of its own.
pub async fn until<T>(what: &str, patience: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        tokio::time::sleep(PERIOD).await;
    }
}
