//! `/stop`: the soft crash, and the three crashes the first load balancer's guide suggests.

use nix::sys::signal::Signal;
use reqwest::Method;
use tests::client::{attempts, id, job, problem};
use tests::{Cluster, Plan, eventually};

#[tokio::test]
async fn stop_toggles_and_the_node_serves_again() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    let (status, body) = cluster.get(leader, "/api/v1/jobs").await.expect("a stopped node answers");
    assert_eq!((status.as_u16(), problem(&body)), (503, "stopped"), "{body}");
    for path in ["/livez", "/logging"] {
        let (status, _) = cluster.get(leader, path).await.expect("an answer");
        assert_eq!(status, 200, "{path} answers while stopped");
    }
    let (_, log) = cluster.get(leader, "/logging").await.expect("an answer");
    assert!(log.as_str().expect("text").contains("CRASH :("), "{log}");
    cluster.resume(leader).await;
    cluster.whole().await;
    let (_, log) = cluster.get(leader, "/logging").await.expect("an answer");
    assert!(log.as_str().expect("text").contains("RECOVERED :)"), "{log}");
    let job = cluster.client_of([leader]).run(&job("echo", "back")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
}

#[tokio::test]
async fn a_master_stopped_before_a_job_is_sent_is_replaced_by_a_worker() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let first = cluster.leader().await;
    cluster.stop(first).await;
    let others: Vec<usize> = cluster.all().filter(|k| *k != first).collect();
    let client = cluster.client_of(others.iter().copied());
    let ended = client.run(&job("echo", "crash 1")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert!(client.told().is_empty(), "{:?}", client.told());
    let second = cluster.leader().await;
    assert_ne!(second, first);
    let (_, log) = cluster.get(second, "/logging").await.expect("an answer");
    assert!(log.as_str().expect("text").contains("Is master container"), "the log names the new master");
    let status = cluster.status(second).await.expect("it serves");
    let card =
        status["nodes"].as_array().expect("nodes").iter().find(|n| n["name"] == cluster.node(first).name);
    let card = card.expect("the stopped node is still listed");
    eventually("the status says who is stopped", async || {
        let status = cluster.status(second).await?;
        let node = status["nodes"].as_array()?.iter().find(|n| n["id"] == card["id"])?.clone();
        (node["alive"] == false && node["stopped"] == true).then_some(())
    })
    .await;
    cluster.resume(first).await;
    cluster.whole().await;
    assert_ne!(cluster.leader().await, first, "it comes back as a worker");
}

#[tokio::test]
async fn a_worker_stopped_before_a_job_is_sent_gets_none() {
    let cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let stopped = cluster.all().find(|k| *k != leader).expect("four nodes");
    cluster.stop(stopped).await;
    let client = cluster.client_of([leader]);
    for _ in 0..6 {
        let ended = client.run(&job("echo", "crash 2")).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
    }
    let name = &cluster.node(stopped).name;
    let (_, list) = cluster.get(leader, "/api/v1/jobs").await.expect("a list");
    for listed in list["items"].as_array().expect("items") {
        let succeeded =
            listed["attempts"].as_array().expect("attempts").iter().find(|a| a["state"] == "succeeded");
        assert_ne!(succeeded.map(|a| &a["node"]), Some(&name.as_str().into()), "{listed}");
    }
}

#[tokio::test]
async fn a_master_stopped_while_a_job_runs_has_its_result_recorded_once_by_the_next() {
    let mut cluster = Cluster::start(Plan::of(4)).await;
    let first = cluster.leader().await;
    let client = cluster.client_of(cluster.all().filter(|k| *k != first));
    let j = id(&client.submit(&job("sleep", "2")).await).to_string();
    let (_, number) = cluster.runner(&client, &j, 1).await;
    assert_eq!(number, 1);
    cluster.stop(first).await;
    let ended = client.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(attempts(&ended, "succeeded"), 1, "{ended}");
    assert_eq!(
        ended["attempts"].as_array().map(Vec::len),
        Some(1),
        "its worker lived, so it ran once: {ended}"
    );
    cluster.resume(first).await;
    cluster.whole().await;
}

#[tokio::test]
async fn no_foreign_page_and_no_glance_stops_a_node() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let stop = |method: Method| cluster.request(method, 1, "/stop");
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Referer", "http://evil.example/page"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = stop(Method::GET).header(name, value).send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let head = stop(Method::HEAD).send().await.expect("an answer");
    assert!(!head.status().is_server_error(), "{}", head.status());
    assert!(cluster.status(1).await.is_some(), "it still serves");
}

#[tokio::test]
async fn without_chaos_nothing_stops_a_node() {
    let cluster = Cluster::start(Plan::of(1).without_chaos()).await;
    for (method, path) in [(Method::GET, "/stop"), (Method::POST, "/api/v1/nodes/self/stop")] {
        let request = cluster.request(method, 1, path);
        let (status, body) = tests::client::answer(request).await.expect("an answer");
        assert_eq!((status.as_u16(), problem(&body)), (403, "chaos-off"), "{path}: {body}");
    }
    assert!(cluster.status(1).await.is_some(), "it still serves");
}

#[tokio::test]
async fn a_node_asked_to_end_hands_over_and_ends() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let client = cluster.client_of(cluster.all().filter(|k| *k != leader));
    cluster.node(leader).signal(Signal::SIGTERM);
    let ended = client.run(&job("echo", "after the hand-over")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let status = cluster.node_mut(leader).wait_end(std::time::Duration::from_secs(30));
    assert!(status.success(), "{status}");
}
