//! The three crashes and the two holes of the load balancer this grew from, by containers.

use std::time::{Duration, Instant};

use tests::client::{attempts, id, job};
use tests::containers::{ALL, Containers, NODES};

use tests::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_masters_container_is_replaced_while_jobs_go_on_and_comes_back_as_a_worker() {
    let Some(containers) = Containers::nodes().await else { return };
    let first = containers.leader().await;
    let others = containers.others(&first);
    let load = Load::start(containers.client_without(&first));
    load.goes_on(20).await;
    containers.kill(&first);
    load.goes_on(1).await;
    let second = containers.leader_of(&others).await;
    assert_ne!(second, first);
    let (_, log) = containers.get(&second, "/logging").await.expect("an answer");
    assert!(log.as_str().expect("text").contains("Is master container"), "its log names the new master");
    let after = containers.client_without(&first).run(&job("echo", "crash 1")).await;
    assert_eq!(after["state"], "succeeded", "{after}");
    containers.start(&first);
    containers.whole(&ALL).await;
    assert_ne!(containers.leader().await, first, "it is a worker now");
    let after =
        containers.client_of([first.as_str()]).run(&job("echo", "through the one that came back")).await;
    assert_eq!(after["state"], "succeeded", "{after}");
    load.goes_on(20).await;
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_container_gets_no_job_and_gets_some_again_when_it_is_back() {
    let Some(containers) = Containers::nodes().await else { return };
    let leader = containers.leader().await;
    let killed = containers.others(&leader)[0];
    containers.kill(killed);
    let client = containers.client_of([leader.as_str()]);
    for _ in 0..6 {
        let ended = client.run(&job("echo", "crash 2")).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        let by = ended["attempts"].as_array().and_then(|all| all.last()).expect("an attempt");
        assert_ne!(by["node"], killed, "{ended}");
    }
    containers.start(killed);
    containers.whole(&ALL).await;
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(id(&client.submit(&job("sleep", "2")).await).to_string());
    }
    let mut ran = Vec::new();
    for id in &waiting {
        ran.push(client.ended(id).await["attempts"][0]["node"].as_str().unwrap_or_default().to_string());
    }
    assert!(ran.iter().any(|node| node == killed), "{killed} gets jobs again: {ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_forwarded_before_the_masters_container_is_killed_has_one_result() {
    let Some(containers) = Containers::nodes().await else { return };
    let first = containers.leader().await;
    let client = containers.client_without(&first);
    let j = id(&client.submit(&job("sleep", "3")).await).to_string();
    let (worker, _) = containers.runner(&client, &j, 1).await;
    assert_ne!(worker, first, "workers run jobs, the master does not");
    containers.kill(&first);
    let ended = client.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(
        ended["attempts"].as_array().map(Vec::len),
        Some(1),
        "its worker lived, so it ran once: {ended}"
    );
    containers.start(&first);
    containers.whole(&ALL).await;
    let later = containers.client_of([first.as_str()]).look(&j).await;
    assert_eq!(later["result"], ended["result"], "and the one that came back knows the same result");
    assert_eq!(later["attempts"].as_array().map(Vec::len), Some(1), "{later}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_masters_container_killed_between_acknowledging_and_dispatching_loses_no_job() {
    // The hook holds what the founder would send to workers, so the hole stays open until it is killed.
    let held =
        "version: \"3.8\"\nservices:\n  server:\n    environment: {UNDERSTUDY_HOLD_DISPATCH: \"true\"}\n";
    let Some(containers) = Containers::nodes_with(held).await else { return };
    assert_eq!(containers.leader().await, "server", "the founder leads at first");
    let client = containers.client_without("server");
    let j = id(&client.submit(&job("echo", "through the hole")).await).to_string();
    let (_, seen) = containers.get("worker1", &format!("/api/v1/jobs/{j}?wait=1s")).await.expect("an answer");
    assert!(seen["finished_at"].is_null(), "dispatch is held: {seen}");
    containers.kill("server");
    let ended = client.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["result"]["output"], "through the hole");
    assert_eq!(attempts(&ended, "succeeded"), 1, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_killed_workers_container_runs_again_elsewhere_within_5_seconds() {
    let Some(containers) = Containers::nodes().await else { return };
    let leader = containers.leader().await;
    let client = containers.client_of([leader.as_str()]);
    let j = id(&client.submit(&job("sleep", "6")).await).to_string();
    let (worker, _) = containers.runner(&client, &j, 1).await;
    assert_ne!(worker, leader);
    containers.kill(&worker);
    let since = Instant::now();
    let (second, number) = containers.runner(&client, &j, 2).await;
    let gap = since.elapsed();
    println!("worker's container killed, its job runs again after {gap:?}");
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    assert_eq!(number, 2);
    assert_ne!(second, worker, "it runs elsewhere");
    let ended = client.ended(&j).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!((attempts(&ended, "lost"), attempts(&ended, "succeeded")), (1, 1), "{ended}");
    containers.start(&worker);
    containers.whole(&ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_container_stops_softly_and_recovers_by_curl() {
    let Some(containers) = Containers::everything().await else { return };
    for (name, port) in [("client", 3001), ("database", 3003)] {
        for expected in ["True", "False"] {
            let told = containers.get_port(port, "/stop").await.expect("/stop answers");
            assert_eq!(told.1.as_str().map(str::trim_end), Some(expected), "{name}: {told:?}");
        }
    }
    for (node, port) in NODES {
        let told = containers.get_port(port, "/stop").await.expect("/stop answers");
        assert_eq!(told.1.as_str().map(str::trim_end), Some("True"), "{node}: {told:?}");
        let ended = containers.client_without(node).run(&job("echo", node)).await;
        assert_eq!(ended["state"], "succeeded", "{node} is stopped: {ended}");
        let told = containers.get_port(port, "/stop").await.expect("/stop answers");
        assert_eq!(told.1.as_str().map(str::trim_end), Some("False"), "{node}: {told:?}");
        containers.whole(&ALL).await;
    }
}
