//! Workers that die, sleep, share a name, are all gone, or wait while their node dies.

use tests::{Cluster, Lab, Plan};

use crate::{echoes, node_says, registered, replies};

#[tokio::test]
async fn a_worker_killed_at_work_has_its_job_done_by_another_of_its_class() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let mut first = lab.worker(&cluster.workers_url(1), "B", "W_1", 60_000);
    registered(&cluster, 1, "W_1", "B").await;
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 3);
    lab.noted("began", "W_1", "C_1-1").await;
    let _second = lab.worker(&cluster.workers_url(2), "B", "W_2", 20);
    first.kill();
    assert_eq!(replies(&client.succeeds().await), echoes("C_1", 3));
    let by: Vec<String> =
        lab.journal().into_iter().filter(|note| note.what == "began").map(|note| note.who).collect();
    assert_eq!(by, ["W_1", "W_2", "W_2", "W_2"], "once more than was finished, because the first one died");
}

#[tokio::test]
async fn with_nobody_else_a_paused_workers_late_answer_counts_and_nothing_runs_twice() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let worker = lab.worker(&cluster.workers_url(1), "B", "W_1", 500);
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 3);
    lab.noted("began", "W_1", "C_1-1").await;
    worker.pause();
    node_says(&cluster, 1, "TOUT EXPIRED W_1 (class \"B\")").await;
    worker.unpause();
    assert_eq!(replies(&client.succeeds().await), echoes("C_1", 3));
    for text in echoes("C_1", 3) {
        assert_eq!(lab.executions(&text), 1, "{text}: nobody else could have done it");
    }
}

#[tokio::test]
async fn a_late_answer_to_what_another_worker_did_goes_to_nobody() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let slow = lab.worker(&cluster.workers_url(1), "B", "W_1", 200);
    registered(&cluster, 1, "W_1", "B").await;
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 1);
    lab.noted("began", "W_1", "C_1-1").await;
    slow.pause();
    let mut quick = lab.worker(&cluster.workers_url(1), "B", "W_2", 20);
    assert_eq!(replies(&client.succeeds().await), ["C_1-1"]);
    lab.noted("ended", "W_2", "C_1-1").await;
    // A client of the same name now has a request open when the late answer comes.
    let mut next = lab.client(&cluster.clients_url(1), "B", "C_1", 5);
    lab.noted("began", "W_2", "C_1-2").await;
    slow.unpause();
    assert_eq!(replies(&next.succeeds().await), echoes("C_1", 5));
    lab.noted("ended", "W_1", "C_1-1").await;
    // The late one is free again and works on, alone now.
    quick.kill();
    let mut last = lab.client(&cluster.clients_url(1), "B", "C_9", 2);
    assert_eq!(replies(&last.succeeds().await), echoes("C_9", 2));
    assert_eq!(lab.executions("C_9-2"), 1);
}

#[tokio::test]
async fn at_most_3_workers_hold_one_job() {
    let window = "[lab]\nanswer_timeout = \"300ms\"\n";
    let cluster = Cluster::start(Plan::of(1).settings(window)).await;
    let lab = Lab::new();
    let mut workers = Vec::new();
    for number in 0..5 {
        let identity = format!("W_{number}");
        workers.push(lab.worker(&cluster.workers_url(1), "B", &identity, 7_000));
        registered(&cluster, 1, &identity, "B").await;
    }
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 1);
    assert_eq!(replies(&client.succeeds().await), ["C_1-1"], "the first answer is the reply");
    let held = lab.executions("C_1-1");
    assert_eq!(held, 3, "seven seconds and a window of 300 ms are enough for three, and five are free");
}

#[tokio::test]
async fn two_workers_of_one_name_are_named_and_every_client_gets_its_own_replies() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let mut first = lab.worker(&cluster.workers_url(1), "B", "Worker1", 1_000);
    registered(&cluster, 1, "Worker1", "B").await;
    let mut clients = vec![("C_1", lab.client(&cluster.clients_url(1), "B", "C_1", 3))];
    lab.noted("began", "Worker1", "C_1-1").await;
    let mut second = lab.worker(&cluster.workers_url(1), "B", "Worker1", 20);
    node_says(&cluster, 1, "two peers call themselves Worker1").await;
    for identity in ["C_2", "C_3"] {
        clients.push((identity, lab.client(&cluster.clients_url(1), "B", identity, 3)));
    }
    for (identity, client) in &mut clients {
        assert_eq!(replies(&client.succeeds().await), echoes(identity, 3), "{identity}");
    }
    assert!(first.runs() && second.runs(), "both are alive");
}

#[tokio::test]
async fn jobs_of_a_class_without_workers_wait_for_the_next_one() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let mut gone = [1, 2].map(|k| lab.worker(&cluster.workers_url(k), "B", &format!("W_{k}"), 20));
    for k in [1, 2] {
        registered(&cluster, k, &format!("W_{k}"), "B").await;
    }
    lab.client(&cluster.clients_url(1), "B", "C_0", 4).succeeds().await;
    for worker in &mut gone {
        worker.kill();
    }
    let mut clients = [1, 2].map(|k| lab.client(&cluster.clients_url(k), "B", &format!("C_{k}"), 3));
    for k in [1, 2] {
        node_says(&cluster, k, &format!("QUEUEING Client C_{k} (class \"B\")")).await;
    }
    let _new = lab.worker(&cluster.workers_url(2), "B", "W_new", 20);
    for (client, k) in clients.iter_mut().zip(1..) {
        let identity = format!("C_{k}");
        assert_eq!(replies(&client.succeeds().await), echoes(&identity, 3));
        for text in echoes(&identity, 3) {
            assert_eq!(lab.executions(&text), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn a_killed_and_restarted_node_uses_its_waiting_worker_again() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let mut worker = lab.worker(&cluster.workers_url(2), "B", "W_1", 20);
    registered(&cluster, 2, "W_1", "B").await;
    lab.client(&cluster.clients_url(1), "B", "C_0", 1).succeeds().await;
    let rounds: [Vec<usize>; 2] = [vec![2], cluster.all().collect()];
    for (round, killed) in rounds.into_iter().enumerate() {
        for k in &killed {
            cluster.kill(*k);
        }
        for k in &killed {
            cluster.restart(*k);
        }
        cluster.whole().await;
        let identity = format!("C_{}", round + 1);
        let mut client = lab.client(&cluster.clients_url(1), "B", &identity, 2);
        assert_eq!(
            replies(&client.succeeds().await),
            echoes(&identity, 2),
            "after nodes {killed:?} were killed"
        );
        for text in echoes(&identity, 2) {
            assert_eq!(lab.executions(&text), 1, "{text}");
        }
    }
    assert!(worker.runs(), "it is the same process");
    let registrations = lab.journal().iter().filter(|note| note.what == "registered").count();
    assert_eq!(registrations, 1, "it said only once in its life what it can do");
}

#[tokio::test]
async fn a_node_killed_while_its_worker_works_leaves_no_request_without_its_reply() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let mut worker = lab.worker(&cluster.workers_url(2), "B", "W_1", 700);
    registered(&cluster, 2, "W_1", "B").await;
    let mut client = lab.client(&cluster.clients_url(1), "B", "C_1", 3);
    lab.noted("began", "W_1", "C_1-1").await;
    cluster.kill(2);
    cluster.restart(2);
    assert_eq!(replies(&client.succeeds().await), echoes("C_1", 3));
    assert!(worker.runs(), "it is the same process");
    // What it was at when its node died is done again: what it brought then was nobody's.
    assert!(lab.executions("C_1-1") <= 2, "{:?}", lab.journal());
    for text in ["C_1-2", "C_1-3"] {
        assert_eq!(lab.executions(text), 1, "{text}");
    }
}
