//! The master dies, and the lab's programs at other nodes do not notice.

use tests::{Cluster, Lab, Plan};

#[tokio::test]
async fn a_hundred_open_requests_at_another_node_are_all_answered_once_when_the_master_is_killed() {
    let mut cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let leader = cluster.leader().await;
    let others: Vec<usize> = cluster.all().filter(|k| *k != leader).collect();
    let mut workers = Vec::new();
    for number in 0..6 {
        let url = cluster.workers_url(others[usize::from(number % 3 == 2)]);
        workers.push(lab.worker(&url, "B", &format!("W_{number}"), 100));
    }
    let mut crowd = lab.helper("crowd.py", &[&cluster.clients_url(others[0]), "B", "--clients", "100"]);
    crowd.says("answered 20").await;
    cluster.kill(leader);
    let lines = crowd.succeeds().await;
    assert_eq!(lines.iter().filter(|line| line.starts_with("answered ")).count(), 100, "{lines:?}");
    let mut more = 0;
    for number in 0..100 {
        let times = lab.executions(&format!("crowd-{number}-0"));
        assert!(times >= 1, "request {number} was answered and never done");
        more += times - 1;
    }
    println!("100 requests answered once each over the master's death; {more} executions more than requests");
}
