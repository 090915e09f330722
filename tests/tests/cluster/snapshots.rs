//! Snapshots from where a user stands: who was away for long comes back with everything, and nobody waits for it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::answer;
use tests::{Cluster, Plan, eventually};

/// Jobs that the others take while one is away; more by an environment variable.
const AWAY_JOBS: usize = 3_000;
/// Requests under way at once.
const OUTSTANDING: usize = 32;

fn away_jobs() -> usize {
    std::env::var("UNDERSTUDY_TEST_AWAY_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(AWAY_JOBS)
}

/// Submits so many jobs that nobody serves; each is acknowledged. Gives how long it took.
async fn submit(cluster: &Cluster, through: usize, first: usize, count: usize) -> Duration {
    let began = Instant::now();
    let ask = |n: usize| {
        let body = json!({"class": "nobody", "payload": format!("job {n}"), "labels": {"n": n.to_string()}});
        let request = cluster.request(Method::POST, through, "/api/v1/jobs").json(&body);
        async move {
            let (status, body) = answer(request).await.expect("an answer");
            assert_eq!(status, StatusCode::CREATED, "{body}");
        }
    };
    let mut waiting = tokio::task::JoinSet::new();
    for n in first..first + count {
        while waiting.len() >= OUTSTANDING {
            waiting.join_next().await.expect("one is under way").expect("it is acknowledged");
        }
        waiting.spawn(ask(n));
    }
    while let Some(done) = waiting.join_next().await {
        done.expect("it is acknowledged");
    }
    began.elapsed()
}

fn rate(count: usize, took: Duration) -> u128 {
    count as u128 * 1_000 / took.as_millis().max(1)
}

async fn log_of(cluster: &Cluster, k: usize) -> String {
    let asked =
        cluster.request(Method::GET, k, "/logging?limit=10000").send().await.expect("/logging answers");
    asked.text().await.expect("text")
}

async fn queued(cluster: &Cluster, k: usize) -> Option<u64> {
    let (_, status) = cluster.get(k, "/api/v1/status").await?;
    status["jobs"]["queued"].as_u64().or_else(|| status["counts"]["queued"].as_u64())
}

/// The newest page of jobs, and one from further back: ids, states and revisions.
async fn history(cluster: &Cluster, k: usize) -> Vec<Value> {
    let (status, page) = cluster.get(k, "/api/v1/jobs?limit=500").await.expect("a list");
    assert_eq!(status, StatusCode::OK, "{page}");
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().map(|job| json!([job["id"], job["state"], job["rev"], job["labels"]])).collect()
}

#[tokio::test]
async fn a_follower_away_for_many_jobs_comes_back_by_snapshot() {
    let count = away_jobs();
    // Small enough that the leader lets its log go many times.
    let bytes = (count * 40).clamp(32 << 10, 16 << 20);
    let mut cluster = Cluster::start(Plan::of(3).flag(format!("--snapshot-bytes={bytes}"))).await;
    let leader = cluster.leader().await;
    let away = cluster.all().find(|k| *k != leader).expect("three nodes");
    let before = submit(&cluster, leader, 0, count / 2).await;
    cluster.kill(away);
    let alone = submit(&cluster, leader, count / 2, count / 2).await;
    let snapshots = std::fs::read_dir(cluster.node(leader).data.join("snap")).expect("a folder of snapshots");
    let made = snapshots
        .filter_map(|file| file.ok())
        .filter(|file| file.path().extension().is_some_and(|e| e == "snap"));
    assert!(made.count() > 0, "the leader has made snapshots and let its log go");

    cluster.restart(away);
    // The leader goes on working meanwhile.
    let more = count / 4;
    let during = submit(&cluster, leader, count, more).await;
    let whole = (count / 2 * 2 + more) as u64;
    let began = Instant::now();
    eventually("the follower has every job", async || (queued(&cluster, away).await? == whole).then_some(()))
        .await;
    let log = log_of(&cluster, away).await;
    assert!(log.contains("by a snapshot"), "it came back by a snapshot, not by the log: {log}");
    println!(
        "{count} jobs: {} a second with three nodes, {} with two, {} while one comes back; it had all {} ms after the last",
        rate(count / 2, before),
        rate(count / 2, alone),
        rate(more, during),
        began.elapsed().as_millis(),
    );
    for k in cluster.all() {
        assert_eq!(queued(&cluster, k).await, Some(whole), "node {k}");
        assert_eq!(history(&cluster, k).await, history(&cluster, leader).await, "node {k}");
    }

    // Started again, it has all that it had, without the others.
    for k in cluster.all() {
        cluster.kill(k);
    }
    for k in cluster.all() {
        cluster.restart(k);
    }
    cluster.whole().await;
    for k in cluster.all() {
        eventually("every node has every job again", async || {
            (queued(&cluster, k).await? == whole).then_some(())
        })
        .await;
    }
    // And it counts as a voter: with it and without one of the others, jobs are taken.
    let leader = cluster.leader().await;
    let third = cluster.all().find(|k| *k != leader && *k != away).expect("three nodes");
    cluster.kill(third);
    let through = if leader == third { away } else { leader };
    eventually("jobs are taken with it", async || {
        let body = json!({"class": "nobody", "payload": "one more"});
        let request = cluster.request(Method::POST, through, "/api/v1/jobs").json(&body);
        answer(request).await.ok().filter(|(status, _)| *status == StatusCode::CREATED)
    })
    .await;
}
