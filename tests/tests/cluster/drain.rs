//! Nodes that are to get nothing new: because somebody asked, or because they are told to end.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::client::{attempts, id, job};
use tests::{Client, Cluster, Plan, eventually, understudy};

/// What a node that is told to end may take on a busy machine.
const FAREWELL: Duration = Duration::from_secs(40);

/// A script that says by a file that it runs, and goes on until another file is there.
fn waits_for(folder: &std::path::Path, name: &str) -> Value {
    let folder = folder.display();
    job(
        "sh",
        &format!(
            "echo began >> {folder}/{name}.began; while [ ! -e {folder}/{name}.go ]; do sleep 0.05; done; echo {name}"
        ),
    )
}

fn starts(folder: &std::path::Path, name: &str) -> usize {
    fs::read_to_string(folder.join(format!("{name}.began"))).map_or(0, |text| text.lines().count())
}

/// Runs one short job after another until `over`; the jobs as they ended.
async fn load(client: &Client, over: &AtomicBool) -> Vec<Value> {
    let mut ended = Vec::new();
    while !over.load(Ordering::Relaxed) {
        ended.push(client.run(&job("sleep", "5ms")).await);
    }
    ended
}

async fn card(cluster: &Cluster, k: usize, name: &str) -> Option<Value> {
    let status = cluster.status(k).await?;
    status["nodes"].as_array()?.iter().find(|node| node["name"] == *name).cloned()
}

async fn shown_as_draining(cluster: &Cluster, k: usize, name: &str, draining: bool) {
    eventually(&format!("node {k} shows {name} as draining: {draining}"), async || {
        (card(cluster, k, name).await?["draining"] == draining).then_some(())
    })
    .await;
}

/// Gives every slot of worker1 a job that waits for a word; their names and ids.
async fn fill(cluster: &Cluster, client: &Client) -> Vec<(String, String)> {
    let mut held = Vec::new();
    let mut n = 0;
    while held.len() < 4 {
        n += 1;
        assert!(n < 40, "worker1 gets none of these jobs");
        let name = format!("job{n}");
        let mut job = waits_for(cluster.folder(), &name);
        job["requires"] = json!({"at": "worker1"});
        let submitted = client.submit(&job).await;
        held.push((name, id(&submitted).to_string()));
    }
    for (name, _) in &held {
        eventually("it has begun", async || (starts(cluster.folder(), name) == 1).then_some(())).await;
    }
    held
}

/// Three nodes; worker1 (node 2) alone carries a header.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::laid_out(Plan::of(3));
    for k in cluster.all() {
        let at = cluster.node(k).name.clone();
        cluster.node_mut(k).words.push(format!("--header=at={at}"));
        cluster.restart(k);
    }
    cluster.whole().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_worker_ends_what_it_runs_and_starts_nothing_new_under_load() {
    let mut cluster = cluster().await;
    let (all, client) = (cluster.client(1), cluster.client_of([1, 3]));
    let over = AtomicBool::new(false);
    let load_client = cluster.client_of([1, 3]);
    let (held, load) = tokio::join!(
        async {
            let held = fill(&cluster, &all).await;
            let (status, said) =
                cluster.post(3, "/api/v1/nodes/worker1/drain", &json!({})).await.expect("an answer");
            assert_eq!((status.as_u16(), &said["draining"]), (200, &json!(true)), "{said}");
            for k in cluster.all() {
                shown_as_draining(&cluster, k, "worker1", true).await;
            }
            // Whatever is accepted from here on goes elsewhere, also what only worker1 could take: it waits.
            let waits = client
                .submit(&json!({"class": "echo", "payload": "here", "requires": {"at": "worker1"}}))
                .await;
            for n in 0..50 {
                let ended = client.run(&job("echo", &format!("elsewhere {n}"))).await;
                assert_ne!(ended["attempts"][0]["node"], "worker1", "{ended}");
            }
            assert_eq!(client.look(id(&waits)).await["state"], "queued");
            let why = cluster.get(3, &format!("/api/v1/jobs/{}/why", id(&waits))).await.expect("an answer").1;
            assert!(why.to_string().contains("\"draining\""), "{why}");
            for (name, _) in &held {
                fs::write(cluster.folder().join(format!("{name}.go")), "").expect("a word");
            }
            for (name, id) in &held {
                let ended = client.ended(id).await;
                assert_eq!(ended["state"], "succeeded", "{ended}");
                assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "{ended}");
                assert_eq!(ended["attempts"][0]["node"], "worker1", "{ended}");
                assert_eq!(ended["result"]["output"], format!("{name}\n"));
            }
            over.store(true, Ordering::Relaxed);
            (held, id(&waits).to_string())
        },
        load(&load_client, &over),
    );
    let (_, waits) = held;
    for ended in &load {
        assert_eq!((&ended["state"], attempts(ended, "succeeded")), (&json!("succeeded"), 1), "{ended}");
    }
    cluster.node(2).signal(Signal::SIGTERM);
    assert!(cluster.node_mut(2).wait_end(FAREWELL).success());
    // It stays drained over its restart, and under another leader.
    cluster.restart(2);
    cluster.whole().await;
    shown_as_draining(&cluster, 1, "worker1", true).await;
    cluster.post(1, "/api/v1/leader/transfer", &json!({"to": "worker2"})).await.expect("an answer");
    let ended = client.run(&job("echo", "elsewhere again")).await;
    assert_ne!(ended["attempts"][0]["node"], "worker1", "{ended}");
    shown_as_draining(&cluster, 3, "worker1", true).await;
    assert_eq!(client.look(&waits).await["state"], "queued");
    let words = ["undrain", "worker1", "--server", &cluster.node(1).url()];
    let said = understudy().args(words).output().expect("it runs");
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "worker1 takes attempts again\n");
    let ended = client.ended(&waits).await;
    assert_eq!((&ended["state"], &ended["attempts"][0]["node"]), (&json!("succeeded"), &json!("worker1")));
    shown_as_draining(&cluster, 3, "worker1", false).await;
}

#[tokio::test]
async fn a_worker_told_to_end_with_four_jobs_under_load_ends_them_and_exits_with_0() {
    let mut cluster = cluster().await;
    let (all, client) = (cluster.client(1), cluster.client_of([1, 3]));
    let held = fill(&cluster, &all).await;
    let over = AtomicBool::new(false);
    let load_client = cluster.client_of([1, 3]);
    let (last_start, load) = tokio::join!(
        async {
            client.run(&job("echo", "the load runs")).await;
            cluster.node(2).signal(Signal::SIGTERM);
            shown_as_draining(&cluster, 1, "worker1", true).await;
            let mut nodes = Vec::new();
            for n in 0..50 {
                let ended = client.run(&job("echo", &format!("elsewhere {n}"))).await;
                nodes.push(ended["attempts"][0]["node"].clone());
            }
            for (name, _) in &held {
                fs::write(cluster.folder().join(format!("{name}.go")), "").expect("a word");
            }
            for (name, id) in &held {
                let ended = client.ended(id).await;
                assert_eq!(
                    (&ended["state"], &ended["attempts"][0]["node"]),
                    (&json!("succeeded"), &json!("worker1"))
                );
                assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "{ended}");
                assert_eq!(starts(cluster.folder(), name), 1, "it ran once");
            }
            over.store(true, Ordering::Relaxed);
            nodes
        },
        load(&load_client, &over),
    );
    assert!(last_start.iter().all(|node| node != "worker1"), "{last_start:?}");
    assert!(load.iter().all(|ended| ended["state"] == "succeeded" && attempts(ended, "succeeded") == 1));
    assert!(cluster.node_mut(2).wait_end(FAREWELL).success());
    assert!(client.told().is_empty(), "a live node answered with an error: {:?}", client.told());
}

#[tokio::test]
async fn what_does_not_end_in_time_goes_to_another_node_and_counts_as_no_loss() {
    let mut cluster = Cluster::start(Plan::of(3).settings("[worker]\ndrain_deadline = \"500ms\"\n")).await;
    let client = cluster.client(1);
    let submitted = client.submit(&waits_for(cluster.folder(), "long")).await;
    let (at, _) = cluster.runner(&client, id(&submitted), 1).await;
    eventually("it has begun", async || (starts(cluster.folder(), "long") == 1).then_some(())).await;
    let client = cluster.client_of(cluster.all().filter(|k| *k != at));
    cluster.node(at).signal(Signal::SIGTERM);
    assert!(cluster.node_mut(at).wait_end(FAREWELL).success());
    let (other, _) = cluster.runner(&client, id(&submitted), 2).await;
    assert_ne!(other, at);
    eventually("it began anew", async || (starts(cluster.folder(), "long") == 2).then_some(())).await;
    fs::write(cluster.folder().join("long.go"), "").expect("a word");
    let ended = client.ended(id(&submitted)).await;
    let states: Vec<&str> =
        ended["attempts"].as_array().into_iter().flatten().filter_map(|a| a["state"].as_str()).collect();
    assert_eq!((&ended["state"], states), (&json!("succeeded"), vec!["lost", "succeeded"]), "{ended}");
    let log = fs::read_to_string(&cluster.node(at).log).expect("a log");
    assert!(log.contains("attempts unfinished") && log.contains("has left"), "it says so");
}

#[tokio::test]
async fn a_node_that_is_none_cannot_be_drained() {
    let cluster = Cluster::start(Plan::of(1)).await;
    for verb in ["drain", "undrain"] {
        let (status, body) =
            cluster.post(1, &format!("/api/v1/nodes/nobody/{verb}"), &json!({})).await.expect("an answer");
        assert_eq!((status.as_u16(), &body["detail"]), (404, &json!("no node bears the name \"nobody\"")));
    }
}
