//! Marathon in the sample of `examples/queue`, and in the bridge: what is posted to it, and where it says the queue is.

use std::path::Path;
use std::process::Output;

use lapin::BasicProperties;
use serde_json::{Value, json};
use tests::queue_components::{components, control};
use tests::rabbit::{self, Rabbit};
use tests::{Bridge, Marathon};
use tokio::task::spawn_blocking;

use crate::{cluster, has_effects};

/// A control script; on a thread of its own, because the pretend Marathon that it speaks with lives in this process.
async fn run(script: &'static str, words: &[&str]) -> Output {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let ran = spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        control(&components(), script, &words)
    });
    ran.await.expect("no panic")
}

fn printed(told: &Output) -> String {
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).into_owned()
}

fn complaint(told: &Output) -> String {
    assert!(!told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    String::from_utf8_lossy(&told.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn deploying_posts_queue_and_workers_to_marathon_and_their_next_versions() {
    let marathon = Marathon::start().await;
    let at = marathon.address();
    let worker = ["-m", &at, "-t", "registry:5000/worker:v1", "-q", "myqueue"];
    let dry = printed(&run("worker/deploy.sh", &[&["-n"], &worker[..]].concat()).await);
    assert_eq!(marathon.told(), [], "a dry run posts nothing");
    printed(&run("queue/deploy.sh", &["-m", &at, "-t", "amqp:v1"]).await);
    printed(&run("worker/deploy.sh", &worker).await);
    printed(&run("worker/deploy.sh", &["-m", &at, "-t", "worker:v2", "-q", "other"]).await);
    let told = marathon.told();
    let paths: Vec<_> = told.iter().map(|told| (told.method.as_str(), told.path.as_str())).collect();
    assert_eq!(paths, [("POST", "/v2/apps"), ("POST", "/v2/apps"), ("PUT", "/v2/apps/worker")]);
    let docker = |n: usize| &told[n].body["container"]["docker"];
    assert_eq!((&told[0].body["id"], &docker(0)["image"]), (&json!("amqp"), &json!("amqp:v1")));
    let port = &docker(0)["portMappings"][0];
    assert_eq!((&port["containerPort"], &port["hostPort"]), (&json!(5672), &json!(0)), "any port of a host");
    let command = |queue: &str| {
        format!("/usr/local/bin/cluster_worker.sh -m {at} -a amqp -q {queue} /usr/local/bin/myaction")
    };
    assert_eq!(
        (&told[1].body["cmd"], &docker(1)["image"]),
        (&json!(command("myqueue")), &json!("registry:5000/worker:v1"))
    );
    assert_eq!((&told[2].body["cmd"], &docker(2)["image"]), (&json!(command("other")), &json!("worker:v2")));
    assert_eq!(
        serde_json::from_str::<Value>(&dry).expect("JSON"),
        told[1].body,
        "a dry run prints what is posted"
    );
    // What would mean something in a command line goes no further.
    let told = complaint(&run("worker/deploy.sh", &["-m", &at, "-t", "worker:v1", "-q", "a; rm -r /"]).await);
    assert!(told.contains("-q a; rm -r /"), "{told}");
    marathon.breaks();
    let told = complaint(&run("queue/deploy.sh", &["-m", &at, "-t", "amqp:v1"]).await);
    assert!(told.contains("no leader") && told.contains("503"), "{told}");
    assert!(
        complaint(&run("queue/deploy.sh", &["-t", "amqp:v1"]).await).contains("./deploy.sh -m"),
        "its use"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_for_people_prints_the_first_healthy_task_or_why_there_is_none() {
    let marathon = Marathon::start().await;
    let at = marathon.address();
    let script = "worker/scripts/marathon_app_hostport";
    marathon.runs("amqp", &[("h1", 31_001, false), ("h2", 31_002, true), ("h3", 31_003, true)]);
    assert_eq!(printed(&run(script, &["--host", &at, "--app", "amqp"]).await), "h2:31002\n");
    let told = complaint(&run(script, &["--host", &at, "--app", "other"]).await);
    assert!(told.contains("404") && told.contains("other"), "{told}");
    marathon.runs("amqp", &[("h1", 31_001, false)]);
    let told = complaint(&run(script, &["--host", &at, "--app", "amqp"]).await);
    assert!(told.contains("no healthy task of amqp"), "{told}");
    marathon.breaks();
    assert!(complaint(&run(script, &["--host", &at, "--app", "amqp"]).await).contains("503"));
}

/// The port of a server.
fn port(rabbit: &Rabbit) -> u16 {
    let url = rabbit.url();
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next());
    port.expect("a port").parse().expect("a number")
}

async fn publish(rabbit: &Rabbit, line: &str) {
    let (_connection, channel) = rabbit.channel().await;
    rabbit::publish(&channel, "work", line.as_bytes(), BasicProperties::default()).await;
}

fn happened(folder: &Path) -> Vec<String> {
    let mut lines = crate::effects(folder);
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_finds_its_queue_by_marathon_or_a_command_and_again_when_it_has_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), 1).await;
    let marathon = Marathon::start().await;
    let url = cluster.node(1).url();
    // Nobody is at that address: user and path are taken from it, host and port from Marathon.
    let least = ["amqp", "--url", "amqp://guest:guest@127.0.0.1:1/%2f", "--queue", "work", "--server", &url];
    let least = [&least[..], &["--class", "myaction"]].concat();
    let app = format!("marathon://{}/amqp", marathon.address());
    let asks = Bridge::start(cluster.folder(), "asks", &[&least[..], &["--discover", &app]].concat());
    asks.says("404").await;
    let mut first = Rabbit::start().await;
    marathon.runs("amqp", &[("127.0.0.1", 1, false), ("127.0.0.1", port(&first), true)]);
    asks.says("takes messages from work").await;
    publish(&first, "at the first place").await;
    has_effects(folder.path(), 1).await;
    first.kill();
    let second = Rabbit::start().await;
    marathon.runs("amqp", &[("127.0.0.1", port(&second), true)]);
    tests::eventually("it has found the second place", async || {
        (asks.said().matches("takes messages from work").count() == 2).then_some(())
    })
    .await;
    publish(&second, "at the second place").await;
    has_effects(folder.path(), 2).await;
    assert!(asks.end().status.success());

    let script = components().join("worker/scripts/marathon_app_hostport");
    let command = format!("{} --host {} --app amqp", script.display(), marathon.address());
    let runs = Bridge::start(cluster.folder(), "runs", &[&least[..], &["--discover-cmd", &command]].concat());
    runs.says("takes messages from work").await;
    publish(&second, "by a command").await;
    has_effects(folder.path(), 3).await;
    assert!(runs.end().status.success());
    assert_eq!(happened(folder.path()), ["at the first place", "at the second place", "by a command"]);
}
