//! The lab's log: what the broker does, a line each, in a file that lasts.

use tests::ports::Ports;
use tests::{Cluster, Lab, LogStore, Plan, eventually};

use crate::{echoes, replies};

/// Lines of the file with these words; a line is `<Log n, Container i: WORDS>`.
fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.ends_with(&format!(": {words}>"))).count()
}

#[tokio::test]
async fn four_clients_and_two_workers_of_b_fill_an_empty_log_with_the_labs_lines() {
    let (ports, lab) = (Ports::take(), Lab::new());
    let store = LogStore::start(&ports, lab.folder());
    assert!(store.file().is_empty(), "the log begins empty");
    let windows = "[lab]\nanswer_timeout = {default = \"2s\", slow = \"300ms\"}\n";
    let logger = format!("--logger={}", LogStore::logger(&ports));
    let cluster = Cluster::start(Plan::of(1).flag(logger).settings(windows)).await;
    let (clients_url, workers_url) = (cluster.clients_url(1), cluster.workers_url(1));
    let _workers = ["W_1", "W_2"].map(|identity| lab.worker(&workers_url, "B", identity, 100));
    let names = ["C_1", "C_2", "C_3", "C_4"];
    let clients = names.map(|identity| (lab.client(&clients_url, "B", identity, 10), identity));
    for (mut client, identity) in clients {
        assert_eq!(replies(&client.succeeds().await), echoes(identity, 10));
    }
    let _slow = lab.worker(&workers_url, "slow", "W_slow", 1_000);
    lab.client(&clients_url, "slow", "C_slow", 1).succeeds().await;
    let lines = eventually("the last reply is in the file", async || {
        let lines = store.file();
        (count(&lines, "TO Client C_slow (class \"slow\")") > 0).then_some(lines)
    })
    .await;
    assert_eq!(count(&lines, "CONNECTED  (class \"\")"), 1, "{lines:?}");
    for client in names {
        assert_eq!(count(&lines, &format!("FROM Client {client} (class \"B\")")), 10, "{lines:?}");
        assert_eq!(count(&lines, &format!("TO Client {client} (class \"B\")")), 10, "{lines:?}");
    }
    let of_both = |prefix: &str, class: &str| {
        ["W_1", "W_2"].map(|worker| count(&lines, &format!("{prefix} {worker} (class \"{class}\")")))
    };
    assert_eq!(of_both("REGISTERING Worker", "B"), [1, 1], "{lines:?}");
    assert_eq!(of_both("TO Worker", "B").iter().sum::<usize>(), 40, "{lines:?}");
    assert_eq!(of_both("TOUT HANDLER", "").iter().sum::<usize>(), 40, "{lines:?}");
    assert!(of_both("QUEUEING Worker", "B").iter().all(|times| *times > 0), "{lines:?}");
    assert!(of_both("UNQUEUEING Worker", "B").iter().sum::<usize>() > 0, "{lines:?}");
    let queued = |client: &&str| count(&lines, &format!("QUEUEING Client {client} (class \"B\")")) > 0;
    assert!(names.iter().any(queued), "four clients, two workers: one waited: {lines:?}");
    assert_eq!(count(&lines, "TOUT EXPIRED W_slow (class \"slow\")"), 1, "{lines:?}");
    assert!(["W_1", "W_2"].iter().all(|w| count(&lines, &format!("TOUT EXPIRED {w} (class \"B\")")) == 0));
    // The logger goes and comes again: its file keeps what it had, and goes on.
    drop(store);
    let store = LogStore::start(&ports, lab.folder());
    lab.client(&clients_url, "B", "C_later", 1).succeeds().await;
    let later = eventually("the file goes on", async || {
        let later = store.file();
        (count(&later, "TO Client C_later (class \"B\")") > 0).then_some(later)
    })
    .await;
    assert_eq!(later[..lines.len()], lines[..], "what was written stays as it was");
}

#[tokio::test]
async fn a_line_that_anybody_pushes_is_kept_in_order_and_over_restarts() {
    let (ports, lab) = (Ports::take(), Lab::new());
    let url = LogStore::logger(&ports);
    let mut kept = Vec::new();
    for round in 0..2 {
        let store = LogStore::start(&ports, lab.folder());
        let said: Vec<String> = (0..20).map(|n| format!("component {round}: line {n}")).collect();
        let messages: Vec<String> = said.iter().map(|line| format!("[\"{line}\"]")).collect();
        let words: Vec<&str> =
            ["push", &url].into_iter().chain(messages.iter().map(String::as_str)).collect();
        lab.helper("speak.py", &words).succeeds().await;
        kept.extend(said);
        let lines = eventually("every line is in the file", async || {
            let lines = store.file();
            (lines.len() >= kept.len()).then_some(lines)
        })
        .await;
        let ends = lines.iter().zip(&kept).all(|(line, said)| line.ends_with(&format!(": {said}>")));
        assert!(ends && lines.len() == kept.len(), "{lines:?}");
    }
}
