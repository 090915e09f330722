//! Who belongs to the cluster, who votes, who leads: what an operator does to a cluster, and what it does by itself.

use serde_json::{Value, json};
use tests::client::{id, job, problem};
use tests::{Client, Cluster, Plan, eventually};

/// A voter is replaced sooner than by default, so that tests wait less.
const REPLACE_AFTER: &str = "--replace-after=3s";

/// Nodes that vote and are alive, by name, as node `k` sees it; none when it does not answer.
async fn live_voters(cluster: &Cluster, k: usize) -> Option<Vec<String>> {
    let status = cluster.status(k).await?;
    let votes = |node: &&Value| node["voter"] == true && node["alive"] == true;
    let nodes = status["nodes"].as_array()?.iter().filter(votes);
    Some(nodes.filter_map(|node| node["name"].as_str().map(String::from)).collect())
}

/// Waits until three nodes vote and are alive, and none of those that are gone.
async fn three_voters_live(cluster: &Cluster, asked: usize, gone: &[String]) {
    eventually("three voters are alive", async || {
        let voters = live_voters(cluster, asked).await?;
        (voters.len() == 3 && !voters.iter().any(|name| gone.contains(name))).then_some(())
    })
    .await;
}

async fn serves(client: &Client, jobs: usize) -> Vec<String> {
    let mut done = Vec::new();
    for n in 0..jobs {
        let ended = client.run(&job("echo", &format!("job {n}"))).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        done.push(id(&ended).to_string());
    }
    done
}

#[tokio::test]
async fn nodes_killed_one_after_another_down_to_two_and_back() {
    let mut cluster = Cluster::start(Plan::of(4).flag(REPLACE_AFTER)).await;
    let names: Vec<String> = cluster.all().map(|k| cluster.node(k).name.clone()).collect();
    let mut left: Vec<usize> = cluster.all().collect();
    let mut done = Vec::new();
    while left.len() > 2 {
        let leader = cluster.leader().await;
        cluster.kill(leader);
        left.retain(|k| *k != leader);
        let client = cluster.client_of(left.iter().copied());
        done.extend(serves(&client, 5).await);
        if left.len() == 3 {
            // Whoever had no vote takes the place of the one that is gone: then one more may go.
            three_voters_live(&cluster, left[0], &[cluster.node(leader).name.clone()]).await;
        }
    }
    for k in cluster.all().filter(|k| !left.contains(k)) {
        cluster.restart(k);
    }
    cluster.whole().await;
    done.extend(serves(&cluster.client(1), 5).await);
    for k in cluster.all() {
        three_voters_live(&cluster, k, &[]).await;
        let status = cluster.status(k).await.expect("it serves");
        let mut known: Vec<&str> =
            status["nodes"].as_array().expect("nodes").iter().filter_map(|n| n["name"].as_str()).collect();
        known.sort_unstable();
        assert_eq!(known, names.iter().map(String::as_str).collect::<Vec<_>>(), "no name is lost");
        let client = cluster.client_of([k]);
        for job in &done {
            assert_eq!(client.look(job).await["state"], "succeeded", "node {k}");
        }
    }
    assert_eq!(verified(&cluster), (Some(0), cluster.all().count()));
    cluster.kill(1);
    assert_eq!(verified(&cluster), (Some(1), cluster.all().count()), "a node that cannot be asked is named");
}

#[tokio::test]
async fn a_node_with_a_new_disk_gets_its_old_name_back_once_the_old_one_is_silent() {
    let mut cluster = Cluster::start(Plan::of(3).flag(REPLACE_AFTER)).await;
    let leader = cluster.leader().await;
    // Not the founder: without a folder that would found another cluster.
    let lost = cluster.all().find(|k| *k != leader && *k != 1).expect("three nodes");
    let name = cluster.node(lost).name.clone();
    let before = card(&cluster, leader, &name).await.expect("it is known")["id"].clone();
    cluster.kill(lost);
    std::fs::remove_dir_all(&cluster.node(lost).data).expect("its disk is gone");
    cluster.restart(lost);
    eventually("the newcomer votes under the old name", async || {
        let card = card(&cluster, leader, &name).await?;
        (card["id"] != before && card["voter"] == true && card["alive"] == true).then_some(())
    })
    .await;
    cluster.whole().await;
    serves(&cluster.client_of([lost]), 3).await;
}

/// How `status --verify` ends, and how many lines it prints: one a node.
fn verified(cluster: &Cluster) -> (Option<i32>, usize) {
    let urls: Vec<String> = cluster.all().map(|k| cluster.node(k).url()).collect();
    let said = tests::understudy().args(["status", "--verify", "--server", &urls.join(",")]).output();
    let said = said.expect("the program starts");
    (said.status.code(), String::from_utf8_lossy(&said.stdout).lines().count())
}

/// What node `k` says of the node with this name.
async fn card(cluster: &Cluster, k: usize, name: &str) -> Option<Value> {
    let status = cluster.status(k).await?;
    status["nodes"].as_array()?.iter().find(|node| node["name"] == name).cloned()
}

#[tokio::test]
async fn the_name_of_a_live_node_is_refused() {
    let mut cluster = Cluster::start(Plan::of(2)).await;
    let k = cluster.add();
    let taken = cluster.node(2).name.clone();
    let newcomer = cluster.node_mut(k);
    newcomer.words.retain(|word| !word.starts_with("--name"));
    newcomer.words.push(format!("--name={taken}"));
    let ended = newcomer.start_and_end();
    assert!(!ended.status.success() && ended.err.contains(&taken), "{ended:?}");
}

#[tokio::test]
async fn the_lead_is_handed_over_through_any_node() {
    let cluster = Cluster::start(Plan::of(4)).await;
    let transfer = async |k: usize, body: &Value| {
        cluster.post(k, "/api/v1/leader/transfer", body).await.expect("a node that runs answers")
    };
    for round in 0..4 {
        let leader = cluster.leader().await;
        let asked = 1 + (leader + round) % 4;
        let (status, body) = transfer(asked, &json!({})).await;
        assert_eq!(status, 200, "asked {asked}: {body}");
        assert_ne!(body["leader"], *cluster.node(leader).name, "it has moved");
        let voters = live_voters(&cluster, asked).await.expect("it serves");
        let to = voters.iter().find(|name| body["leader"] != **name).expect("another voter");
        let (status, body) = transfer(asked, &json!({ "to": to })).await;
        assert_eq!((status.as_u16(), &body["leader"]), (200, &json!(to)), "{body}");
        let (status, _) = transfer(asked, &json!({ "to": to })).await;
        assert_eq!(status, 200, "it leads already");
    }
    let voters = live_voters(&cluster, 1).await.expect("it serves");
    let learner = cluster.all().map(|k| cluster.node(k).name.clone()).find(|name| !voters.contains(name));
    let (status, body) = transfer(1, &json!({ "to": learner.expect("one of four") })).await;
    assert_eq!((status.as_u16(), problem(&body)), (422, "invalid"), "{body}");
    let (status, body) = transfer(1, &json!({"to": "nobody"})).await;
    assert_eq!((status.as_u16(), problem(&body)), (404, "not-found"), "{body}");
}

#[tokio::test]
async fn the_lead_is_not_handed_to_nobody() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let (status, body) = cluster.post(1, "/api/v1/leader/transfer", &json!({})).await.expect("it answers");
    assert_eq!((status.as_u16(), problem(&body)), (503, "no-quorum"), "{body}");
}
