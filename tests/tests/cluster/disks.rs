//! Disks that are full, stand still, die, or lose their power, under load: no promise is broken, another leads, and the node
//! comes back by itself. Where no disk can be mounted each test prints `not run: …` and passes.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::client::{answer, http, job};
use tests::loop_disk::can_run;
use tests::{Cluster, Load, LoopDisk, Plan, eventually};

/// Each node's own disk: room for the log of a test, and small enough to be filled in no time.
const DISK_MIB: u64 = 192;
/// A leader whose disk fails is replaced within this (three times what is aimed at: machines that test are busy).
const REPLACED: Duration = Duration::from_secs(9);

/// A cluster of three whose leader, node 1, has a disk of its own.
async fn with_disk(plan: Plan) -> (Cluster, LoopDisk) {
    let mut cluster = Cluster::laid_out(plan);
    let disk = LoopDisk::new(&cluster.folder().join("disk.img"), &cluster.node(1).data, DISK_MIB);
    cluster.all().for_each(|k| cluster.restart(k));
    cluster.whole().await;
    assert_eq!(cluster.leader().await, 1, "the founder leads at first");
    (cluster, disk)
}

/// What `/readyz` of a node says, whatever it is.
async fn readyz(cluster: &Cluster, k: usize) -> (u16, String) {
    let url = format!("{}/readyz?verbose", cluster.node(k).url());
    let (status, text) = answer(http().get(url)).await.expect("the node's HTTP goes on");
    (status.as_u16(), text.as_str().unwrap_or_default().to_string())
}

/// Waits until `/readyz` of a node says that its disk is not well.
async fn says_why(cluster: &Cluster, k: usize) -> String {
    eventually("the node says that its disk is not well", async || {
        let (status, text) = readyz(cluster, k).await;
        (status == 503).then_some(())?;
        text.lines().find(|line| line.starts_with("[-] disk: ")).map(str::to_string)
    })
    .await
}

async fn log_of(cluster: &Cluster, k: usize) -> String {
    let (_, log) = cluster.get(k, "/logging").await.expect("the log is served");
    log.as_str().expect("text").to_string()
}

/// Waits until another node than 1 leads; who.
async fn another_leads(cluster: &Cluster) -> usize {
    eventually("another node leads", async || {
        for k in [2, 3] {
            if cluster.status(k).await?["role"] == "leader" {
                return Some(k);
            }
        }
        None
    })
    .await
}

/// Waits until node 1 serves again, and knows what was done meanwhile.
async fn is_back(cluster: &mut Cluster, since: Instant) {
    cluster.whole().await;
    println!("node 1 is back {:?} after its disk was well", since.elapsed());
    assert!(log_of(cluster, 1).await.contains("Disk is well again"), "it says so");
    let ended = cluster.client_of([1]).run(&job("echo", "through the one that came back")).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

/// Jobs whose payloads fill logs: nearly 1 MiB each, until told to stop by their count or by `until`.
async fn large_jobs(cluster: &Cluster, most: usize, mut until: impl AsyncFnMut() -> bool) {
    let client = cluster.client_of([2, 3]);
    let large = job("hash", &"x".repeat(1_000_000));
    for _ in 0..most {
        client.submit(&large).await;
        if until().await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_is_replaced_and_comes_back_when_there_is_room() {
    if !can_run() {
        return;
    }
    // Never "nearly full": it has to come to the very end.
    let (mut cluster, disk) = with_disk(Plan::of(3).settings("[disk]\nlow = \"0\"\n")).await;
    let load = Load::start(cluster.client_of([2, 3]));
    load.goes_on(20).await;
    disk.fill();
    let pid = cluster.node(1).pid();
    // Room that was reserved is used up first.
    large_jobs(&cluster, 60, async || readyz(&cluster, 1).await.1.contains("[-] disk: out")).await;
    let (why, failed) = (says_why(&cluster, 1).await, Instant::now());
    let second = another_leads(&cluster).await;
    println!("{why}\nnode {second} leads {:?} after node 1 said so", failed.elapsed());
    assert!(failed.elapsed() < REPLACED);
    assert!(why.contains("No space left on device"), "{why}");
    let log = log_of(&cluster, 1).await;
    let line = log.lines().find(|line| line.contains("Disk failed")).expect("a line");
    let folder = cluster.node(1).data.display().to_string();
    assert!(line.contains(&folder) && line.contains("No space left on device"), "{line}");
    let (status, told) = cluster.get(1, "/api/v1/jobs").await.expect("an answer");
    assert_eq!((status.as_u16(), told["type"].as_str()), (503, Some("/problems/stopped")), "{told}");
    assert!(told["detail"].as_str().is_some_and(|why| why.contains("No space left")), "{told}");
    load.goes_on(20).await;
    assert_eq!(readyz(&cluster, 1).await.0, 503, "it stays out while there is no room");
    disk.free();
    let since = Instant::now();
    is_back(&mut cluster, since).await;
    assert_eq!(cluster.node(1).pid(), pid, "nobody helped");
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_jobs_are_refused_by_name_before_the_disks_of_a_majority_are_full() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::laid_out(Plan::of(3));
    let disk = |k: usize| {
        let image = cluster.folder().join(format!("disk{k}.img"));
        LoopDisk::new(&image, &cluster.node(k).data, DISK_MIB)
    };
    let disks = [disk(1), disk(2)];
    cluster.all().for_each(|k| cluster.restart(k));
    cluster.whole().await;
    let running = cluster.client(3).submit(&job("sleep", "3")).await;
    disks[0].fill();
    let second = another_leads(&cluster).await;
    println!("node {second} leads: the disk of node 1 is nearly full");
    assert_eq!(readyz(&cluster, 1).await.0, 200, "it can still write and takes part");
    assert!(log_of(&cluster, 1).await.contains("Disk is nearly full"), "it says so");
    let taken = cluster.client(3).run(&job("echo", "a majority has room")).await;
    assert_eq!(taken["state"], "succeeded", "{taken}");
    disks[1].fill();
    let told = eventually("new jobs are refused", async || {
        let (status, told) = cluster.post(3, "/api/v1/jobs", &job("echo", "no room")).await?;
        (status == 429).then_some(told)
    })
    .await;
    let detail = told["detail"].as_str().expect("a detail");
    assert!(detail.contains("master has") && detail.contains("worker1 has"), "{told}");
    assert_eq!((told["type"].as_str(), &told["accepted"]), (Some("/problems/full"), &false.into()), "{told}");
    println!("{detail}");
    let ended = cluster.client(3).ended(tests::client::id(&running)).await;
    assert_eq!(ended["state"], "succeeded", "results pass: {ended}");
    disks[1].free();
    let taken = cluster.client(3).run(&job("echo", "there is room again")).await;
    assert_eq!(taken["state"], "succeeded", "{taken}");
    cluster.all().for_each(|k| cluster.kill(k));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_stands_still_hands_over_and_goes_on_when_it_moves() {
    if !can_run() {
        return;
    }
    let (mut cluster, disk) = with_disk(Plan::of(3)).await;
    let load = Load::start(cluster.client_of([2, 3]));
    load.goes_on(20).await;
    disk.freeze();
    let frozen = Instant::now();
    let second = another_leads(&cluster).await;
    println!("node {second} leads {:?} after the disk of node 1 stood still", frozen.elapsed());
    assert!(frozen.elapsed() < REPLACED);
    let why = says_why(&cluster, 1).await;
    assert!(why.contains("hangs"), "{why}");
    assert!(log_of(&cluster, 1).await.contains("Disk hangs"), "it says so");
    load.goes_on(20).await;
    disk.thaw();
    cluster.whole().await;
    assert!(log_of(&cluster, 1).await.contains("Disk goes on"), "it says so");
    assert_eq!(cluster.leader().await, second, "it does not take the lead back by itself");
    let gap = load.longest_gap();
    println!(
        "{} jobs, each once; {gap:?} without an acknowledgement at most",
        load.all_succeeded_once().await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_stands_still_can_be_stopped_and_resumed() {
    if !can_run() {
        return;
    }
    let (mut cluster, disk) = with_disk(Plan::of(3)).await;
    let load = Load::start(cluster.client_of([2, 3]));
    load.goes_on(5).await;
    disk.freeze();
    says_why(&cluster, 1).await;
    let asked = Instant::now();
    cluster.stop(1).await;
    println!("stopped after {:?} on a disk that stands still", asked.elapsed());
    load.goes_on(5).await;
    disk.thaw();
    cluster.resume(1).await;
    cluster.whole().await;
    println!("{} jobs, each once", load.all_succeeded_once().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_dies_is_replaced_and_comes_back_on_a_disk_that_lives() {
    if !can_run() {
        return;
    }
    let (mut cluster, mut disk) = with_disk(Plan::of(3)).await;
    let load = Load::start(cluster.client_of([2, 3]));
    load.goes_on(20).await;
    let pid = cluster.node(1).pid();
    disk.die();
    let dead = Instant::now();
    let second = another_leads(&cluster).await;
    println!("node {second} leads {:?} after the disk of node 1 died", dead.elapsed());
    assert!(dead.elapsed() < REPLACED);
    println!("{}", says_why(&cluster, 1).await);
    load.goes_on(20).await;
    disk.remount();
    let since = Instant::now();
    is_back(&mut cluster, since).await;
    assert_eq!(cluster.node(1).pid(), pid, "nobody helped");
    println!("{} jobs, each once", load.all_succeeded_once().await);
}

/// Jobs of four clients at once, promised all along.
fn loads(cluster: &Cluster) -> Vec<Load> {
    (0..4).map(|n| Load::start(cluster.client(n % 3 + 1))).collect()
}

async fn all_kept(loads: Vec<Load>) {
    let mut jobs = 0;
    for load in loads {
        load.goes_on(5).await;
        jobs += load.all_succeeded_once().await;
    }
    println!("{jobs} jobs, each once");
}

/// What a job has come to.
fn end_of(job: &Value) -> [&Value; 4] {
    ["id", "state", "finished_at", "attempts"].map(|field| &job[field])
}

/// All nodes know the same of the newest jobs, once they have applied the same.
async fn same_everywhere(cluster: &Cluster) {
    let mut last = String::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut lists: Vec<Vec<Value>> = Vec::new();
        for k in cluster.all() {
            let told = cluster.get(k, "/api/v1/jobs?limit=500").await;
            lists.push(told.and_then(|(_, list)| list["items"].as_array().cloned()).unwrap_or_default());
        }
        let differs = lists.iter().skip(1).find_map(|list| {
            let pairs = list.iter().zip(&lists[0]).find(|(a, b)| end_of(a) != end_of(b));
            pairs
                .map(|(a, b)| format!("{a} and {b}"))
                .or((list.len() != lists[0].len()).then(|| "length".into()))
        });
        match differs {
            None if !lists[0].is_empty() => return,
            other => last = other.unwrap_or(last),
        }
        assert!(Instant::now() < deadline, "nodes differ: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_disks_at_once_loses_no_promised_job() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::laid_out(Plan::of(3));
    let mut disks: Vec<LoopDisk> = Vec::new();
    for k in cluster.all() {
        let image = cluster.folder().join(format!("disk{k}.img"));
        disks.push(LoopDisk::new(&image, &cluster.node(k).data, DISK_MIB));
    }
    cluster.all().for_each(|k| cluster.restart(k));
    cluster.whole().await;
    let loads = loads(&cluster);
    for round in 1..=3 {
        for load in &loads {
            load.goes_on(20).await;
        }
        // Nothing moves while the images are copied: what is in no image is lost, as without power.
        cluster.all().for_each(|k| cluster.pause(k));
        let copies: Vec<_> = disks.iter().map(LoopDisk::copy).collect();
        cluster.all().for_each(|k| cluster.kill(k));
        disks.clear();
        for (k, copy) in cluster.all().zip(copies) {
            let image = copy.with_file_name(format!("disk{k}.{round}.img"));
            std::fs::rename(copy, &image).expect("a new name");
            disks.push(LoopDisk::of(&image, &cluster.node(k).data));
        }
        cluster.all().for_each(|k| cluster.restart(k));
        cluster.whole().await;
    }
    all_kept(loads).await;
    same_everywhere(&cluster).await;
    // Before the folders under them are removed.
    cluster.all().for_each(|k| cluster.kill(k));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_all_nodes_at_once_under_load_loses_no_promised_job() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let loads = loads(&cluster);
    for _ in 0..3 {
        for load in &loads {
            load.goes_on(20).await;
        }
        // One instant for all: first nobody moves, then nobody is.
        cluster.all().for_each(|k| cluster.pause(k));
        cluster.all().for_each(|k| cluster.kill(k));
        cluster.all().for_each(|k| cluster.restart(k));
        cluster.whole().await;
    }
    all_kept(loads).await;
    same_everywhere(&cluster).await;
}
