//! Programs that do not behave: what becomes of them, and of the node that runs them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::client::{attempts, id, job};
use tests::{Cluster, Plan, eventually};

fn with(mut job: Value, more: &Value) -> Value {
    let fields = job.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    job
}

#[tokio::test]
async fn a_silent_job_fails_as_quiet_and_is_tried_again() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let more = json!({"quiet_limit": "300ms", "max_attempts": 2, "retry": {"base": "10ms", "on": ["quiet"]}});
    let ended = cluster.client(1).run(&with(job("sh", "echo begins; sleep 60"), &more)).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("quiet")), "{ended}");
    assert_eq!(attempts(&ended, "failed"), 2, "{ended}");
    assert_eq!(
        ended["result"]["error"], "printed nothing for longer than its quiet_limit of 300 ms",
        "{ended}"
    );
    assert_eq!(ended["result"]["output"], "begins\n", "{ended}");
}

/// Half a GiB, or as many GiB as `UNDERSTUDY_PRINT_GIB` says (ten are what is promised, and take minutes).
#[tokio::test]
async fn a_node_stays_small_whatever_a_program_prints() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let gib = std::env::var("UNDERSTUDY_PRINT_GIB").ok().map(|text| text.parse::<u64>().expect("a number"));
    let printed = gib.map_or(512 << 20, |gib| gib << 30);
    let script = format!("echo first; head -c {printed} /dev/zero | tr '\\0' x; echo last");
    let ended = cluster.client(1).run(&job("sh", &script)).await;
    assert_eq!(ended["state"], "succeeded", "{}", ended["reason"]);
    let result = &ended["result"];
    assert_eq!((&result["output_bytes"], &result["truncated"]), (&json!(printed + 11), &json!(true)));
    let output = result["output"].as_str().expect("text");
    assert!(output.starts_with("first\nxxx") && output.ends_with("xxxlast\n"));
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.node(1).pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("printed {} MiB, the node had {} MiB at its largest", printed >> 20, peak_kib >> 10);
    assert!(peak_kib < 200 << 10, "{peak_kib} KiB at its largest");
}

#[tokio::test]
async fn a_job_over_its_memory_fails_for_it_and_its_node_lives() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let takes =
        "held = bytearray(1 << 30)\nfor at in range(0, len(held), 4096): held[at] = 1\nprint('has it')";
    let more = json!({"memory": "256MiB", "max_attempts": 1});
    let ended = client.run(&with(job("python", takes), &more)).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("memory")), "{ended}");
    assert_eq!(
        ended["result"]["error"], "killed: it took more than its memory limit of 268435456 bytes",
        "{ended}"
    );
    assert_eq!(client.run(&job("echo", "still here")).await["state"], "succeeded");
}

#[tokio::test]
async fn progress_of_a_running_program_is_seen_on_every_node_and_is_no_output() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(2);
    let script = "echo begins; echo '::progress 0.4 two of five'; read -r _ < go || sleep 60; echo ends";
    let script = format!("mkfifo go; (sleep 4; echo on > go) & {script}");
    let submitted = client.submit(&job("sh", &script)).await;
    let path = format!("/api/v1/jobs/{}?stale=1", id(&submitted));
    let said = json!({"value": 0.4, "text": "two of five"});
    for k in cluster.all() {
        eventually("the progress is seen", async || {
            let (_, shown) = cluster.get(k, &path).await?;
            (shown["progress"] == said).then_some(())
        })
        .await;
    }
    let ended = client.ended(id(&submitted)).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["output"]),
        (&json!("succeeded"), &json!("begins\nends\n"))
    );
    assert_eq!(ended["progress"], json!({"value": null, "text": null}), "{ended}");
}

fn pids(file: &Path) -> Vec<i32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Of these processes, those that are there and no zombies.
fn living(pids: &[i32]) -> Vec<i32> {
    let lives = |pid: &&i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_zombie = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
        kill(Pid::from_raw(**pid), None).is_ok() && !is_zombie
    };
    pids.iter().filter(lives).copied().collect()
}

#[tokio::test]
async fn none_of_a_hundred_programs_outlives_its_killed_node_and_each_job_has_one_result() {
    let mut cluster = Cluster::laid_out(Plan::of(3).slots(100));
    for k in cluster.all() {
        let at = cluster.node(k).name.clone();
        cluster.node_mut(k).words.push(format!("--header=at={at}"));
        cluster.restart(k);
    }
    cluster.whole().await;
    let client = cluster.client_of([1, 3]);
    let file = cluster.folder().join("pids");
    let script = format!(
        "echo $$ >> {0}; if [ $UNDERSTUDY_ATTEMPT = 1 ]; then sleep 600 & echo $! >> {0}; wait; fi; echo done",
        file.display()
    );
    let here = with(job("sh", &script), &json!({"requires": {"at": "worker1"}}));
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(id(&client.submit(&here).await).to_string());
    }
    let all = eventually("a hundred programs run, each with a child", async || {
        let all = pids(&file);
        (all.len() == 200).then_some(all)
    })
    .await;
    assert_eq!(living(&all).len(), 200);
    let killed = Instant::now();
    cluster.kill(2);
    eventually("all of them are gone", async || living(&all).is_empty().then_some(())).await;
    let took = killed.elapsed();
    println!("200 processes of 100 attempts were gone {took:?} after their node");
    assert!(took < Duration::from_secs(2), "{took:?}");
    cluster.restart(2);
    for id in &ids {
        let ended = client.ended(id).await;
        assert_eq!(
            (&ended["state"], &ended["result"]["output"]),
            (&json!("succeeded"), &json!("done\n")),
            "{ended}"
        );
        assert_eq!((attempts(&ended, "succeeded"), attempts(&ended, "lost")), (1, 1), "{ended}");
    }
}
