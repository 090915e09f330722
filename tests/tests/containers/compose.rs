//! What `docker-compose up` gives.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::Client;
use tests::client::{id, job};
use tests::containers::{ALL, Containers, NODES, docker};
use tests::eventually;

use tests::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compose_file_starts_nodes_that_run_shell_and_python_jobs() {
    let Some(containers) = Containers::nodes().await else { return };
    let client = containers.client_of(["worker2"]);
    let shell =
        client.run(&json!({"class": "sh", "payload": "read a b; echo $((a * b))", "stdin": "6 7"})).await;
    assert_eq!(shell["result"]["output"], "42\n", "{shell}");
    let python = client.run(&job("python", "print(sum(range(10)))")).await;
    assert_eq!(python["result"]["output"], "45\n", "{python}");
    for (node, _) in NODES {
        let (status, _) = containers.get(node, "/logging").await.expect("an answer");
        assert_eq!(status, 200, "{node} shows its log");
    }
    eventually("Docker calls every node healthy", async || {
        let healthy = |node| containers.inspect(node, "{{.State.Health.Status}}") == "healthy";
        NODES.iter().all(|(node, _)| healthy(node)).then_some(())
    })
    .await;
    let found = "import socket; print(len(socket.gethostbyname_ex('bro')[2]))";
    let found = client.run(&job("python", found)).await;
    assert_eq!(found["result"]["output"], "4\n", "every node answers to the name bro: {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_compose_up_gives_a_page_and_a_job_whose_walk_is_told_by_its_id() {
    let Some(containers) = Containers::everything().await else { return };
    for port in [3001, 3002, 3003, 3004, 3005, 3006] {
        let (status, _) = containers.get_port(port, "/logging").await.expect("an answer");
        assert_eq!(status, 200, "/logging on {port}");
    }
    let (status, page) = containers.get_port(3001, "/").await.expect("a page");
    assert_eq!(status, 200);
    let page = page.as_str().expect("text");
    assert!(page.contains("Submit job") && page.contains("data-node=\"worker3\""), "{page}");
    let client = Client::new(vec![containers.url(3001)]);
    let ended = client.run(&job("echo", "through the page's port")).await;
    assert_eq!(ended["result"]["output"], "through the page's port", "{ended}");
    let j = id(&ended);
    let walk =
        ["Created payload: ", "Sent payload: ", "Received payload: ", "Sent result: ", "Received result: "];
    let lines = eventually("the log store tells the whole walk", async || {
        let (_, text) = containers.get_port(3003, "/logging").await?;
        let lines: Vec<String> = text.as_str()?.lines().filter(|l| l.contains(j)).map(String::from).collect();
        let told = |words: &str| lines.iter().any(|line| line.contains(words));
        (walk.iter().all(|words| told(words)) && told("for client to port")).then_some(lines)
    })
    .await;
    println!("{}", lines.join("\n"));
    assert!(lines.iter().all(|line| line.starts_with("<Log ") && line.ends_with('>')), "{lines:?}");
    let tellers: BTreeSet<&str> =
        lines.iter().filter_map(|l| l.split_once("Container ")?.1.split(':').next()).collect();
    assert!(tellers.contains("0") && tellers.len() >= 3, "page, master and worker tell of it: {lines:?}");
    for port in [3001, 3002, 3003, 3005] {
        let (status, page) =
            containers.get_port(port, &format!("/api/v1/logs?job={j}")).await.expect("lines");
        let told = page["items"].as_array().map_or(0, Vec::len);
        assert!(status == 200 && told >= lines.len(), "{port} asks the log store: {page}");
    }
    let (_, status) = containers.get_port(3001, "/api/v1/status").await.expect("relayed");
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(4), "no extra worker: {status}");
    assert!(containers.ids("extra").is_empty(), "more workers are started only when they are asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_go_on_without_the_log_store_and_pages_without_the_client() {
    let Some(containers) = Containers::everything().await else { return };
    let load = Load::start(Client::new(vec![containers.url(3001)]));
    load.goes_on(20).await;
    containers.kill("database");
    load.goes_on(100).await;
    containers.start("database");
    load.goes_on(20).await;
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
    containers.kill("client");
    for (node, port) in NODES {
        let (status, page) = containers.get_port(port, "/").await.expect("a page");
        assert_eq!(status, 200, "{node}");
        assert!(page.as_str().is_some_and(|page| page.contains("Submit job")), "{node} serves the same page");
    }
    let ended = containers.client_of(["worker1"]).run(&job("echo", "without the page's container")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_finds_the_next_master_when_the_masters_container_is_killed() {
    let Some(containers) = Containers::everything().await else { return };
    let first = containers.leader().await;
    let load = Load::start(Client::new(vec![containers.url(3001)]));
    load.goes_on(20).await;
    containers.kill(&first);
    load.goes_on(20).await;
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_container_may_more_than_it_needs() {
    let Some(containers) = Containers::everything().await else { return };
    for node in ["client", "server", "database", "worker1", "worker2", "worker3"] {
        let told: Value = serde_json::from_str(&containers.inspect(node, "{{json .}}")).expect("JSON");
        let host = &told["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{node}: its root file system is read-only");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{node}: it has no capability");
        assert_eq!(host["Privileged"], false, "{node}");
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]), "{node}");
        assert_eq!(told["Config"]["User"], "65532:65532", "{node}: it is not root");
        let bound = host["PortBindings"].as_object().expect("ports");
        let outside = bound.values().flat_map(|b| b.as_array().cloned().unwrap_or_default());
        for binding in outside {
            assert_eq!(binding["HostIp"], "127.0.0.1", "{node}: only this machine reaches it: {binding}");
        }
    }
    let client = containers.client_of(["server"]);
    let script =
        "id -u; touch /etc/x /usr/x 2>/dev/null || echo read-only; grep -h NoNewPrivs /proc/self/status";
    let told = client.run(&job("sh", script)).await;
    assert_eq!(told["result"]["output"], "65532\nread-only\nNoNewPrivs:\t1\n", "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_extra_to_3_after_a_promotion_adds_three_workers_that_get_jobs() {
    let Some(containers) = Containers::nodes().await else { return };
    // Newcomers know the nodes of the compose file, not who leads: the founder must not be needed for more than its address.
    let first = containers.leader().await;
    containers.kill(&first);
    let second = containers.leader_of(&containers.others(&first)).await;
    containers.start(&first);
    containers.whole(&ALL).await;
    assert_eq!(containers.leader().await, second, "the one that was killed is a worker now");
    containers.compose(&[&["up", "-d", "--no-build", "--scale", "extra=3", "extra"], &ALL[..]].concat());
    let added: Vec<String> = containers
        .ids("extra")
        .iter()
        .map(|id| docker(&["inspect", "-f", "{{.Config.Hostname}}", id]))
        .collect();
    let added: Vec<&str> = added.iter().map(|name| name.trim()).collect();
    assert_eq!(added.len(), 3);
    eventually("the cluster knows three workers more", async || {
        let status = containers.status("worker1").await?;
        let listed = status["nodes"].as_array()?;
        // A member counts as alive until its liveness is over; one with slots has said so itself.
        let said =
            |n: &serde_json::Value| n["alive"] == true && n["slots"].as_u64().is_some_and(|slots| slots > 0);
        let alive = |name: &&str| listed.iter().any(|n| n["name"] == **name && said(n));
        added.iter().all(alive).then_some(())
    })
    .await;
    let client = containers.client_of(["worker1", "server"]);
    let mut ids = Vec::new();
    // Longer than it takes to accept them all, so that they run side by side: two or three a node.
    for _ in 0..14 {
        ids.push(id(&client.submit(&job("sleep", "3")).await).to_string());
    }
    let mut ran = Vec::new();
    for id in &ids {
        let ended = client.ended(id).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        ran.push(ended["attempts"][0]["node"].as_str().unwrap_or_default().to_string());
    }
    for name in &added {
        assert!(ran.iter().any(|node| node == name), "{name} got a job: {ran:?}");
    }
}
