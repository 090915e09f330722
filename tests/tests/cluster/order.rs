//! In which order jobs begin, and what jobs of one key keep to together.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use tests::client::{has_ended, id, job, problem};
use tests::{Client, Cluster, Plan, eventually};

/// Jobs in the order in which the ledger gave each its first attempt.
async fn given(cluster: &Cluster, k: usize) -> Vec<String> {
    let request = cluster.request(Method::GET, k, "/logging?source=cluster&format=jsonl&limit=10000");
    let text = request.send().await.expect("/logging answers").text().await.expect("text");
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let given = records.filter(|record| record["event"] == "dispatched");
    let mut jobs: Vec<String> = Vec::new();
    for job in given.filter_map(|record| record["job"].as_str().map(ToString::to_string)) {
        if !jobs.contains(&job) {
            jobs.push(job);
        }
    }
    jobs
}

#[tokio::test]
async fn thirty_jobs_of_three_priorities_and_two_submitters_begin_in_the_order_of_the_rule() {
    // The leader runs no jobs: two workers with two slots each.
    let cluster = Cluster::start(Plan::of(3).slots(2)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let mut before = Vec::new();
    for _ in 0..4 {
        before.push(id(&client.submit(&job("sleep", "100")).await).to_string());
    }
    for long in &before {
        cluster.runner(&client, long, 1).await;
    }
    // Anna sends seven of each priority, and then Bert sends three of each.
    let mut names: Vec<(String, String)> = Vec::new();
    for (submitter, count) in [("anna", 7), ("bert", 3)] {
        for n in 1..=count {
            for priority in [1, 9, 4] {
                let asked =
                    json!({"class": "sleep", "payload": "0.2", "priority": priority, "submitter": submitter});
                let accepted = client.submit(&asked).await;
                names.push((id(&accepted).to_string(), format!("{priority} {submitter} {n}")));
            }
        }
    }
    for long in &before {
        let (status, _) =
            cluster.post(leader, &format!("/api/v1/jobs/{long}/cancel"), &json!({})).await.expect("ok");
        assert_eq!(status, 200);
    }
    for (job, name) in &names {
        let ended = client.ended(job).await;
        assert_eq!(ended["state"], "succeeded", "{name}: {ended}");
    }
    let name_of = |job: &String| names.iter().find(|(known, _)| known == job).map(|(_, name)| name.clone());
    let order: Vec<String> = given(&cluster, leader).await.iter().filter_map(name_of).collect();
    println!("{}", order.join("\n"));
    let mut rule = Vec::new();
    for priority in [9, 4, 1] {
        for n in 1..=7 {
            rule.push(format!("{priority} anna {n}"));
            rule.extend((n <= 3).then(|| format!("{priority} bert {n}")));
        }
    }
    assert_eq!(order, rule);
}

fn at(time: &Value) -> Option<SystemTime> {
    humantime::parse_rfc3339(time.as_str()?).ok()
}

/// When each attempt began and ended.
fn spans(jobs: &[Value]) -> Vec<(SystemTime, SystemTime)> {
    let attempts = jobs.iter().flat_map(|job| job["attempts"].as_array().expect("attempts"));
    let span = |attempt: &Value| Some((at(&attempt["started_at"])?, at(&attempt["finished_at"])?));
    attempts.map(|attempt| span(attempt).unwrap_or_else(|| panic!("it has ended: {attempt}"))).collect()
}

async fn all_ended(client: &Client, ids: &[String]) -> Vec<Value> {
    let mut ended = Vec::new();
    for job in ids {
        let job = client.ended(job).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        ended.push(job);
    }
    ended
}

async fn submitted(client: &Client, count: usize, asked: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id(&client.submit(asked).await).to_string());
    }
    ids
}

#[tokio::test]
async fn of_a_key_no_more_jobs_run_than_it_allows_and_a_killed_leader_changes_nothing() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let limits = json!({"key": "license", "concurrency": 2});
    let ids = submitted(&client, 10, &json!({"class": "sleep", "payload": "0.5", "limits": limits})).await;
    let last = ids.last().expect("ten");
    let (_, why) = cluster.get(leader, &format!("/api/v1/jobs/{last}/why")).await.expect("an answer");
    assert_eq!((&why["state"], why["chosen"].is_null()), (&json!("queued"), true), "{why}");
    assert_eq!(why["text"], "waits: 2 of the key license run, and at most 2 may", "{why}");
    // A job without that key passes them all.
    let other = client.run(&job("echo", "free")).await;
    let waiting = client.look(last).await;
    assert!(other["state"] == "succeeded" && !has_ended(&waiting), "{waiting}");
    client.ended(&ids[2]).await;
    cluster.kill(leader);
    let others = cluster.client_of(cluster.all().filter(|k| *k != leader).collect::<Vec<_>>());
    let spans = spans(&all_ended(&others, &ids).await);
    let at_once = |from: &SystemTime| spans.iter().filter(|(begin, end)| begin <= from && from < end).count();
    let most = spans.iter().map(|(begin, _)| at_once(begin)).max().unwrap_or(0);
    println!("{} attempts, at most {most} at once", spans.len());
    assert_eq!(most, 2, "{spans:?}");
}

#[tokio::test]
async fn of_a_key_no_more_jobs_start_in_a_second_than_its_rate_says() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let limits = json!({"key": "api", "rate": "5/s"});
    let ids = submitted(&client, 15, &json!({"class": "echo", "payload": "x", "limits": limits})).await;
    let mut starts: Vec<SystemTime> =
        spans(&all_ended(&client, &ids).await).iter().map(|(begin, _)| *begin).collect();
    starts.sort_unstable();
    let first = starts[0];
    let took_ms: Vec<u128> =
        starts.iter().map(|start| start.duration_since(first).unwrap_or_default().as_millis()).collect();
    println!("started at {took_ms:?} ms");
    // Periods are of cluster time, which a busy machine's wall clock runs ahead of, never behind; a turn of the loop may lie
    // between.
    let window = Duration::from_millis(900);
    for from in &starts {
        let within = starts.iter().filter(|at| *at >= from && **at < *from + window).count();
        assert!(within <= 5, "{within} in a second: {took_ms:?}");
    }

    let slow = json!({"class": "echo", "payload": "x", "limits": {"key": "slow", "rate": "1/h"}});
    let [first, second] = [client.submit(&slow).await, client.submit(&slow).await];
    client.ended(id(&first)).await;
    let text = eventually("it says why", async || {
        let (_, why) = cluster.get(leader, &format!("/api/v1/jobs/{}/why", id(&second))).await?;
        why["text"].as_str().map(ToString::to_string)
    })
    .await;
    assert_eq!(text, "waits: 1 of the key slow started within an hour, and at most 1 may");
}

#[tokio::test]
async fn bad_limits_are_refused_by_name() {
    let cluster = Cluster::start(Plan::of(1)).await;
    for (limits, field) in [
        (json!({"concurrency": 2}), "limits.key"),
        (json!({"key": "", "concurrency": 2}), "limits.key"),
        (json!({"key": "k", "concurrency": -2}), "limits.concurrency"),
        (json!({"key": "k", "concurrency": 100_001}), "limits.concurrency"),
        (json!({"key": "k", "rate": "5/d"}), "limits.rate"),
        (json!({"key": "k", "rate": "1000001/s"}), "limits.rate"),
        (json!({"key": "k", "rate": "5/s", "burst": 3}), "limits.burst"),
        (json!({"key": "k"}), "limits"),
    ] {
        let asked = json!({"class": "echo", "limits": limits});
        let (status, body) = cluster.post(1, "/api/v1/jobs", &asked).await.expect("an answer");
        assert_eq!((status.as_u16(), problem(&body)), (422, "invalid"), "{body}");
        assert_eq!(body["errors"][0]["field"], field, "{body}");
    }
}
