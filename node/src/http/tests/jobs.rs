//! Reading jobs, nodes and the cluster.

use axum::http::StatusCode;
use bytes::Bytes;
use protocol::{JobId, Outcome, Reason, Refusal};

use super::stage::start;
use super::{JSON, call, get, submit};

#[tokio::test]
async fn a_list_goes_page_by_page_newest_first_and_narrows() {
    let (app, hand) = start();
    // Ids fall while acceptance rises: the order is that of acceptance.
    for i in 0..5_u128 {
        hand.accept(100 - i, if i == 2 { "hash" } else { "echo" }, b"x");
    }
    hand.run(JobId(100), b"x");
    let first = get(&app, "/api/v1/jobs?limit=2").await.json();
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(ids(&first), [JobId(96).to_string(), JobId(97).to_string()]);
    let next = format!("/api/v1/jobs?limit=3&after={}", first["next"].as_str().unwrap());
    let second = get(&app, &next).await.json();
    assert_eq!(ids(&second), [JobId(98).to_string(), JobId(99).to_string(), JobId(100).to_string()]);
    assert!(second["next"].is_null() && second["rev"] == "0.8.0", "{second}");
    for (query, wanted) in [
        ("state=succeeded", vec![100]),
        ("state=succeeded,queued&class=hash", vec![98]),
        ("q=HAS", vec![98]),
        ("submitter=nobody", vec![]),
        ("label=a=b", vec![]),
    ] {
        let page = get(&app, &format!("/api/v1/jobs?{query}")).await.json();
        let wanted: Vec<String> = wanted.into_iter().map(|id| JobId(id).to_string()).collect();
        assert_eq!(ids(&page), wanted, "{query}");
    }
}

#[tokio::test]
async fn output_that_is_no_text_is_base64_and_its_bytes_are_to_be_had() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"\xff\x00");
    hand.run(id, b"\xff\x00");
    let job = get(&app, &format!("/api/v1/jobs/{id}")).await.json();
    assert!(job["result"]["output"].is_null());
    assert_eq!(job["result"]["output_base64"], "/wA=");
    let output = get(&app, &format!("/api/v1/jobs/{id}/output")).await;
    assert_eq!(
        (output.body.as_slice(), output.header("content-type")),
        (&b"\xff\x00"[..], "application/octet-stream")
    );
    let wrong = get(&app, &format!("/api/v1/jobs/{id}/output?attempt=2")).await;
    assert_eq!(wrong.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn a_failed_job_says_why_and_keeps_standard_error() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    let outcome = Outcome {
        exit_code: Some(3),
        stderr: Bytes::from_static(b"oh no\n"),
        ..Outcome::failure(Reason::Exit, "ended with exit code 3".into())
    };
    hand.assign(id);
    hand.finish(id, outcome);
    let job = get(&app, &format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(job["attempts"][0]["state"], "failed");
    assert_eq!(
        (&job["attempts"][0]["exit_code"], &job["attempts"][0]["reason"]),
        (&3.into(), &"exit".into())
    );
    assert!(job["not_before"].is_string(), "it is tried again: {job}");
}

#[tokio::test]
async fn a_list_leaves_out_long_outputs() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    hand.assign(id);
    hand.finish(id, Outcome::success(Bytes::from(vec![b'x'; 100_000])));
    let listed = &get(&app, "/api/v1/jobs").await.json()["items"][0]["result"];
    assert!(listed.get("output").is_none() && listed["output_bytes"] == 100_000, "{listed}");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_known_job_has_an_age_and_an_unknown_one_is_not_denied() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    let fresh = get(&app, &format!("/api/v1/jobs/{id}")).await;
    assert_eq!((fresh.status, fresh.header("x-understudy-age")), (StatusCode::OK, ""));
    assert_eq!(get(&app, &format!("/api/v1/jobs/{}", JobId(9))).await.problem(), (404, "not-found".into()));
    hand.lose_leader();
    let known = get(&app, &format!("/api/v1/jobs/{id}")).await;
    assert_eq!((known.status, known.header("x-understudy-age")), (StatusCode::OK, "7"));
    let stale = get(&app, &format!("/api/v1/jobs/{id}?stale=1")).await;
    assert_eq!((stale.status, stale.header("x-understudy-age")), (StatusCode::OK, "7"));
    let unknown = get(&app, &format!("/api/v1/jobs/{}", JobId(9))).await;
    assert_eq!(unknown.problem(), (503, "no-quorum".into()));
    let status = get(&app, "/api/v1/status").await.json();
    assert_eq!((&status["quorum"], &status["leader"]), (&false.into(), &().into()));
}

#[tokio::test]
async fn reading_may_wait_for_the_end() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    let waits = app.clone();
    let waiting = tokio::spawn(async move { get(&waits, &format!("/api/v1/jobs/{id}?wait=60s")).await });
    hand.assign(id);
    tokio::task::yield_now().await;
    hand.finish(id, Outcome::success(Bytes::from_static(b"done")));
    assert_eq!(waiting.await.unwrap().json()["result"]["output"], "done");
}

#[tokio::test]
async fn the_status_counts_every_state_and_names_every_node() {
    let (app, hand) = start();
    hand.accept(1, "echo", b"");
    let status = get(&app, "/api/v1/status").await.json();
    assert_eq!((status["node"].as_str(), status["role"].as_str()), (Some("n1"), Some("leader")));
    assert_eq!((&status["quorum"], &status["stopped"]), (&true.into(), &false.into()));
    for state in ["scheduled", "blocked", "queued", "running", "succeeded", "failed", "cancelled"] {
        assert_eq!(status["jobs"][state], u64::from(state == "queued"), "{state}");
    }
    let node = &status["nodes"][1];
    assert_eq!((node["name"].as_str(), node["role"].as_str()), (Some("n2"), Some("worker")));
    assert_eq!((&node["cpu_percent"], &node["slots"], &node["alive"]), (&25.into(), &4.into(), &true.into()));
    assert_eq!(get(&app, "/api/v1/nodes/n2").await.json(), *node);
    assert_eq!(get(&app, "/api/v1/nodes/self").await.json()["name"], "n1");
    assert_eq!(get(&app, "/api/v1/nodes/n9").await.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn why_names_each_node_with_its_reasons() {
    let (app, hand) = start();
    let id = hand.accept(1, "knit", b"");
    let why = get(&app, &format!("/api/v1/jobs/{id}/why")).await.json();
    assert_eq!((why["state"].as_str(), &why["chosen"]), (Some("queued"), &().into()));
    assert_eq!(why["nodes"][1]["name"], "n2");
    assert_eq!(why["nodes"][1]["reasons"][0]["code"], "class");
}

#[tokio::test]
async fn a_job_that_no_present_node_could_ever_run_is_taken_with_a_warning() {
    let (app, _hand) = start();
    let said = submit(&app, r#"{"class":"knit"}"#).await;
    assert_eq!(said.status, 201);
    let warning = "no present node could ever run this job: no present node serves class knit";
    assert_eq!(said.json()["warning"], warning);
    let fine = submit(&app, r#"{"class":"echo"}"#).await.json();
    assert!(fine.get("warning").is_none(), "{fine}");
    let jobs = r#"[{"class":"echo"},{"class":"knit"},{"class":"echo","cpu":3}]"#;
    let batch = call(&app, "POST /api/v1/jobs/batch", &[JSON], jobs).await.json();
    let more = "; and 1 more jobs of this batch that none could";
    assert_eq!(batch["warning"], format!("[1]: {warning}{more}"));
    let bad = r#"{"class":"echo","requires":{"env":">=x"},"resources":{"gpu":-1}}"#;
    let refused = submit(&app, bad).await;
    assert_eq!(refused.status, 422);
    let fields: Vec<String> =
        refused.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].to_string()).collect();
    assert_eq!(fields, ["\"requires.env\"", "\"resources.gpu\""]);
}

#[tokio::test]
async fn a_jobs_log_tells_its_facts_newest_first() {
    let (app, hand) = start();
    let id = hand.accept(1, "echo", b"");
    hand.run(id, b"");
    hand.log.record(logdb::Level::Info, "started", Some(id), "own line");
    let page = get(&app, &format!("/api/v1/jobs/{id}/logs")).await.json();
    let events: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "finished", "dispatched", "accepted"]);
    let cluster = get(&app, "/logging?source=cluster&format=text").await.text();
    assert!(cluster.contains(&format!("Created payload: {id}")), "{cluster}");
}

#[tokio::test]
async fn health_and_metrics_answer_in_plain_text() {
    let (app, hand) = start();
    assert_eq!(get(&app, "/livez").await.status, StatusCode::OK);
    assert_eq!(get(&app, "/readyz").await.status, StatusCode::OK);
    let metrics = get(&app, "/metrics").await.text();
    assert!(metrics.contains("understudy_jobs{state=\"queued\"} 0\n"), "{metrics}");
    assert!(
        metrics.contains("understudy_is_leader 1\n") && metrics.contains("# TYPE understudy_term gauge\n")
    );
    hand.lose_leader();
    let verbose = get(&app, "/readyz?verbose").await;
    assert_eq!(verbose.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(verbose.text().contains("[-] leader\n"), "{}", verbose.text());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_disk_failed_says_why_and_is_as_one_that_is_stopped() {
    use crate::disk::HealthState;
    let (app, hand) = start();
    hand.front.disk.set(Some(HealthState::Hangs));
    let verbose = get(&app, "/readyz?verbose").await;
    assert_eq!(verbose.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(verbose.text().contains("[-] disk: a write hangs"), "{}", verbose.text());
    assert_eq!(get(&app, "/api/v1/status").await.status, StatusCode::OK, "it still serves what it knows");

    let why = "writing /d/log/0000000002.seg at byte 0: No space left on device";
    hand.front.disk.set(Some(HealthState::Out { why: why.to_string() }));
    for path in ["/readyz", "/readyz?verbose"] {
        let ready = get(&app, path).await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.text().contains(why), "{}", ready.text());
    }
    for path in ["/api/v1/status", "/api/v1/jobs", "/metrics"] {
        let told = get(&app, path).await;
        assert_eq!(told.problem(), (503, "stopped".into()), "{path}");
        assert!(told.json()["detail"].as_str().unwrap().contains(why), "{}", told.text());
    }
    let told = submit(&app, r#"{"class":"echo"}"#).await;
    assert_eq!((told.problem(), &told.json()["accepted"]), ((503, "stopped".into()), &false.into()));
    assert_eq!(get(&app, "/livez").await.status, StatusCode::OK);
    assert_eq!(get(&app, "/logging").await.status, StatusCode::OK);

    hand.front.disk.set(None);
    assert_eq!(get(&app, "/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn voters_that_are_short_of_something_are_named() {
    let (app, hand) = start();
    hand.refuse(Refusal::Short("the disks of too many voters are nearly full: n2".to_string()));
    let told = submit(&app, r#"{"class":"echo"}"#).await;
    assert_eq!((told.problem(), &told.json()["accepted"]), ((429, "full".into()), &false.into()));
    assert!(told.json()["detail"].as_str().unwrap().contains("nearly full: n2"), "{}", told.text());
}

#[tokio::test]
async fn a_newcomer_is_taken_in_and_hears_of_the_cluster() {
    let (app, _hand) = start();
    let cluster = get(&app, "/internal/v1/cluster").await.json();
    assert_eq!(cluster["cluster"], format!("{:032x}", 0xabc));
    assert_eq!(
        (cluster["name"].as_str(), cluster["leader_http"].as_str()),
        (Some("n1"), Some("127.0.0.1:1"))
    );
    let newcomer =
        r#"{"id":"00000000000000ff","boot":1,"name":"n3","http":"h:1","link":"h:2","broker":"h:3"}"#;
    let joined = call(&app, "POST /internal/v1/join", &[super::JSON], newcomer).await.json();
    assert_eq!(joined["members"][2]["name"], "n3");
    let bad = newcomer.replace("\"n3\"", "\"a/b\"");
    let bad = call(&app, "POST /internal/v1/join", &[super::JSON], bad).await;
    assert_eq!((bad.problem(), &bad.json()["errors"][0]["field"]), ((422, "invalid".into()), &"name".into()));
}

#[tokio::test(start_paused = true)]
async fn before_there_is_a_cluster_everything_that_needs_one_is_starting() {
    let (app, hand) = start();
    hand.forget_cluster();
    for path in ["/internal/v1/cluster", "/api/v1/status", "/api/v1/jobs", "/metrics"] {
        assert_eq!(get(&app, path).await.problem(), (503, "starting".into()), "{path}");
    }
    assert_eq!(get(&app, "/livez").await.status, StatusCode::OK);
    assert_eq!(get(&app, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
