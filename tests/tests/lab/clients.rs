//! Clients: one after another, many at once, gone too early, not allowed, not understood.

use tests::client::job;
use tests::{Cluster, Lab, Plan};

use crate::{echoes, node_says, replies};

#[tokio::test]
async fn ten_requests_one_after_another_get_ten_replies_at_every_node() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let _worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 5);
    for k in cluster.all() {
        let identity = format!("C_{k}");
        let mut client = lab.client(&cluster.clients_url(k), "B", &identity, 10);
        assert_eq!(replies(&client.succeeds().await), echoes(&identity, 10), "at node {k}");
        // A class every node has needs no worker of the lab.
        let words = ["echo", "--requests", "2", "--message", "native {}", "--identity", &identity];
        let url = cluster.clients_url(k);
        let mut native = lab.example("client.py", &[&[url.as_str()], &words[..]].concat());
        assert_eq!(replies(&native.succeeds().await), ["native 1", "native 2"], "at node {k}");
    }
    let ended = cluster.client(2).run(&job("B", "over HTTP")).await;
    assert_eq!(ended["result"]["output"], "over HTTP", "a lab worker does a job from elsewhere: {ended}");
}

#[tokio::test]
async fn a_dealers_ten_requests_at_once_come_back_once_each_with_their_own_tags() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let _workers = [1, 2].map(|k| lab.worker(&cluster.workers_url(k), "B", &format!("W_{k}"), 50));
    let mut dealer = lab.example("dealer.py", &[&cluster.clients_url(1), "B", "--requests", "10"]);
    let mut lines = dealer.succeeds().await;
    lines.sort();
    let mut expected: Vec<String> = (1..=10).map(|n| format!("tag-{n}: request {n}: request {n}")).collect();
    expected.sort();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_client_that_goes_before_its_reply_holds_nobody_up_and_nobody_gets_its_reply() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let _worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 500);
    let mut gone = lab.client(&cluster.clients_url(1), "B", "C_1", 1);
    lab.noted("began", "W_1", "C_1-1").await;
    gone.kill();
    // Of the same name, and with a request open when the reply to the other one comes.
    let url = cluster.clients_url(1);
    let words = ["B", "--identity", "C_1", "--requests", "2", "--message", "the second's {}"];
    let mut same_name = lab.example("client.py", &[&[url.as_str()], &words[..]].concat());
    let mut other = lab.client(&cluster.clients_url(1), "B", "C_2", 2);
    assert_eq!(replies(&same_name.succeeds().await), ["the second's 1", "the second's 2"]);
    assert_eq!(replies(&other.succeeds().await), echoes("C_2", 2));
    lab.noted("ended", "W_1", "C_1-1").await;
}

#[tokio::test]
async fn programs_are_forbidden_to_clients_of_the_lab_unless_they_are_allowed() {
    let lab = Lab::new();
    let cluster = Cluster::start(Plan::of(1)).await;
    let ask = |cluster: &Cluster, class: &str, text: &str| {
        let words = ["--requests", "1", "--message", text];
        lab.example("client.py", &[&[cluster.clients_url(1).as_str(), class], &words[..]].concat())
    };
    for class in ["sh", "python"] {
        let said = ask(&cluster, class, "echo 1").ends().await;
        assert_eq!(
            (said.code, said.lines),
            (Some(3), vec!["resp: ERROR forbidden class".to_string()]),
            "{class}"
        );
    }
    assert_eq!(cluster.client(1).run(&job("sh", "echo 1")).await["state"], "succeeded", "HTTP may");
    drop(cluster);
    let cluster = Cluster::start(Plan::of(1).settings("[lab]\nallow = [\"sh\"]\n")).await;
    assert_eq!(replies(&ask(&cluster, "sh", "printf allowed").succeeds().await), ["allowed"]);
    let failed = ask(&cluster, "sh", "exit 3").ends().await;
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(failed.lines[0].starts_with("resp: ERROR exit"), "a failed job has a reply, too: {failed:?}");
    assert_eq!(ask(&cluster, "python", "1").ends().await.lines, ["resp: ERROR forbidden class"]);
}

#[tokio::test]
async fn a_request_with_a_frame_too_many_is_answered_and_one_without_an_envelope_is_let_go() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let url = cluster.clients_url(1);
    let mut speaker =
        lab.helper("speak.py", &["req", &url, "[\"text\", \"B\", \"more\"]", "--identity", "C_1"]);
    assert_eq!(speaker.succeeds().await, ["[\"ERROR frames\"]"]);
    // No empty frame: nothing says where a reply would have to go. The next message is served as ever.
    let words =
        ["dealer", &url, "[\"no\", \"envelope\"]", "[\"tag\", \"\", \"hello\", \"echo\"]", "--replies", "1"];
    assert_eq!(lab.helper("speak.py", &words).succeeds().await, ["[\"tag\", \"\", \"hello\"]"]);
    node_says(&cluster, 1, "CONNECTED  (class \"\")").await;
    node_says(&cluster, 1, "dropped frames of client").await;
    let metrics = tests::client::http().get(format!("{}/metrics", cluster.node(1).url())).send().await;
    let metrics = metrics.expect("the node answers").text().await.expect("text");
    assert!(metrics.lines().any(|line| line == "understudy_lab_unreadable 1"), "{metrics}");
}

#[tokio::test]
async fn a_subscriber_hears_of_a_nodes_state_at_once_and_of_every_job() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let words = ["--topic", "info/state/", "--topic", "job/echo"];
    let url = cluster.news_url(2);
    let mut subscriber = lab.example("subscriber.py", &[&[url.as_str()], &words[..]].concat());
    // Told because it came: so it is connected, and hears whatever follows.
    subscriber.says("info/state/").await;
    cluster.client(1).run(&job("sleep", "10ms")).await;
    let ended = cluster.client(1).run(&job("echo", "news")).await;
    let id = tests::client::id(&ended).to_string();
    tests::eventually("the job's end is published", async || {
        let lines = subscriber.lines();
        let about = |line: &&String| line.starts_with("job/echo ") && line.contains(&id);
        lines.iter().filter(about).any(|line| line.contains("succeeded")).then_some(())
    })
    .await;
    assert!(subscriber.lines().iter().all(|line| !line.starts_with("job/sleep")), "only what it asked for");
}

#[tokio::test]
async fn a_client_whose_node_died_asks_again_and_is_answered() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let _worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 500);
    let url = cluster.clients_url(2);
    let words = ["B", "--identity", "C_1", "--requests", "2", "--message", "C_1-{}", "--timeout", "5"];
    let mut client = lab.example("client.py", &[&[url.as_str()], &words[..], &["--tries", "9"]].concat());
    lab.noted("began", "W_1", "C_1-1").await;
    cluster.kill(2);
    cluster.restart(2);
    assert_eq!(replies(&client.succeeds().await), echoes("C_1", 2));
    // The first one's job is done and recorded; asked again, it is another job.
    let done = async || {
        let list = cluster.get(1, "/api/v1/jobs?class=B").await?.1["items"].as_array()?.clone();
        list.iter().all(|job| job["state"] == "succeeded").then_some(list.len())
    };
    assert!(tests::eventually("every job has ended", done).await >= 3);
}
