//! The examples themselves: they speak the lab's frames to the lab's own broker, and the other patterns among each other.

use std::fs;
use std::process::Command;

use tests::Lab;
use tests::lab::Program;
use tests::source::{files, root};

use crate::{echoes, replies};

/// The lab's broker with the addresses of its two sides: clients, workers.
async fn seed_broker(lab: &Lab, more: &[&str]) -> (Program, String, String) {
    let mut broker = lab.helper("seed_broker.py", &[&["0", "0"], more].concat());
    let clients = broker.says("clients ").await;
    let workers = broker.says("workers ").await;
    (broker, clients, workers)
}

#[tokio::test]
async fn client_and_worker_speak_the_first_brokers_frames() {
    let lab = Lab::new();
    let (_broker, clients, workers) = seed_broker(&lab, &["--basic"]).await;
    let _worker = lab.example("worker.py", &[&workers, "--identity", "Worker1", "--work-ms", "5"]);
    let mut client = lab.example("client.py", &[&clients]);
    let lines = client.succeeds().await;
    assert_eq!(lines, vec!["resp: resp"; 10], "ten requests are the lab's number");
}

#[tokio::test]
async fn client_and_worker_speak_the_class_brokers_frames_and_only_their_own_replies_come() {
    let lab = Lab::new();
    let (broker, clients, workers) = seed_broker(&lab, &[]).await;
    let _done = lab.example("worker.py", &[&workers, "A", "--identity", "W_A", "--work-ms", "5"]);
    let _echo = lab.worker(&workers, "B", "W_B", 5);
    let mut of_a = lab.example("client.py", &[&clients, "A", "--identity", "C_A"]);
    let mut of_b = lab.client(&clients, "B", "C_B", 10);
    assert_eq!(replies(&of_a.succeeds().await), vec!["Done!"; 10]);
    assert_eq!(replies(&of_b.succeeds().await), echoes("C_B", 10));
    let lines = broker.lines();
    for said in [
        "CONNECTED  (class \"\")",
        "REGISTERING Worker W_B (class \"B\")",
        "QUEUEING Worker W_B (class \"B\")",
        "FROM Client C_B (class \"B\")",
        "TO Worker W_B (class \"B\")",
        "TOUT HANDLER W_B (class \"\")",
        "TO Client C_B (class \"B\")",
    ] {
        assert!(lines.iter().any(|line| line == said), "{said} in {lines:?}");
    }
}

#[tokio::test]
async fn worcli_joins_two_brokers_of_the_lab_while_it_is_quicker_than_the_window() {
    let lab = Lab::new();
    let (_first, clients, source) = seed_broker(&lab, &[]).await;
    let (_second, target, workers) = seed_broker(&lab, &[]).await;
    let _worker = lab.worker(&workers, "D", "W_D", 10);
    let _worcli = lab.example("worcli.py", &[&source, &target, "200", "D"]);
    let mut client = lab.client(&clients, "D", "C_D", 3);
    assert_eq!(replies(&client.succeeds().await), echoes("C_D", 3));
}

#[tokio::test]
async fn a_late_answer_ends_the_labs_own_broker() {
    let lab = Lab::new();
    let (mut broker, clients, workers) = seed_broker(&lab, &[]).await;
    let _slow = lab.worker(&workers, "D", "W_slow", 2_500);
    let _client = lab.client(&clients, "D", "C_D", 1);
    let said = broker.ends().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("TypeError"), "{said:?}");
}

#[tokio::test]
async fn the_logger_keeps_what_was_there_and_adds_a_line_a_message() {
    let lab = Lab::new();
    let file = lab.folder().join("logs");
    fs::write(&file, "from an earlier run\n").expect("a file");
    let path = file.to_string_lossy().into_owned();
    let mut logger = lab.example("logger.py", &["0", &path, "--host", "127.0.0.1"]);
    let url = logger.says("listening on ").await;
    let (_broker, clients, workers) = seed_broker(&lab, &[&url]).await;
    let _worker = lab.worker(&workers, "B", "W_B", 5);
    lab.client(&clients, "B", "C_B", 2).succeeds().await;
    tests::eventually("the logger has every line", async || {
        let text = fs::read_to_string(&file).ok()?;
        (text.matches("TO Client C_B (class \"B\")\n").count() == 2).then_some(())
    })
    .await;
    logger.kill();
    let text = fs::read_to_string(&file).expect("the file");
    assert!(text.starts_with("from an earlier run\nCONNECTED  (class \"\")\n"), "{text}");
}

#[tokio::test]
async fn a_ventilator_two_workers_and_a_sink_finish_100_tasks() {
    let lab = Lab::new();
    let mut sink = lab.example("sink.py", &["tcp://127.0.0.1:*"]);
    let results = sink.says("listening on ").await;
    let seed = ["--seed", "7", "--most-ms", "20"];
    let words = ["tcp://127.0.0.1:*", &results, "--wait", "1"];
    let mut ventilator = lab.example("ventilator.py", &[&words[..], &seed].concat());
    let tasks = ventilator.says("listening on ").await;
    let _workers = [0, 1].map(|_| lab.example("task_worker.py", &[&tasks, &results]));
    let cost = ventilator.says("Total expected cost: ").await;
    let lines = sink.succeeds().await;
    let dots = lines.iter().find(|line| line.starts_with(':')).expect("the progress");
    assert_eq!(*dots, ":.........".repeat(10));
    let elapsed = lines.iter().find_map(|line| line.strip_prefix("Total elapsed time: "));
    let ms = |text: &str| text.trim_end_matches(" msec").parse::<u64>().expect("milliseconds");
    println!("expected {cost}, elapsed {elapsed:?}");
    assert!(ms(&cost) > 100, "{cost}");
    assert!(ms(elapsed.expect("the time it took")) > 0);
}

#[tokio::test]
async fn a_pair_takes_one_peer_and_refuses_the_second() {
    let lab = Lab::new();
    // A port that was free a moment ago: PAIR in the example binds what it is told.
    let ports = tests::ports::Ports::take();
    let url = format!("tcp://127.0.0.1:{}", ports.http(1));
    let mut listening = lab.example("pair.py", &[&url, "hello", "again", "--bind"]);
    let mut first = lab.example("pair.py", &[&url, "one", "two"]);
    assert_eq!(first.succeeds().await, ["hello", "again"]);
    assert_eq!(listening.succeeds().await, ["one", "two"]);
    let mut listening = lab.example("pair.py", &[&url, "held", "--bind", "--stay"]);
    let mut one = lab.example("pair.py", &[&url, "a", "b", "c", "--stay"]);
    one.says("held").await;
    listening.says("c").await;
    let mut second = lab.example("pair.py", &[&url, "d", "--timeout", "1"]);
    let said = second.ends().await;
    assert_eq!((said.code, said.lines.len()), (Some(1), 0), "{said:?}");
    assert_eq!(listening.lines(), ["a", "b", "c"], "nothing of the second came through");
    assert!(one.runs() && listening.runs(), "the first two are still a pair");
}

#[tokio::test]
async fn a_client_without_a_reply_and_a_client_of_an_error_end_with_codes_of_their_own() {
    let lab = Lab::new();
    let (_broker, clients, workers) = seed_broker(&lab, &[]).await;
    let mut nobody = lab.example("client.py", &[&clients, "nobody", "--timeout", "0.2", "--tries", "2"]);
    let said = nobody.ends().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no reply to request 1"), "{said:?}");
    let _worker = lab.example("worker.py", &[&workers, "E", "--reply", "ERROR exit", "--work-ms", "1"]);
    let mut unlucky = lab.example("client.py", &[&clients, "E", "--requests", "2", "--identity", "C_E"]);
    let said = unlucky.ends().await;
    assert_eq!((said.code, said.lines.len()), (Some(3), 2), "{said:?}");
}

#[test]
fn the_examples_in_javascript_are_javascript() {
    let scripts = files(&root().join("examples/lab"), &[".js"]);
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in scripts {
        let told = Command::new("node").arg("--check").arg(&script).output();
        let told = told.expect("node runs: scripts/test installs it");
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "node --check {}: {said}", script.display());
    }
}
