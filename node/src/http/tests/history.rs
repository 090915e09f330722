//! Jobs that have left the ledger: answered as though they had not, until they are forgotten.

use axum::http::StatusCode;
use bytes::Bytes;
use logdb::door::Guarded;
use protocol::{Command, JobId, Outcome, Reason};
use serde_json::Value;
use tempfile::TempDir;

use super::stage::{Hand, start_with_history};
use super::{call, get};

/// The moment of the pretended stage, in the front part of an id.
const NOW: u128 = 1_700_000_000_000 << 80;

/// Thirty jobs that ran, of which the ledger holds two.
async fn after_thirty(folder: &TempDir) -> (Guarded, Hand) {
    let (app, hand) = start_with_history(folder.path(), 2).await;
    for n in 1..=30 {
        let job = hand.accept(NOW + n, if n % 3 == 0 { "hash" } else { "echo" }, b"in");
        hand.run(job, b"out");
    }
    (app, hand)
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_job_that_left_the_ledger_is_answered_by_every_call() {
    let folder = TempDir::new().unwrap();
    let (app, _hand) = after_thirty(&folder).await;
    let path = format!("/api/v1/jobs/{}", JobId(NOW + 1));
    let job = get(&app, &path).await.json();
    assert_eq!((&job["state"], &job["result"]["output"]), (&"succeeded".into(), &"out".into()), "{job}");
    assert_eq!(get(&app, &format!("{path}?wait=5m")).await.json(), job, "it has ended: nothing to wait for");
    assert_eq!(get(&app, &format!("{path}/output")).await.text(), "out");
    assert_eq!(get(&app, &format!("{path}/payload")).await.text(), "in");
    assert_eq!(get(&app, &format!("{path}/why")).await.json()["state"], "succeeded");
    let logs = get(&app, &format!("{path}/logs")).await.json();
    assert_eq!(logs["items"].as_array().map(Vec::len), Some(3), "{logs}");
    let cancel = call(&app, &format!("POST {path}/cancel"), &[], "").await;
    assert_eq!(cancel.problem(), (409, "ended".into()));
    let unknown = get(&app, &format!("/api/v1/jobs/{}", JobId(NOW + 99))).await;
    assert_eq!(unknown.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn cancelling_what_was_cancelled_long_ago_is_what_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let (app, hand) = start_with_history(folder.path(), 1).await;
    let first = hand.accept(NOW + 1, "echo", b"");
    hand.apply(vec![Command::Cancel { job: first }]);
    for n in 2..=5 {
        hand.accept(NOW + n, "echo", b"");
        hand.apply(vec![Command::Cancel { job: JobId(NOW + n) }]);
    }
    let again = call(&app, &format!("POST /api/v1/jobs/{first}/cancel"), &[], "").await;
    assert_eq!((again.status, &again.json()["state"]), (StatusCode::OK, &"cancelled".into()));
}

#[tokio::test]
async fn lists_go_through_ledger_and_history_alike() {
    let folder = TempDir::new().unwrap();
    let (app, hand) = after_thirty(&folder).await;
    hand.accept(NOW + 31, "echo", b"waits");
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&app, &format!("/api/v1/jobs?limit=4{after}")).await.json();
        all.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let wanted: Vec<String> = (1..=31).rev().map(|n| JobId(NOW + n).to_string()).collect();
    assert_eq!(all, wanted);
    let hashes = get(&app, "/api/v1/jobs?class=hash&state=succeeded,failed&limit=500").await.json();
    assert_eq!(ids(&hashes).len(), 10);
    let one =
        get(&app, &format!("/api/v1/jobs?q={}", JobId(NOW + 2).to_string().to_lowercase())).await.json();
    assert_eq!(ids(&one), [JobId(NOW + 2).to_string()]);
    assert_eq!(one["items"][0]["payload_bytes"], 2);
    let status = get(&app, "/api/v1/status").await.json();
    assert_eq!((&status["jobs"]["succeeded"], &status["jobs"]["queued"]), (&30.into(), &1.into()));
}

#[tokio::test]
async fn a_long_output_of_old_is_left_out_of_lists_and_whole_by_itself() {
    let folder = TempDir::new().unwrap();
    let (app, hand) = start_with_history(folder.path(), 1).await;
    let job = hand.accept(NOW + 1, "echo", &[b'p'; 5_000]);
    hand.assign(job);
    hand.finish(job, Outcome::success(Bytes::from(vec![b'o'; 50_000])));
    for n in 2..=4 {
        let job = hand.accept(NOW + n, "echo", b"");
        hand.assign(job);
        hand.finish(job, Outcome::failure(Reason::Exit, "no".into()));
        hand.apply(vec![Command::Cancel { job }]);
    }
    let page = get(&app, "/api/v1/jobs?state=succeeded").await.json();
    let listed = &page["items"][0];
    assert_eq!(
        (&listed["payload_bytes"], &listed["result"]["output_bytes"]),
        (&5_000.into(), &50_000.into())
    );
    assert!(listed["result"].get("output").is_none(), "{listed}");
    assert_eq!(get(&app, &format!("/api/v1/jobs/{job}/output")).await.body.len(), 50_000);
    assert_eq!(get(&app, &format!("/api/v1/jobs/{job}/payload")).await.body.len(), 5_000);
}

#[tokio::test]
async fn what_is_past_its_retention_is_gone_and_says_so() {
    let folder = TempDir::new().unwrap();
    let (app, hand) = after_thirty(&folder).await;
    // A mark is made with the first end: what is told of the time reaches to there.
    let old = format!("/api/v1/jobs/{}", JobId(NOW - (5 << 80)));
    assert_eq!(get(&app, &old).await.problem(), (404, "not-found".into()), "nothing is forgotten yet");
    hand.apply(vec![Command::Forget { after: 0, upto: 20 }]);
    assert_eq!(get(&app, &old).await.problem(), (410, "forgotten".into()));
    assert_eq!(get(&app, &format!("/api/v1/jobs/{}", JobId(NOW + 1))).await.problem().0, 410);
    assert_eq!(get(&app, &format!("/api/v1/jobs/{}", JobId(NOW + 21))).await.status, StatusCode::OK);
    let newer = format!("/api/v1/jobs/{}", JobId(NOW + (60_000 << 80)));
    assert_eq!(get(&app, &newer).await.problem(), (404, "not-found".into()));
    let page = get(&app, "/api/v1/jobs?limit=500").await.json();
    assert_eq!(ids(&page).len(), 10);
}

#[tokio::test]
async fn facts_of_old_are_told_as_the_clusters_lines() {
    let folder = TempDir::new().unwrap();
    let (app, hand) = after_thirty(&folder).await;
    for n in 31..=400 {
        let job = hand.accept(NOW + n, "echo", b"");
        hand.run(job, b"");
    }
    let text = get(&app, "/logging?source=cluster&format=jsonl&after=0&limit=1000").await.text();
    let mut lines = text.lines();
    let bounds: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&bounds["first"], &bounds["last"]), (&1.into(), &(3 + 400 * 3).into()));
    let seqs: Vec<u64> =
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=1_000).collect::<Vec<u64>>(), "without a hole from the first on");
    let rest = get(&app, "/logging?source=cluster&format=jsonl&after=1000&limit=1000").await.text();
    assert_eq!(rest.lines().count() as u64, 1 + 3 + 400 * 3 - 1_000);
}
