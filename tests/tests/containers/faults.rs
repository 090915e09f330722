//! What else befalls containers: they stand still, are cut off, and come back at other addresses.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tests::client::{answer, attempts, fresh_key, http, id, job};
use tests::containers::{ALL, Containers, docker};
use tests::{eventually, until};

use tests::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_masters_container_is_replaced_and_awakes_as_a_worker() {
    let Some(containers) = Containers::nodes().await else { return };
    let first = containers.leader().await;
    let others = containers.others(&first);
    let load = Load::start(containers.client_without(&first));
    load.goes_on(20).await;
    containers.pause(&first);
    load.goes_on(1).await;
    let second = containers.leader_of(&others).await;
    assert_ne!(second, first);
    load.goes_on(20).await;
    containers.unpause(&first);
    containers.whole(&ALL).await;
    assert_eq!(containers.leader().await, second, "whoever slept does not take the lead back by itself");
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_cut_off_from_the_others_promises_nothing_and_joins_them_again() {
    let Some(containers) = Containers::nodes().await else { return };
    let first = containers.leader().await;
    let others = containers.others(&first);
    let load = Load::start(containers.client_without(&first));
    load.goes_on(20).await;
    containers.cut(&first, &others);
    // Users reach both sides. The side with one node must not promise what it cannot keep.
    let key = fresh_key();
    let ask =
        http().post(format!("{}/api/v1/jobs", containers.node_url(&first))).timeout(Duration::from_secs(20));
    let asked =
        tokio::spawn(answer(ask.header("Idempotency-Key", &key).json(&job("echo", "to the one cut off"))));
    let second = containers.leader_of(&others).await;
    assert_ne!(second, first);
    load.goes_on(20).await;
    match asked.await.expect("no panic") {
        Ok((status, body)) => assert_eq!(status, 503, "{body}"),
        Err(error) => assert!(error.is_timeout(), "{error}"),
    }
    containers.heal();
    containers.whole(&ALL).await;
    assert_eq!(
        containers.leader().await,
        second,
        "whoever was cut off does not take the lead back by itself"
    );
    let again = http().post(format!("{}/api/v1/jobs?wait=30s", containers.node_url(&second)));
    let again = again.header("Idempotency-Key", &key).json(&job("echo", "to the one cut off"));
    let (status, ended) = answer(again).await.expect("an answer");
    assert!(status.is_success(), "{ended}");
    let (_, list) = containers.get(&second, "/api/v1/jobs?limit=500").await.expect("a list");
    let items = list["items"].as_array().expect("items");
    let same = items.iter().filter(|listed| listed["id"] == ended["id"]).count();
    assert_eq!(same, 1, "asked twice with one key, it is one job");
    assert_eq!(attempts(&ended, "succeeded"), 1, "{ended}");
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_whose_container_returns_at_another_address_is_found_again() {
    let Some(containers) = Containers::nodes().await else { return };
    let first = containers.leader().await;
    let load = Load::start(containers.client_without(&first));
    load.goes_on(5).await;
    let before = containers.address(&first);
    containers.compose(&["rm", "--stop", "--force", &first]);
    let stranger = Stranger::at_first_free_address(&containers, &first);
    containers.up(&[&first]);
    let after = containers.address(&first);
    assert_ne!(after, before, "a stranger lives at its old address");
    containers.whole(&ALL).await;
    let ended = containers.client_of([first.as_str()]).run(&job("echo", "from the new address")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    load.goes_on(20).await;
    println!("{before} became {after}; {} jobs, each once", load.all_succeeded_once().await);
    drop(stranger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_all_return_at_each_others_addresses_are_the_same_cluster() {
    let Some(containers) = Containers::nodes().await else { return };
    let client = containers.client_of(ALL);
    let j = id(&client.run(&job("echo", "before")).await).to_string();
    let cluster = containers.status("server").await.expect("a status")["cluster"].clone();
    let before: BTreeMap<&str, String> = ALL.iter().map(|n| (*n, containers.address(n))).collect();
    containers.compose(&[&["rm", "--stop", "--force"], &ALL[..]].concat());
    // Each takes the first free address. At first they started together, in whatever order; now one after the
    // other, whoever had the last address first.
    let mut backwards = ALL;
    backwards.sort_by_key(|node| Reverse(before[node].parse::<Ipv4Addr>().expect("an address")));
    for node in backwards {
        containers.up(&[node]);
    }
    let after: BTreeMap<&str, String> = ALL.iter().map(|n| (*n, containers.address(n))).collect();
    println!("{before:?} became {after:?}");
    assert!(ALL.iter().any(|n| before[n] != after[n]), "addresses changed: {after:?}");
    containers.whole(&ALL).await;
    for node in ALL {
        let status = eventually("it answers", async || containers.status(node).await).await;
        assert_eq!(status["cluster"], cluster, "{node} is in the same cluster");
        let known = containers.client_of([node]).look(&j).await;
        assert_eq!(known["result"]["output"], "before", "{node} knows the job: {known}");
    }
    let ended = client.run(&job("echo", "after")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

/// A container that is no node and takes the address that was just given up.
struct Stranger(String);

impl Stranger {
    fn at_first_free_address(containers: &Containers, absent: &str) -> Self {
        let other = containers.others(absent)[0];
        let network =
            containers.inspect(other, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}");
        let image = containers.inspect(other, "{{.Config.Image}}");
        let words = ["run", "-d", "--rm", "--network", &network, "--entrypoint", "sleep", &image, "600"];
        Self(docker(&words).trim().to_string())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_containers_loses_no_promised_job() {
    let Some(containers) = Containers::nodes().await else { return };
    let client = containers.client_of(ALL);
    let mut promised = Vec::new();
    for n in 0..40 {
        promised
            .push(id(&client.submit(&job("sleep", if n % 2 == 0 { "0" } else { "1" })).await).to_string());
    }
    for node in ALL {
        containers.kill(node);
    }
    for node in ALL {
        containers.start(node);
    }
    until("they lead again", Duration::from_secs(60), async || containers.status("server").await).await;
    containers.whole(&ALL).await;
    for id in &promised {
        let ended = client.ended(id).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert_eq!(attempts(&ended, "succeeded"), 1, "{ended}");
    }
}
