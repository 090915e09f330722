//! Jobs that fail, are retried, are cancelled, or may run at most once: on real nodes, with real programs.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::client::{attempts, fresh_key, id, job, problem};
use tests::{Cluster, Plan, eventually, understudy};

fn with(mut job: Value, more: &Value) -> Value {
    let fields = job.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    job
}

/// Posts with a key; status and body.
async fn post(cluster: &Cluster, k: usize, path: &str, key: &str) -> (u16, Value) {
    let request = cluster.request(reqwest::Method::POST, k, path).header("Idempotency-Key", key);
    let (status, body) = tests::client::answer(request).await.expect("an answer");
    (status.as_u16(), body)
}

fn ids(body: &Value) -> Vec<String> {
    let ids = body["ids"].as_array().unwrap_or_else(|| panic!("no ids in {body}"));
    ids.iter().filter_map(Value::as_str).map(str::to_string).collect()
}

/// A subcommand against node `k`: its exit code and what it printed.
fn run(cluster: &Cluster, k: usize, words: &[&str]) -> (Option<i32>, String) {
    let told = understudy().args(["--server", &cluster.node(k).url()]).args(words).output().expect("it runs");
    (told.status.code(), String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_job_is_tried_again_by_reason_and_exit_code_and_its_record_says_where_and_why() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(2);
    let retry = json!({"base": "50ms", "max": "100ms", "on": ["exit"], "not_exit_codes": [7]});
    let more = json!({"max_attempts": 3, "retry": retry});
    let again = client.run(&with(job("sh", "exit 6"), &more)).await;
    assert_eq!((&again["state"], &again["reason"]), (&json!("failed"), &json!("exit")), "{again}");
    assert_eq!(attempts(&again, "failed"), 3, "{again}");
    let excepted = client.run(&with(job("sh", "exit 7"), &more)).await;
    assert_eq!((&excepted["state"], attempts(&excepted, "failed")), (&json!("failed"), 1), "{excepted}");
    // The usual rule: not after a signal.
    let signal = client.run(&job("sh", "kill -9 $$")).await;
    assert_eq!((&signal["reason"], attempts(&signal, "failed")), (&json!("signal"), 1), "{signal}");
    for attempt in again["attempts"].as_array().expect("attempts") {
        let node = attempt["node"].as_str().expect("a name");
        assert!((1..=3).any(|k| cluster.node(k).name == node), "{attempt}");
        assert!(attempt["term"].as_u64() >= Some(1) && attempt["started_at"].is_string(), "{attempt}");
        let code = attempt["why"]["code"].as_str().expect("why there");
        assert!(["only", "least-loaded", "ahead"].contains(&code), "{attempt}");
        assert_eq!(attempt["refused"], Value::Null);
    }
}

#[tokio::test]
async fn twenty_failed_jobs_are_retried_by_a_filter_once_under_one_key() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(1);
    let fails = with(job("sh", "exit 3"), &json!({"max_attempts": 1, "labels": {"run": "one"}}));
    let mut old = Vec::new();
    for _ in 0..20 {
        old.push(id(&client.submit(&fails).await).to_string());
    }
    for id in &old {
        assert_eq!(client.ended(id).await["state"], "failed");
    }
    let (path, key) = ("/api/v1/jobs/retry?state=failed&label=run=one", fresh_key());
    let (status, first) = post(&cluster, 2, path, &key).await;
    let made = ids(&first);
    assert_eq!((status, made.len(), &first["next"]), (200, 20, &Value::Null), "{first}");
    let mut of = Vec::new();
    for id in &made {
        let ended = client.ended(id).await;
        assert_eq!(ended["state"], "failed", "its payload is the old one: {ended}");
        of.push(ended["retry_of"].as_str().expect("a link").to_string());
    }
    old.reverse();
    assert_eq!(of, old, "each once");
    // Through another node, after all of them have failed again.
    let (status, again) = post(&cluster, 3, path, &key).await;
    assert_eq!((status, ids(&again)), (200, made.clone()), "{again}");
    let (code, printed) =
        run(&cluster, 2, &["retry", "--state", "failed", "--class", "sh", "--label", "run=one"]);
    assert_eq!((code, printed.lines().count()), (Some(0), 40), "{printed}");
    let (code, printed) = run(&cluster, 2, &["retry", &made[0]]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(client.look(printed.trim()).await["retry_of"], json!(made[0]));
    let (code, printed) = run(&cluster, 2, &["retry"]);
    assert_eq!(code, Some(2), "{printed}");
}

#[tokio::test]
async fn all_that_fit_are_cancelled_whether_they_run_wait_or_pause() {
    let cluster = Cluster::start(Plan::of(1).slots(2)).await;
    let client = cluster.client(1);
    let pauses = with(job("sh", "exit 1"), &json!({"retry": {"base": "1m", "max": "1m"}}));
    let paused = client.submit(&with(pauses, &json!({"labels": {"run": "one"}}))).await;
    eventually("it pauses", async || (client.look(id(&paused)).await["state"] == "scheduled").then_some(()))
        .await;
    let mut all = vec![id(&paused).to_string()];
    for (class, payload) in [("sleep", "600"), ("burn", "600"), ("sleep", "600"), ("sh", "sleep 600")] {
        let asked = with(job(class, payload), &json!({"labels": {"run": "one"}}));
        all.push(id(&client.submit(&asked).await).to_string());
    }
    let other = client.submit(&job("sleep", "600")).await;
    eventually("two run", async || {
        let (_, status) = cluster.get(1, "/api/v1/status").await?;
        (status["jobs"]["running"] == 2).then_some(())
    })
    .await;
    let (code, printed) = run(&cluster, 1, &["cancel", "--label", "run=one"]);
    assert_eq!(code, Some(0), "{printed}");
    let mut told: Vec<&str> = printed.lines().collect();
    told.reverse();
    assert_eq!(told, all);
    for id in &all {
        assert_eq!(client.look(id).await["state"], "cancelled");
    }
    // Their slots are free again: what waited begins.
    eventually("the other one runs", async || {
        (client.look(id(&other)).await["state"] == "running").then_some(())
    })
    .await;
    let (status, again) = post(&cluster, 1, "/api/v1/jobs/cancel?label=run=one", &fresh_key()).await;
    assert_eq!((status, ids(&again).len()), (200, 0));
}

#[tokio::test]
async fn an_at_most_once_job_of_a_killed_worker_has_failed_as_lost_and_ran_once() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let file = cluster.folder().join("ran");
    let script = format!("echo ran >> {}; sleep 600", file.display());
    let submitted = client.submit(&with(job("sh", &script), &json!({"at_most_once": true}))).await;
    let (runner, _) = cluster.runner(&client, id(&submitted), 1).await;
    eventually("it runs", async || fs::read_to_string(&file).ok().filter(|text| !text.is_empty())).await;
    assert_ne!(runner, leader, "the leader runs none where others can");
    cluster.kill(runner);
    let ended = client.ended(id(&submitted)).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("lost")), "{ended}");
    assert_eq!(
        (attempts(&ended, "lost"), ended["attempts"].as_array().map(Vec::len)),
        (1, Some(1)),
        "{ended}"
    );
    cluster.restart(runner);
    cluster.whole().await;
    assert_eq!(fs::read_to_string(&file).expect("it ran"), "ran\n");
    // A failure is the end as well.
    let failed = client.run(&with(job("sh", "exit 1"), &json!({"at_most_once": true}))).await;
    assert_eq!((&failed["state"], attempts(&failed, "failed")), (&json!("failed"), 1), "{failed}");
}

#[tokio::test]
async fn a_cancelled_family_that_ignores_term_is_dead_within_5_seconds() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let file = cluster.folder().join("pids");
    // Three generations; all ignore TERM.
    let script = format!(
        "trap '' TERM; f={}; echo $$ > $f; (trap '' TERM; sh -c 'echo $$ >> '$f'; sleep 600' & \
         sleep 600 & echo $! >> $f; wait) & echo $! >> $f; wait",
        file.display()
    );
    let submitted = client.submit(&job("sh", &script)).await;
    let pids = eventually("all of them run", async || {
        let text = fs::read_to_string(&file).ok()?;
        let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 4).then_some(pids)
    })
    .await;
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(pids.iter().all(lives), "{pids:?}");
    let since = Instant::now();
    let path = format!("/api/v1/jobs/{}/cancel", id(&submitted));
    assert_eq!(post(&cluster, 1, &path, &fresh_key()).await.1["state"], "cancelled");
    eventually("none of them lives", async || (!pids.iter().any(lives)).then_some(())).await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    // What came back with their end is refused, and the job stays cancelled.
    let refused = eventually("the result came back", async || {
        let shown = client.look(id(&submitted)).await;
        let refused = shown["attempts"][0]["refused"]["code"].clone();
        refused.is_string().then(|| (shown["state"].clone(), refused))
    })
    .await;
    assert_eq!(refused, (json!("cancelled"), json!("job-cancelled")));
    assert_eq!(post(&cluster, 1, &path, &fresh_key()).await.0, 200, "cancelling again is no fault");
}

#[tokio::test]
async fn bad_values_of_retries_are_refused_with_their_place() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let bad = [
        (json!({"retry": {"on": ["exit", "sometimes"]}}), "retry.on[1]"),
        (json!({"retry": {"on": ["lost"]}}), "retry.on[0]"),
        (json!({"retry": {"not_exit_codes": [0]}}), "retry.not_exit_codes[0]"),
        (json!({"retry": {"not_exit_codes": [1, 256]}}), "retry.not_exit_codes[1]"),
        (json!({"retry": {"base": "-1s"}}), "retry.base"),
        (json!({"retry": {"max": "5 parsecs"}}), "retry.max"),
        (json!({"retry": {"base": "2m", "max": "1m"}}), "retry.base"),
        (json!({"max_attempts": 0}), "max_attempts"),
        (json!({"at_most_once": true, "max_attempts": 2}), "max_attempts"),
        (json!({"at_most_once": "yes"}), "at_most_once"),
    ];
    for (more, field) in bad {
        let asked = with(job("echo", "x"), &more);
        let (status, told) = cluster.post(1, "/api/v1/jobs", &asked).await.expect("an answer");
        assert_eq!((status.as_u16(), problem(&told)), (422, "invalid"), "{more}: {told}");
        assert_eq!(told["errors"][0]["field"], field, "{told}");
    }
}
