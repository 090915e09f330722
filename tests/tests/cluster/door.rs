//! client-web before a cluster: a door, not the house.

use serde_json::Value;
use tests::client::{answer, attempts, fresh_key, http, id, job};
use tests::{Client, Cluster, Node, Plan, eventually};

async fn page(node: &Node) -> Option<String> {
    let answer = http().get(node.url()).send().await.ok()?;
    (answer.status() == 200).then_some(())?;
    answer.text().await.ok().filter(|page| page.contains("Submit job"))
}

#[tokio::test]
async fn a_killed_client_web_leaves_pages_and_jobs_to_the_nodes_and_serves_again_once_started() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let mut door = cluster.client_web(&[]);
    door.start();
    eventually("client-web serves the page", async || page(&door).await).await;
    let through = Client::new(vec![door.url()]);
    let before = id(&through.run(&job("echo", "before")).await).to_string();

    // Whoever waits for an answer while it dies repeats at a node, with the same key.
    let key = fresh_key();
    let slow = job("sleep", "2");
    let ask =
        |base: String| http().post(format!("{base}/api/v1/jobs?wait=30s")).header("Idempotency-Key", &key);
    let waiting = tokio::spawn(answer(ask(door.url()).json(&slow)));
    let first = eventually("the job runs", async || {
        let (_, list) = cluster.get(1, "/api/v1/jobs?class=sleep").await?;
        list["items"].as_array()?.iter().find(|one| one["state"] == "running").cloned()
    })
    .await;
    door.kill();
    let cut = waiting.await.expect("no panic");
    assert!(cut.is_err(), "client-web is gone before the job has ended: {cut:?}");
    let (status, again) = answer(ask(cluster.node(2).url()).json(&slow)).await.expect("a node answers");
    assert_eq!((status.as_u16(), &again["id"]), (200, &first["id"]), "{again}");
    let ended = cluster.client(2).ended(id(&again)).await;
    assert_eq!((&ended["state"], attempts(&ended, "succeeded")), (&Value::from("succeeded"), 1), "{ended}");

    let mut jobs = vec![before, id(&again).to_string()];
    for k in cluster.all() {
        let page = page(cluster.node(k)).await.expect("each node serves the page itself");
        assert!(page.contains(&jobs[0]), "a job that came through client-web is on it: {page}");
        let done = cluster.client_of([k]).run(&job("echo", "meanwhile")).await;
        assert_eq!(done["state"], "succeeded", "{done}");
        jobs.push(id(&done).to_string());
    }

    door.start();
    let page = eventually("client-web serves the page again", async || page(&door).await).await;
    assert!(jobs.iter().all(|id| page.contains(id)), "it shows what was done before and meanwhile: {page}");
    let after = through.run(&job("echo", "after")).await;
    assert_eq!(after["result"]["output"], "after", "{after}");
}
