//! The lab's two "what would happen" questions: two brokers and one logger; one broker and two loggers.

use std::process::{Child, Stdio};

use tests::ports::Ports;
use tests::{Cluster, Lab, LogStore, Plan, eventually, understudy};

use crate::{echoes, replies};

/// Whether the store has both lines of each of these clients.
fn has_all(store: &LogStore, clients: &[&str]) -> bool {
    let text = store.file().join("\n");
    let said = |words: String| text.contains(&words);
    clients.iter().all(|client| {
        said(format!("FROM Client {client} (class \"B\")"))
            && said(format!("TO Client {client} (class \"B\")"))
    })
}

/// `understudy up`; dropped: killed, and its nodes end with it.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn understudy_up_is_a_broker_for_the_labs_programs() {
    let (ports, lab) = (Ports::take(), Lab::new());
    let first = ports.base();
    let log = std::fs::File::create(lab.folder().join("up.log")).expect("a log file");
    let child = understudy()
        .args(["up", "--port", &first.to_string(), "--dir"])
        .arg(lab.folder().join("up"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn();
    let mut up = Up(child.expect("the program starts"));
    // Under another first port than the usual one, the master's links lie in the third ten behind it.
    let [clients, workers] = [28, 29].map(|place| format!("tcp://127.0.0.1:{}", first + place));
    let _worker = lab.example("worker.py", &[&workers, "--work-ms", "5"]);
    let mut client = lab.example("client.py", &[&clients]);
    assert_eq!(client.succeeds().await, vec!["resp: resp"; 10]);
    assert!(up.0.try_wait().expect("a child can be asked").is_none(), "it still runs");
}

#[tokio::test]
async fn clients_of_two_brokers_share_one_worker_and_one_log() {
    let (ports, lab) = (Ports::take(), Lab::new());
    let store = LogStore::start(&ports, lab.folder());
    let cluster = Cluster::start(Plan::of(2).flag(format!("--logger={}", LogStore::logger(&ports)))).await;
    let _worker = lab.worker(&cluster.workers_url(2), "B", "W_1", 20);
    let names = ["C_1", "C_2"];
    let clients = [1, 2].map(|k| lab.client(&cluster.clients_url(k), "B", names[k - 1], 10));
    for (mut client, identity) in clients.into_iter().zip(names) {
        assert_eq!(replies(&client.succeeds().await), echoes(identity, 10));
    }
    for text in names.iter().flat_map(|name| echoes(name, 10)) {
        assert_eq!(lab.executions(&text), 1, "{text}");
    }
    eventually("the log has both brokers' lines", async || has_all(&store, &names).then_some(())).await;
}

#[tokio::test]
async fn of_two_loggers_the_one_a_broker_was_given_has_everything_and_the_other_nothing() {
    let lab = Lab::new();
    let (one, other) = (Ports::take(), Ports::take());
    let folders = ["one", "other"].map(|name| lab.folder().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).expect("a folder");
    }
    let store = LogStore::start(&one, &folders[0]);
    let idle = LogStore::start(&other, &folders[1]);
    let cluster = Cluster::start(Plan::of(1).flag(format!("--logger={}", LogStore::logger(&one)))).await;
    let _worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 20);
    for identity in ["C_1", "C_2"] {
        lab.client(&cluster.clients_url(1), "B", identity, 5).succeeds().await;
    }
    eventually("the log has every line", async || has_all(&store, &["C_1", "C_2"]).then_some(())).await;
    eventually("the other one answers", async || idle.lines().await).await;
    assert!(!idle.file().join("\n").contains("Client"), "{:?}", idle.file());
}

#[tokio::test]
async fn a_broker_serves_on_while_its_logger_is_away() {
    let (ports, lab) = (Ports::take(), Lab::new());
    let cluster = Cluster::start(Plan::of(1).flag(format!("--logger={}", LogStore::logger(&ports)))).await;
    let _worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 5);
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 10);
    assert_eq!(replies(&client.succeeds().await), echoes("C_1", 10), "nobody listens to the lines");
    // Whoever comes later is told what was missed.
    let store = LogStore::start(&ports, lab.folder());
    eventually("the lines have come", async || has_all(&store, &["C_1"]).then_some(())).await;
}
