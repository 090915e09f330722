//! Files that come with a job, and those it leaves as its result.

use serde_json::{Value, json};
use tests::client::{id, job};
use tests::{Cluster, Plan};

fn with(mut job: Value, more: &Value) -> Value {
    let fields = job.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    job
}

async fn bytes(cluster: &Cluster, k: usize, id: &str, name: &str) -> (u16, Vec<u8>) {
    let path = format!("/api/v1/jobs/{id}/files/{name}");
    let answer = cluster.request(reqwest::Method::GET, k, &path).send().await.expect("an answer");
    (answer.status().as_u16(), answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn files_come_with_a_job_and_leave_with_its_result_on_every_node_and_over_a_restart() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let client = cluster.client(2);
    // No text, in base64: AP8K.
    let raw = vec![0, 255, 10];
    let script = "cd $UNDERSTUDY_DIR; mkdir -p out; cat in/raw in/raw > out/twice; echo changed > text; ls";
    let more = json!({
        "files": {"in/raw": "AP8K", "text": "YXMgZ2l2ZW4="},
        "outputs": ["out/twice", "text"],
    });
    let ended = client.run(&with(job("sh", script), &more)).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let listed = json!([{"name": "out/twice", "bytes": 6}, {"name": "text", "bytes": 8}]);
    assert_eq!(ended["result"]["files"], listed, "{ended}");
    assert_eq!(
        ended["result"]["output"], "in\nout\ntext\n",
        "its folder holds what was given and made, no more"
    );
    let id = id(&ended).to_string();
    for round in 0..2 {
        for k in cluster.all() {
            assert_eq!(
                bytes(&cluster, k, &id, "out/twice").await,
                (200, [&raw[..], &raw[..]].concat()),
                "{round}"
            );
            assert_eq!(
                bytes(&cluster, k, &id, "text").await,
                (200, b"changed\n".to_vec()),
                "the result's wins"
            );
            assert_eq!(bytes(&cluster, k, &id, "in/raw").await, (200, raw.clone()));
            assert_eq!(bytes(&cluster, k, &id, "other").await.0, 404);
        }
        for k in cluster.all() {
            cluster.kill(k);
        }
        for k in cluster.all() {
            cluster.restart(k);
        }
        cluster.whole().await;
    }
}

#[tokio::test]
async fn a_job_without_a_file_it_named_has_failed_and_a_link_is_no_file() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let cases = [
        ("sh", "echo fine", "missing.txt", "its output file \"missing.txt\" is not there"),
        ("sh", "ln -s /etc/passwd here", "here", "it is a link"),
        ("sh", "head -c 1048577 /dev/zero > big", "big", "over the limit of 1048576 bytes"),
        ("echo", "fine", "out", "the class echo makes no files"),
    ];
    for (class, payload, output, why) in cases {
        let more = json!({"outputs": [output], "max_attempts": 1});
        let ended = client.run(&with(job(class, payload), &more)).await;
        assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("exit")), "{ended}");
        assert!(ended["result"]["error"].as_str().expect("words").contains(why), "{ended}");
        assert_eq!(ended["result"]["files"], json!([]), "{ended}");
    }
    let ended = client.run(&with(job("sh", "exit 3"), &json!({"outputs": ["out"], "max_attempts": 1}))).await;
    assert_eq!(ended["result"]["error"], "exit code 3", "how the program ended is what counts: {ended}");
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_with_their_field() {
    let cluster = Cluster::start(Plan::of(1)).await;
    for (more, field) in [
        (json!({"files": {"../x": ""}}), "files.../x"),
        (json!({"files": {"/etc/x": ""}}), "files./etc/x"),
        (json!({"files": {"x": "?"}}), "files.x"),
        (json!({"outputs": ["a/../../b"]}), "outputs[0]"),
        (json!({"outputs": "a"}), "outputs"),
    ] {
        let (status, body) =
            cluster.post(1, "/api/v1/jobs", &with(job("sh", "true"), &more)).await.expect("an answer");
        assert_eq!((status.as_u16(), &body["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
}
