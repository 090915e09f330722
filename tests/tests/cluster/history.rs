//! Jobs that have ended, long after: by id and in lists, on every node, whatever was killed meanwhile.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::{answer, id, job, problem};
use tests::{Cluster, Plan, eventually};

/// The ledger holds so few ended jobs that history has to tell of nearly all.
const HELD: &str = "--ended-jobs=5";

/// All pages of a list on one node, by a few at a time.
async fn list(cluster: &Cluster, k: usize, query: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?limit=7{query}{after}");
        let (status, page) = cluster.get(k, &path).await.expect("a page");
        assert_eq!(status, StatusCode::OK, "{page}");
        all.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

fn ids(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(id).collect()
}

/// Twenty jobs at a time, each ended; with a label that says of which round.
async fn round(cluster: &Cluster, through: impl IntoIterator<Item = usize>, round: usize) -> Vec<Value> {
    let client = cluster.client_of(through);
    let mut ended = Vec::new();
    let asked = (0..20).map(|n| json!({"class": "echo", "payload": format!("{round}.{n}"), "labels": {"round": round.to_string()}}));
    for asked in asked {
        ended.push(client.submit(&asked).await);
    }
    for job in &mut ended {
        *job = client.ended(id(job)).await;
    }
    ended
}

/// Every node has every one of these jobs as it ended, and lists all of them alike.
async fn assert_alike(cluster: &Cluster, ended: &[Value], open: &str) {
    let wanted = ended.len() + 1;
    for k in cluster.all() {
        let all = eventually("this node has heard of all", async || {
            Some(list(cluster, k, "").await).filter(|all| all.len() == wanted)
        })
        .await;
        let mut found = ids(&all);
        assert_eq!(found.last(), Some(&open), "newest first, and the open one was accepted first");
        found.sort_unstable();
        let mut known = ids(ended);
        known.push(open);
        known.sort_unstable();
        assert_eq!(found, known, "each job once at node {k}");
        for before in ended {
            let (status, now) =
                cluster.get(k, &format!("/api/v1/jobs/{}?stale=1", id(before))).await.expect("a job");
            assert_eq!((status, &now), (StatusCode::OK, before), "at node {k}");
        }
    }
    let at_first = list(cluster, 1, "&label=round=1&state=succeeded").await;
    for k in cluster.all() {
        assert_eq!(ids(&list(cluster, k, "&label=round=1&state=succeeded").await), ids(&at_first));
    }
    assert_eq!(at_first.len(), 20);
}

#[tokio::test]
async fn history_survives_kill_9_and_is_paged_alike_on_every_node() {
    let mut cluster = Cluster::start(Plan::of(3).flag(HELD)).await;
    let waits = cluster.client(1).submit(&job("nobody-serves-this", "")).await;
    let open = id(&waits).to_string();
    let mut ended = round(&cluster, [1, 2, 3], 0).await;
    assert_alike_before_rounds(&cluster, &ended).await;
    for k in cluster.all() {
        cluster.kill(k);
    }
    for k in cluster.all() {
        cluster.restart(k);
    }
    cluster.whole().await;
    ended.extend(round(&cluster, [1, 2, 3], 1).await);
    assert_alike(&cluster, &ended, &open).await;
    // One after another, while the others go on.
    for (n, k) in cluster.all().enumerate() {
        cluster.kill(k);
        let others: Vec<usize> = cluster.all().filter(|other| *other != k).collect();
        ended.extend(round(&cluster, others, 2 + n).await);
        cluster.restart(k);
        cluster.whole().await;
    }
    assert_alike(&cluster, &ended, &open).await;
    let first = format!("/api/v1/jobs/{}/cancel", id(&ended[0]));
    let (status, said) = cluster.post(2, &first, &json!({})).await.expect("an answer");
    assert_eq!((status.as_u16(), problem(&said)), (409, "ended"), "{said}");
}

/// Jobs that left the ledger before anything was killed are answered too.
async fn assert_alike_before_rounds(cluster: &Cluster, ended: &[Value]) {
    for k in cluster.all() {
        for before in ended {
            let path = format!("/api/v1/jobs/{}/output", id(before));
            let request = cluster.request(Method::GET, k, &path);
            let output = request.send().await.expect("an answer").text().await.expect("text");
            assert_eq!(before["result"]["output"], output, "at node {k}");
        }
    }
}

#[tokio::test]
async fn what_is_past_its_retention_is_forgotten_on_every_node() {
    let cluster = Cluster::start(Plan::of(3).flag(HELD).settings("[retention]\ncount = 30\n")).await;
    let ended = round(&cluster, [1], 0).await;
    let more = round(&cluster, [1], 1).await;
    for k in cluster.all() {
        let path = format!("/api/v1/jobs/{}", id(&ended[0]));
        let gone = eventually("the first job is forgotten", async || {
            let (status, body) = answer(cluster.request(Method::GET, k, &path)).await.ok()?;
            (status != StatusCode::OK).then_some((status, body))
        })
        .await;
        assert_eq!((gone.0.as_u16(), problem(&gone.1)), (410, "forgotten"), "{}", gone.1);
        let (status, kept) = cluster.get(k, &format!("/api/v1/jobs/{}", id(&more[19]))).await.expect("a job");
        assert_eq!((status, &kept["state"]), (StatusCode::OK, &"succeeded".into()), "at node {k}: {kept}");
        eventually("thirty are kept", async || (list(&cluster, k, "").await.len() == 30).then_some(())).await;
    }
}
