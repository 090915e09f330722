//! What was acknowledged is there afterwards, and a repeat is no second job.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::{answer, fresh_key, id, job, problem};
use tests::{Cluster, Plan, eventually};

#[tokio::test]
async fn a_kill_of_all_nodes_at_once_loses_no_acknowledged_job() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let mut kept: Vec<(String, Value)> = Vec::new();
    {
        let client = cluster.client(1);
        for n in 0..5 {
            let ended = client.run(&job("echo", &format!("done {n}"))).await;
            kept.push((id(&ended).to_string(), ended));
        }
        for n in 0..20 {
            let asked = json!({"class": "sleep", "payload": "0.2", "labels": {"n": n.to_string()}});
            let acknowledged = client.submit(&asked).await;
            kept.push((id(&acknowledged).to_string(), acknowledged));
        }
    }
    for k in cluster.all() {
        cluster.kill(k);
    }
    for k in cluster.all() {
        cluster.restart(k);
    }
    cluster.whole().await;
    let client = cluster.client(2);
    for (j, before) in &kept {
        let ended = client.ended(j).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert_eq!(ended["labels"], before["labels"], "{ended}");
        if before["state"] == "succeeded" {
            assert_eq!(ended["finished_at"], before["finished_at"], "an ended job does not run again");
            assert_eq!(ended["result"], before["result"]);
        }
    }
}

async fn submit(cluster: &Cluster, k: usize, key: &str, body: &Value) -> (StatusCode, bool, Value) {
    let request = cluster.request(Method::POST, k, "/api/v1/jobs").header("Idempotency-Key", key).json(body);
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let replayed = headers.get("Idempotent-Replayed").is_some_and(|v| v == "true");
    (status, replayed, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn one_key_through_two_gateways_is_one_job() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let body = job("echo", "once");
    for _ in 0..5 {
        let key = fresh_key();
        let (a, b) = tokio::join!(submit(&cluster, 2, &key, &body), submit(&cluster, 3, &key, &body));
        assert_eq!(id(&a.2), id(&b.2), "{a:?} {b:?}");
        let mut answers = [(a.0.as_u16(), a.1), (b.0.as_u16(), b.1)];
        answers.sort_unstable();
        assert_eq!(answers, [(200, true), (201, false)]);
        let (status, _, other) = submit(&cluster, 1, &key, &job("echo", "something else")).await;
        assert_eq!((status.as_u16(), problem(&other)), (422, "key-reused"), "{other}");
    }
    let (_, list) = cluster.get(1, "/api/v1/jobs").await.expect("a list");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(5), "{list}");
}

#[tokio::test]
async fn a_key_is_remembered_by_the_next_leader() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let other = cluster.all().find(|k| *k != leader).expect("three nodes");
    let (key, body) = (fresh_key(), job("echo", "before the crash"));
    let (status, _, first) = submit(&cluster, leader, &key, &body).await;
    assert_eq!(status, 201, "{first}");
    cluster.kill(leader);
    let repeated = tests::eventually("the next leader answers", async || {
        let request = cluster.request(Method::POST, other, "/api/v1/jobs").header("Idempotency-Key", &key);
        answer(request.json(&body)).await.ok().filter(|(status, _)| status.is_success())
    })
    .await;
    assert_eq!(repeated.0, 200, "{repeated:?}");
    assert_eq!(id(&repeated.1), id(&first), "the same job");
}

#[tokio::test]
async fn a_newcomer_gets_jobs_also_when_the_founder_leads_no_more() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let founder = cluster.leader().await;
    let _ = cluster.post(founder, "/api/v1/leader/transfer", &json!({})).await;
    let client = cluster.client(founder);
    eventually("another node leads", async || (cluster.leader().await != founder).then_some(())).await;
    let k = cluster.add();
    cluster.restart(k);
    let name = cluster.node(k).name.clone();
    eventually("the newcomer runs a job", async || {
        let job = client.run(&job("echo", "welcome")).await;
        (job["attempts"][0]["node"] == *name).then_some(())
    })
    .await;
}
