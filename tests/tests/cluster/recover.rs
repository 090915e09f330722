//! A majority that is lost for good, and what an operator does then: the cluster goes on from one disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tests::client::{attempts, id, job};
use tests::{Client, Cluster, Plan, eventually};

/// The ledger holds so few ended jobs that the archive has to tell of most.
const HELD: &str = "--ended-jobs=5";
/// How long an old node may take to see that it is left behind.
const REFUSED: Duration = Duration::from_secs(60);

/// `understudy recover` on the folder of node `k`.
fn recover(cluster: &Cluster, k: usize, words: &[&str]) -> tests::Ended {
    let mut command = tests::understudy();
    command.arg("recover").arg("--from").arg(&cluster.node(k).data).args(words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    tests::process::ended(child, Duration::from_secs(60), "recover")
}

/// The bytes of every file in a folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "lock") {
                files.insert(path.clone(), fs::read(&path).unwrap_or_default());
            }
        }
    }
    files
}

/// Gives node `k` another name.
fn rename(cluster: &mut Cluster, k: usize, name: &str) {
    let node = cluster.node_mut(k);
    node.name = name.to_string();
    let word = node.words.iter_mut().find(|word| word.starts_with("--name=")).expect("it has a name");
    *word = format!("--name={name}");
}

/// Twelve jobs that have ended, four that nobody can run, and one that runs on a node to be lost; node `survivor` has all of them.
async fn work(cluster: &Cluster, survivor: usize) -> (Vec<Value>, Vec<String>, String) {
    let client = cluster.client(survivor);
    let (mut done, mut queued) = (Vec::new(), Vec::new());
    for n in 0..12 {
        done.push(client.run(&job("echo", &format!("done {n}"))).await);
    }
    for n in 0..4 {
        queued.push(id(&client.submit(&job("nobody-serves-this", &n.to_string())).await).to_string());
    }
    let marker = cluster.folder().join("ran-once");
    let script =
        format!("if [ -e {0} ]; then echo again; else touch {0}; exec sleep 600; fi", marker.display());
    let running = id(&client.submit(&job("sh", &script)).await).to_string();
    cluster.runner(&client, &running, 1).await;
    eventually("it has begun", async || marker.exists().then_some(())).await;
    let all = done.iter().map(|job| id(job).to_string()).chain(queued.clone()).chain([running.clone()]);
    for job in all {
        eventually("the survivor has the job", async || stale(cluster, survivor, &job).await).await;
    }
    eventually("and knows that the last one runs", async || {
        (stale(cluster, survivor, &running).await?["state"] == "running").then_some(())
    })
    .await;
    (done, queued, running)
}

/// A job as node `k` itself knows it.
async fn stale(cluster: &Cluster, k: usize, job: &str) -> Option<Value> {
    let (status, job) = cluster.get(k, &format!("/api/v1/jobs/{job}?stale=1")).await?;
    status.is_success().then_some(job)
}

async fn assert_kept(cluster: &Cluster, k: usize, done: &[Value], queued: &[String]) {
    for before in done {
        let what = format!("node {k} has job {}", id(before));
        let now = eventually(&what, async || stale(cluster, k, id(before)).await).await;
        // Not the names of nodes: whose name another bears now is shown by its id.
        for what in ["state", "rev", "payload_excerpt", "submitted_at", "finished_at", "result"] {
            assert_eq!(now[what], before[what], "{what} of {now} at node {k}");
        }
    }
    for job in queued {
        let now = stale(cluster, k, job).await.expect("it is there");
        assert_eq!(now["state"], "queued", "at node {k}: {now}");
    }
}

/// Old nodes come back with what they had, both at once: together they were a majority.
async fn assert_left_behind(cluster: &mut Cluster, lost: [PathBuf; 2]) {
    let old: Vec<usize> = lost
        .iter()
        .map(|folder| {
            let k = cluster.add();
            fs::rename(folder, &cluster.node(k).data).expect("it comes back");
            k
        })
        .collect();
    old.iter().for_each(|k| cluster.restart(*k));
    for k in old {
        assert_ends_with_advice(cluster, k);
    }
}

/// Node `k` ends by itself and says why, and what to do.
fn assert_ends_with_advice(cluster: &mut Cluster, k: usize) {
    let ended = cluster.node_mut(k).wait_end(REFUSED);
    let said = cluster.node(k).printed();
    assert_eq!(ended.code(), Some(1), "{said}");
    let advice = format!("understudy repair --data {} --yes", cluster.node(k).data.display());
    assert!(said.contains("was recovered by hand") && said.contains(&advice), "{said}");
}

/// Starts the survivor while an old node runs already: the old one ends, not the survivor. Its folder is away afterwards as before.
async fn start_beside_an_old_node(cluster: &mut Cluster, survivor: usize, folder: &Path) {
    fs::rename(folder, &cluster.node(3).data).expect("it comes back");
    cluster.restart(3);
    eventually("the old node serves", async || {
        cluster.status(3).await.filter(|status| status["leader"].is_null())
    })
    .await;
    cluster.restart(survivor);
    assert_ends_with_advice(cluster, 3);
    fs::rename(&cluster.node(3).data, folder).expect("it is gone again");
    cluster.whole().await;
}

#[tokio::test]
async fn a_cluster_that_lost_its_majority_goes_on_from_one_disk() {
    let mut cluster = Cluster::start(Plan::of(3).slots(2).flag(HELD)).await;
    // Not the founder: whoever joins later must not count on that one.
    let survivor = 2;
    let (done, queued, running) = work(&cluster, survivor).await;
    let before = cluster.status(survivor).await.expect("it serves");
    assert_eq!(recover(&cluster, survivor, &["--yes"]).status.code(), Some(1), "its node runs");
    cluster.all().for_each(|k| cluster.kill(k));
    let lost = [1, 3].map(|k| {
        let away = cluster.folder().join(format!("lost-{k}"));
        fs::rename(&cluster.node(k).data, &away).expect("its disk is gone");
        away
    });

    let content_before = content(&cluster.node(survivor).data);
    let asked = recover(&cluster, survivor, &[]);
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    for word in ["worker1", "(last term, last index) = (", "Lost is whatever", "5 jobs", "--yes does it"] {
        assert!(asked.err.contains(word), "{word:?} in {}", asked.err);
    }
    assert!(content(&cluster.node(survivor).data) == content_before, "without --yes nothing changes");
    let recovered = recover(&cluster, survivor, &["--yes"]);
    assert_eq!(recovered.status.code(), Some(0), "{recovered:?}");
    assert!(cluster.node(survivor).data.join("set-aside-1/identity").exists(), "nothing is removed");

    start_beside_an_old_node(&mut cluster, survivor, &lost[1]).await;
    let now = cluster.status(survivor).await.expect("it serves");
    assert_eq!(now["role"], "leader", "{now}");
    assert_ne!(now["cluster"], before["cluster"]);
    assert!(now["term"].as_u64() > before["term"].as_u64());
    assert_kept(&cluster, survivor, &done, &queued).await;
    let alone = cluster.client_of([survivor]);
    let ended = alone.ended(&running).await;
    assert_eq!((&ended["state"], attempts(&ended, "lost")), (&Value::from("succeeded"), 1), "{ended}");
    assert_eq!(ended["result"]["output"], "again\n");
    assert_serves(&alone).await;
    let asked = cluster.request(Method::GET, survivor, "/logging?source=cluster&limit=1000").send().await;
    let told = asked.expect("an answer").text().await.expect("text");
    assert!(told.contains("Recovered by hand from the disk of worker1, epoch 1"), "{told}");

    // New nodes, under the names of those that are lost.
    let new = cluster.add();
    rename(&mut cluster, new, "master");
    for k in [3, new] {
        cluster.restart(k);
    }
    cluster.whole().await;
    for k in [3, new] {
        assert_kept(&cluster, k, &done, &queued).await;
    }
    assert_eq!(verified(&cluster, &[survivor, 3, new]), (Some(0), 3), "no other node is listed any more");
    let calm = cluster.status(survivor).await.expect("it serves");
    assert_left_behind(&mut cluster, lost).await;
    let after = cluster.status(survivor).await.expect("it serves");
    for what in ["term", "leader", "cluster"] {
        assert_eq!(after[what], calm[what], "whoever was left behind disturbs nobody");
    }

    // The three vote: the one that the cluster went on from is needed no longer.
    cluster.kill(survivor);
    assert_serves(&cluster.client_of([3, new])).await;
}

async fn assert_serves(client: &Client) {
    for n in 0..3 {
        let ended = client.run(&job("echo", &format!("anew {n}"))).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert!(ended["rev"].as_str().is_some_and(|rev| rev.starts_with("1.")), "{ended}");
    }
}

/// How `status --verify` ends, and how many nodes it names.
fn verified(cluster: &Cluster, asked: &[usize]) -> (Option<i32>, usize) {
    let urls: Vec<String> = asked.iter().map(|k| cluster.node(*k).url()).collect();
    let said = tests::understudy().args(["status", "--verify", "--server", &urls.join(",")]).output();
    let said = said.expect("the program starts");
    (said.status.code(), String::from_utf8_lossy(&said.stdout).lines().count())
}
