//! The master chooses the worker with the most room, and says why a job waits when there is none.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::client::{attempts, has_ended, id, job};
use tests::{Cluster, Plan, eventually};

fn ran_on(job: &Value) -> &str {
    let all = job["attempts"].as_array().expect("attempts");
    all.iter()
        .find(|a| a["state"] == "succeeded")
        .and_then(|a| a["node"].as_str())
        .unwrap_or_else(|| panic!("{job}"))
}

#[tokio::test]
async fn jobs_avoid_a_busy_node() {
    let cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let burning = id(&client.submit(&job("burn", "60")).await).to_string();
    let (busy, _) = cluster.runner(&client, &burning, 1).await;
    let name = cluster.node(busy).name.clone();
    eventually("the busy node's load is known", async || {
        let status = cluster.status(leader).await?;
        let nodes = status["nodes"].as_array()?.clone();
        let load = |n: &Value| n["cpu_percent"].as_f64().unwrap_or(0.0);
        let busy = nodes.iter().find(|n| n["name"] == name.as_str())?;
        let calm = nodes.iter().filter(|n| n["name"] != name.as_str() && n["role"] == "worker");
        calm.map(load).all(|calm| load(busy) > calm + 10.0).then_some(())
    })
    .await;
    for n in 0..8 {
        let ended = client.run(&job("sleep", "0.1")).await;
        assert_ne!(ran_on(&ended), name, "job {n} went to the busy node: {ended}");
    }
    let (_, why) = cluster.get(leader, &format!("/api/v1/jobs/{burning}/why")).await.expect("an answer");
    assert_eq!(why["state"], "running", "{why}");
    assert_eq!(
        cluster.post(leader, &format!("/api/v1/jobs/{burning}/cancel"), &json!({})).await.expect("ok").0,
        200
    );
}

#[tokio::test]
async fn a_burst_of_12_jobs_on_3_idle_workers_lands_4_each() {
    let cluster = Cluster::start(Plan::of(4).slots(4)).await;
    let client = cluster.client(cluster.leader().await);
    let one = job("sleep", "1");
    let one = &one;
    let client = &client;
    let submitted = futures_of(12, async || client.submit(one).await).await;
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for job in submitted {
        let ended = client.ended(id(&job)).await;
        *count.entry(ran_on(&ended).to_string()).or_default() += 1;
    }
    assert_eq!(count.values().copied().collect::<Vec<_>>(), [4, 4, 4], "{count:?}");
}

/// Runs the same thing `count` times at once.
async fn futures_of<T>(count: usize, each: impl AsyncFn() -> T) -> Vec<T> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(each())).collect();
    let mut done: Vec<Option<T>> = (0..count).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in waiting.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn no_node_runs_more_jobs_than_it_has_slots() {
    let cluster = Cluster::start(Plan::of(3).slots(2)).await;
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(id(&client.submit(&job("sleep", "0.3")).await).to_string());
    }
    let mut ended = Vec::new();
    eventually("all have ended", async || {
        let (_, list) = cluster.get(leader, "/api/v1/jobs?limit=50").await?;
        let items = list["items"].as_array()?.clone();
        let mut running: BTreeMap<String, usize> = BTreeMap::new();
        for job in &items {
            let at = job["attempts"].as_array()?.iter().filter(|a| a["state"] == "running");
            at.for_each(|a| *running.entry(a["node"].to_string()).or_default() += 1);
        }
        assert!(running.values().all(|n| *n <= 2), "{running:?}");
        ended = items;
        (ended.len() == 10 && ended.iter().all(has_ended)).then_some(())
    })
    .await;
    assert!(ended.iter().all(|job| job["state"] == "succeeded"));
}

#[tokio::test]
async fn a_job_of_an_unknown_class_waits_and_says_why_until_a_worker_comes() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(1);
    let waiting = client.submit(&job("words", "one two three")).await;
    let j = id(&waiting).to_string();
    assert_eq!(waiting["state"], "queued", "{waiting}");
    let (status, why) = cluster.get(2, &format!("/api/v1/jobs/{j}/why")).await.expect("an answer");
    assert_eq!((status.as_u16(), &why["state"]), (200, &json!("queued")), "{why}");
    assert!(why["chosen"].is_null(), "{why}");
    assert!(why["text"].as_str().expect("a text").contains("words"), "it names the class: {why}");
    for node in why["nodes"].as_array().expect("nodes") {
        assert_eq!(node["fits"], false, "{node}");
        assert!(!node["reasons"].as_array().expect("reasons").is_empty(), "{node}");
    }
    let settings = cluster.folder().join("words.toml");
    std::fs::write(&settings, "[class.words]\ncommand = [\"wc\", \"-w\"]\n").expect("a file");
    let k = cluster.add();
    cluster.node_mut(k).words.push(format!("--config={}", settings.display()));
    cluster.restart(k);
    let ended = client.ended(&j).await;
    assert_eq!(ended["result"]["output"].as_str().map(str::trim), Some("3"), "{ended}");
    assert_eq!(ran_on(&ended), cluster.node(k).name);
}

/// What `why` says of a job, printed.
async fn why(cluster: &Cluster, job: &str) -> Value {
    let (_, why) = cluster.get(1, &format!("/api/v1/jobs/{job}/why")).await.expect("an answer");
    println!("{}: {}", why["state"].as_str().unwrap_or_default(), why["text"].as_str().unwrap_or_default());
    why
}

/// Waits until `why` says of a job what it should.
async fn says(cluster: &Cluster, job: &str, sentence: &str) {
    let (_, first) = cluster.get(1, &format!("/api/v1/jobs/{job}/why")).await.expect("an answer");
    eventually(&format!("why says {sentence:?}; it said {}", first["text"]), async || {
        let (_, why) = cluster.get(1, &format!("/api/v1/jobs/{job}/why")).await?;
        (why["text"].as_str()? == sentence).then_some(())
    })
    .await;
    why(cluster, job).await;
}

#[tokio::test]
async fn why_tells_five_situations_apart_and_then_where_it_runs() {
    // Node 1 leads and leaves jobs to node 2, which alone has what is asked for.
    let plan = Plan::of(2).slots(2).environment_of(2, "UNDERSTUDY_HEADER", "env=c,env=python,threads=8");
    let cluster = Cluster::start(plan.environment_of(2, "UNDERSTUDY_RESOURCE", "gpu=1.5")).await;
    let client = cluster.client(1);
    let submit = async |job: Value| id(&client.submit(&job).await).to_string();
    let (_, node) = cluster.get(1, "/api/v1/nodes/worker1").await.expect("an answer");
    assert_eq!(node["resources"], json!({"gpu": 1.5}), "{node}");
    assert_eq!(node["headers"]["env"], json!(["c", "python"]), "{node}");

    let unserved = client.submit(&json!({"class": "knit"})).await;
    let none = "no present node serves class knit";
    assert_eq!(unserved["warning"], format!("no present node could ever run this job: {none}"));
    says(&cluster, id(&unserved), &format!("waits: {none}")).await;

    let header = submit(json!({"class": "echo", "requires": {"env": "java|c#"}})).await;
    let lacks = "waits: no present node that serves class echo carries the header env=java|c#";
    says(&cluster, &header, lacks).await;

    let huge =
        submit(json!({"class": "echo", "resources": {"gpu": 2}, "requires": {"threads": ">=4"}})).await;
    let has = "no present node that serves class echo and carries what it requires has more than 1.5";
    says(&cluster, &huge, &format!("waits: it asks for 2 gpu, and {has}")).await;

    let holder = submit(json!({"class": "sh", "payload": "sleep 600", "resources": {"gpu": "1"}})).await;
    cluster.runner(&client, &holder, 1).await;
    let asks =
        json!({"class": "sh", "payload": "sleep 600", "resources": {"gpu": 0.75}, "requires": {"env": "*"}});
    let waits = submit(asks).await;
    let left = "waits: only worker1 could run it, and there 0.5 of 1.5 gpu left, 0.75 asked for";
    says(&cluster, &waits, left).await;

    let failing =
        json!({"class": "sh", "payload": "exit 3", "retry": {"base": "5m"}, "requires": {"env": "python"}});
    let pausing = submit(failing).await;
    eventually("its first attempt has failed", async || {
        (client.look(&pausing).await["state"] == "scheduled").then_some(())
    })
    .await;
    let pause = why(&cluster, &pausing).await;
    let text = pause["text"].as_str().expect("a text");
    let begins = "waits: attempt 1 failed (exit), and the pause before the next one ends in ";
    let left = text.strip_prefix(begins).and_then(|left| left.strip_suffix('s')).expect(text);
    let seconds: f64 = left.parse().expect("seconds");
    assert!(seconds > 0.0 && seconds <= 300.0, "{text}");

    let other = submit(json!({"class": "sh", "payload": "sleep 600"})).await;
    cluster.runner(&client, &other, 1).await;
    let slots = submit(json!({"class": "echo", "requires": {"env": "c"}})).await;
    says(&cluster, &slots, "waits: only worker1 could run it, and there 2 of 2 slots are in use").await;

    let cancel = format!("/api/v1/jobs/{holder}/cancel");
    assert_eq!(cluster.post(1, &cancel, &json!({})).await.expect("an answer").0, 200);
    cluster.runner(&client, &waits, 1).await;
    says(&cluster, &waits, "runs on worker1 because it is the only present node that could run it").await;
    let running = why(&cluster, &waits).await;
    assert_eq!((&running["state"], &running["chosen"]), (&json!("running"), &json!("worker1")), "{running}");
}

#[tokio::test]
async fn what_a_job_asks_of_its_node_is_checked_and_named() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let table = [
        (json!({"requires": {"env": ">=x"}}), "requires.env"),
        (json!({"requires": {"env": "a||b"}}), "requires.env"),
        (json!({"requires": {"env": "<8"}}), "requires.env"),
        (json!({"requires": {"env": ["a"]}}), "requires.env"),
        (json!({"resources": {"gpu": -1}}), "resources.gpu"),
        (json!({"resources": {"gpu": 1e30}}), "resources.gpu"),
        (json!({"resources": {"gpu": 0.0001}}), "resources.gpu"),
        (json!({"resources": {"gpu": "2GB"}}), "resources.gpu"),
        (json!({"cpu": -1}), "cpu"),
        (json!({"cpu": "2GHz"}), "cpu"),
        (json!({"memory": "-5MiB"}), "memory"),
        (json!({"memory": "5 parsecs"}), "memory"),
    ];
    for (fields, named) in table {
        let mut body = fields.clone();
        body["class"] = json!("echo");
        let (status, problem) = cluster.post(1, "/api/v1/jobs", &body).await.expect("an answer");
        assert_eq!(
            (status.as_u16(), &problem["errors"][0]["field"]),
            (422, &json!(named)),
            "{fields}: {problem}"
        );
        println!("{fields}: {} {}", named, problem["errors"][0]["detail"]);
    }
}

#[tokio::test]
async fn a_job_that_nobody_can_run_ends_at_once_when_it_asks_for_that() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let ended = client.run(&json!({"class": "nobody", "if_unsatisfiable": "fail"})).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("unsatisfiable")), "{ended}");
    assert_eq!(attempts(&ended, "succeeded"), 0);
}

#[tokio::test]
async fn a_time_limit_ends_a_job_and_says_so() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let asked = json!({"class": "sh", "payload": "sleep 60", "timeout": "300ms", "max_attempts": 1});
    let ended = cluster.client(1).run(&asked).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("timeout")), "{ended}");
}
