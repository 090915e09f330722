//! Jobs that keep coming while something breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, attempts, id, job};
use crate::wait::until;
use serde_json::Value;
use tokio::task::JoinHandle;

/// Submits one small job after the other, each acknowledged before the next.
pub struct Load {
    client: Arc<Client>,
    ends: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    gap_ms: Arc<AtomicU64>,
    task: JoinHandle<Vec<String>>,
}

impl Load {
    /// Begins with this client.
    pub fn start(client: Client) -> Self {
        let (client, ends) = (Arc::new(client), Arc::new(AtomicBool::new(false)));
        let (count, gap_ms) = (Arc::default(), Arc::default());
        let task = submit_on(Arc::clone(&client), Arc::clone(&ends), Arc::clone(&count), Arc::clone(&gap_ms));
        Self { client, ends, count, gap_ms, task: tokio::spawn(task) }
    }

    /// Waits until this many more jobs were acknowledged.
    pub async fn goes_on(&self, more: usize) {
        let goal = self.count.load(Ordering::Relaxed) + more;
        until(&format!("{more} more jobs are acknowledged"), Duration::from_secs(60), async || {
            (self.count.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// The longest time between two acknowledgements so far.
    pub fn longest_gap(&self) -> Duration {
        Duration::from_millis(self.gap_ms.load(Ordering::Relaxed))
    }

    /// Ends it, waits for every job it was promised and says how many: each has succeeded, once, with its own output.
    pub async fn all_succeeded_once(self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        let ids = self.task.await.expect("the load itself does not fail");
        for (n, id) in ids.iter().enumerate() {
            let job: Value = self.client.ended(id).await;
            assert_eq!(job["state"], "succeeded", "{job}");
            assert_eq!(job["result"]["output"], n.to_string(), "{job}");
            assert_eq!(attempts(&job, "succeeded"), 1, "{job}");
        }
        ids.len()
    }
}

async fn submit_on(
    client: Arc<Client>,
    ends: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    gap_ms: Arc<AtomicU64>,
) -> Vec<String> {
    let mut ids = Vec::new();
    let mut before = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        let acknowledged = client.submit(&job("echo", &ids.len().to_string())).await;
        ids.push(id(&acknowledged).to_string());
        count.fetch_add(1, Ordering::Relaxed);
        gap_ms.fetch_max(u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        before = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ids
}
