//! An evaluation is a job like any other.

use std::time::Duration;

use reqwest::Method;
use tests::client::id;
use tests::eventually;
use tests::recodex::{Backend, FrontEnd, Worker};

use crate::OK;

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_is_found_by_its_id_and_shows_its_progress_and_its_lines() {
    let backend = Backend::start(1).await;
    let mut worker = Worker::registered(&backend.workers(1), "group1", &["env=c"], None);
    backend.counts(1, "worker-count", 1).await;
    FrontEnd::accepted(&backend.clients(1), "essay-7", &["env=c"]);
    assert_eq!(worker.takes(Duration::from_secs(20)), "essay-7");
    worker.say(&["progress", "essay-7", "TASK", "compile", "COMPLETED"]);
    let listed = backend.jobs(1, "essay-7").await.remove(0);
    assert_eq!(listed["class"], "recodex", "{listed}");
    let path = format!("/api/v1/jobs/{}", id(&listed));
    let shown = eventually("the job shows its progress", async || {
        worker.keep_alive();
        let job = backend.cluster.get(1, &path).await?.1;
        job["progress"]["text"].as_str()?.contains("compile").then_some(job)
    })
    .await;
    assert_eq!(
        (&shown["state"], &shown["labels"]["recodex"]),
        (&"running".into(), &"essay-7".into()),
        "{shown}"
    );
    worker.done("essay-7", "OK", "");
    assert_eq!(backend.ended(1, "essay-7").await["state"], "succeeded");
    assert_eq!(backend.notifier.hears("essay-7").await, OK);
    let log = backend.cluster.request(Method::GET, 1, "/logging?format=jsonl&limit=10000");
    let log = log.send().await.expect("/logging answers").text().await.expect("text");
    assert!(log.lines().any(|line| line.contains("essay-7") || line.contains(id(&listed))), "{log}");
    // By the label nobody else's is found.
    assert!(backend.jobs(1, "essay-8").await.is_empty());
}
