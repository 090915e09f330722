//! The two holes of the load balancer this grew from, and what happens to a worker's children.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::client::{attempts, id, job};
use tests::{Cluster, Plan, eventually, until};

/// What is promised for a job whose worker is lost.
const RUNS_AGAIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_master_stopped_between_acknowledging_and_dispatching_loses_no_job() {
    // The hook holds what the founder would send to workers, so the hole stays open until it is stopped.
    let mut cluster = Cluster::start(Plan::of(4).environment_of(1, "UNDERSTUDY_HOLD_DISPATCH", "true")).await;
    assert_eq!(cluster.leader().await, 1, "the founder leads at first");
    let others = cluster.client_of([2, 3, 4]);
    let acknowledged = others.submit(&job("echo", "through the hole")).await;
    let j = id(&acknowledged).to_string();
    let (_, seen) = cluster.get(2, &format!("/api/v1/jobs/{j}?wait=1s")).await.expect("an answer");
    assert!(seen["finished_at"].is_null(), "dispatch is held: {seen}");
    cluster.stop(1).await;
    let ended = others.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["result"]["output"], "through the hole");
    assert_eq!(attempts(&ended, "succeeded"), 1, "{ended}");
    cluster.resume(1).await;
    cluster.whole().await;
}

/// Waits for attempt 2 of the job and says how long that took from now on.
async fn until_it_runs_again(cluster: &Cluster, client: &tests::Client, j: &str, lost: usize) -> Duration {
    let since = Instant::now();
    let (second, number) = cluster.runner(client, j, 2).await;
    assert_eq!(number, 2);
    assert_ne!(second, lost, "it runs elsewhere");
    since.elapsed()
}

#[tokio::test]
async fn a_job_of_a_stopped_worker_runs_again_elsewhere_within_5_seconds() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let j = id(&client.submit(&job("sleep", "8")).await).to_string();
    let (worker, _) = cluster.runner(&client, &j, 1).await;
    assert_ne!(worker, leader, "workers run jobs, the master does not");
    cluster.stop(worker).await;
    let gap = until_it_runs_again(&cluster, &client, &j, worker).await;
    println!("worker stopped, its job runs again after {gap:?}");
    assert!(gap < RUNS_AGAIN, "{gap:?}");
    cluster.resume(worker).await;
    let ended = client.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!((attempts(&ended, "lost"), attempts(&ended, "succeeded")), (1, 1), "{ended}");
    cluster.whole().await;
}

#[tokio::test]
async fn a_late_result_of_a_paused_worker_does_not_appear_twice() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let client = cluster.client_of(cluster.all().filter(|k| *k == leader));
    let effects = cluster.folder().join("effects");
    let script = format!("echo $UNDERSTUDY_ATTEMPT >> {}; sleep 3; echo done", effects.display());
    let j = id(&client.submit(&job("sh", &script)).await).to_string();
    let (worker, _) = cluster.runner(&client, &j, 1).await;
    let started = || std::fs::read_to_string(&effects).unwrap_or_default();
    eventually("the script has begun", async || (!started().is_empty()).then_some(())).await;
    cluster.pause(worker);
    let gap = until_it_runs_again(&cluster, &client, &j, worker).await;
    assert!(gap < RUNS_AGAIN, "{gap:?}");
    // Its script ended while it stood still; awake again, it brings a result that nobody waits for.
    let ended = client.ended(&j).await;
    cluster.unpause(worker);
    cluster.whole().await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let after = eventually("the late result is dealt with", async || {
        let job = client.look(&j).await;
        let status = cluster.status(leader).await?;
        let name = &cluster.node(worker).name;
        let node = status["nodes"].as_array()?.iter().find(|n| n["name"] == *name)?.clone();
        (node["alive"] == true && node["running"] == 0).then_some(job)
    })
    .await;
    assert_eq!(attempts(&after, "succeeded"), 1, "{after}");
    assert_eq!(after["finished_at"], ended["finished_at"], "an ended job does not change");
    assert_eq!(after["result"], ended["result"], "and keeps its result");
    assert_eq!(after["attempts"].as_array().map(Vec::len), Some(2), "{after}");
    assert_eq!(started().lines().count(), 2, "it ran twice, which is allowed, and no more");
}

#[tokio::test]
async fn a_killed_node_takes_its_jobs_children_with_it() {
    let mut cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let written = cluster.folder().join("pids");
    let script = format!("sleep 600 & echo $$ $! > {}; wait", written.display());
    let _ = client.submit(&json!({"class": "sh", "payload": script})).await;
    let pids: Vec<String> = eventually("the script has a child", async || {
        let text = std::fs::read_to_string(&written).ok()?;
        let pids: Vec<String> = text.split_whitespace().map(ToString::to_string).collect();
        (pids.len() == 2).then_some(pids)
    })
    .await;
    cluster.kill(1);
    until("script and grandchild are gone", Duration::from_secs(20), async || {
        pids.iter().all(|pid| is_gone(pid)).then_some(())
    })
    .await;
}

/// Whether a process has ended (one that nobody reaped yet has).
fn is_gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}
