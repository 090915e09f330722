//! The sample of a queue and its workers, built and run by its own scripts and from its compose file.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::client::{answer, http};
use tests::containers::docker;
use tests::eventually;
use tests::queue_components::{Components, control, publish};
use tests::queue_compose::QueueCompose;

/// What `amqp-get` takes from a queue; none when nothing waits there.
fn taken(url: &str, queue: &str) -> Option<String> {
    let told = Command::new("amqp-get").args(["-u", url, "-q", queue]).output().expect("amqp-get runs");
    told.status.success().then(|| String::from_utf8_lossy(&told.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_local_queue_is_the_input_of_a_script_that_was_laid_into_the_workers_folder() {
    let Some(mut sample) = Components::laid_out() else { return };
    // A customised action, in no file of the example.
    sample.script(
        "shout",
        "#!/bin/sh\nset -e\ntext=\"$(cat)\"\n[ \"$text\" != bad ]\necho \"$text\" | tr a-z A-Z >/tmp/shouted\n",
    );
    sample.build_worker();
    sample.run_queue().await;
    sample.run_worker("plain", "myqueue", &[]).await;
    sample.run_worker("loud", "other", &["-s", "/usr/local/bin/shout"]).await;
    sample.publish("myqueue", "This is a test message");
    sample.publish("other", "quiet");
    sample.publish("other", "bad");
    for (line, text) in [("cat /tmp/myaction.*", "This is a test message"), ("cat /tmp/shouted", "QUIET\n")] {
        let seen = async || (sample.everywhere(line) == text).then_some(());
        eventually(&format!("{line} prints {text:?}"), seen).await;
    }
    let failed = eventually("what failed is kept", async || taken(&sample.url(), "other.failed")).await;
    assert_eq!(failed, "bad");
    // Told to end, each does; what comes afterwards waits for the next worker.
    sample.end("plain");
    sample.end("loud");
    sample.publish("other", "later");
    sample.run_worker("again", "other", &["-s", "/usr/local/bin/shout"]).await;
    let seen = async || (sample.everywhere("cat /tmp/shouted") == "LATER\n").then_some(());
    eventually("the next worker takes what waited", seen).await;
    sample.end("again");
    sample.end("queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_that_is_posted_to_marathon_finds_its_queue_by_marathon() {
    let Some(mut sample) = Components::laid_out() else { return };
    sample.build_worker();
    sample.run_queue().await;
    // The least of a Marathon, on the same network: a file that answers where the application amqp is.
    let tasks = sample.folder().join("pages/v2/apps/amqp");
    fs::create_dir_all(&tasks).expect("a folder");
    fs::write(tasks.join("tasks"), "{\"tasks\": [{\"id\": \"1\", \"host\": \"amqp\", \"ports\": [5672]}]}")
        .expect("a file");
    let (tag, pages) =
        (sample.worker_tag(), format!("{}:/pages:ro", sample.folder().join("pages").display()));
    let started = ["run", "-d", "--rm", "--init", "--network", sample.network()];
    let serves = ["python3", "-m", "http.server", "--directory", "/pages", "8080"];
    docker(&[&started[..], &["--network-alias", "marathon", "-v", &pages, &tag], &serves].concat());

    let words = ["-n", "-m", "marathon:8080", "-t", &tag, "-q", "found"];
    let told = control(&sample.folder(), "worker/deploy.sh", &words);
    let app: Value = serde_json::from_slice(&told.stdout).expect("JSON is printed");
    let image = app["container"]["docker"]["image"].as_str().expect("an image");
    let command = app["cmd"].as_str().expect("a command");
    // As Marathon's executor does it.
    let worker = docker(&[&started[..], &[image, "/bin/sh", "-c", command]].concat());
    eventually("it takes messages", async || {
        let told = Command::new("docker").args(["logs", worker.trim()]).output().expect("docker runs");
        String::from_utf8_lossy(&told.stderr).contains("takes messages from found").then_some(())
    })
    .await;
    let asks = ["marathon_app_hostport", "--host", "marathon:8080", "--app", "amqp"];
    let found = docker(&[&["exec", worker.trim()], &asks[..]].concat());
    assert_eq!(found, "amqp:5672\n", "the script that is there for people says the same");
    sample.publish("found", "by Marathon");
    let seen = async || (sample.everywhere("cat /tmp/myaction.*") == "by Marathon").then_some(());
    eventually("the message had its effect", seen).await;
}

/// How many jobs of the class have succeeded.
async fn succeeded(sample: &QueueCompose) -> Option<usize> {
    let path = "/api/v1/jobs?class=myaction&state=succeeded&limit=200";
    let (status, jobs) = answer(http().get(format!("{}{path}", sample.node_url()))).await.ok()?;
    status.is_success().then(|| jobs["items"].as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_samples_compose_file_does_what_is_published_though_a_worker_is_killed() {
    let Some(sample) = QueueCompose::laid_out() else { return };
    sample.compose(&["config", "-q"]);
    sample.compose(&["up", "-d", "--no-build", "--scale", "worker=2"]);
    eventually("the bridge takes messages", async || {
        sample
            .compose(&["logs", "--no-color", "bridge"])
            .contains("takes messages from myqueue")
            .then_some(())
    })
    .await;
    for n in 0..20 {
        publish(&sample.url(), "myqueue", &format!("first {n}."));
    }
    eventually("20 have been done", async || (succeeded(&sample).await? == 20).then_some(())).await;
    let workers = sample.ids("worker");
    assert_eq!(workers.len(), 2);
    let texts = |id: &str| docker(&["exec", id, "sh", "-c", "cat /tmp/myaction.* 2>/dev/null || true"]);
    let written: Vec<String> = workers.iter().map(|id| texts(id)).collect();
    assert_eq!(written.concat().matches("first ").count(), 20, "{written:?}");
    assert!(written.iter().all(|text| !text.is_empty()), "both workers had some: {written:?}");
    docker(&["kill", &workers[0]]);
    for n in 0..20 {
        publish(&sample.url(), "myqueue", &format!("second {n}."));
    }
    eventually("all have been done", async || (succeeded(&sample).await? == 40).then_some(())).await;
    assert_eq!(texts(&workers[1]).matches("second ").count(), 20);
}
