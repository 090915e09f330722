//! Two clusters, or a cluster and the lab's own broker, joined by worcli.

use tests::{Cluster, Lab, Plan};

use crate::{node_says, registered};

#[tokio::test]
async fn a_chain_of_two_clusters_gives_one_reply_and_one_execution_at_each_of_the_labs_delays() {
    let near = Cluster::start(Plan::of(1)).await;
    let far = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let _worker = lab.worker(&far.workers_url(1), "D", "W_D", 1_000);
    for delay in ["200", "1200", "2200"] {
        let identity = format!("WC_{delay}");
        let words = [&near.workers_url(1), &far.clients_url(1), delay, "D", "--identity", &identity];
        let mut worcli = lab.example("worcli.py", &words);
        registered(&near, 1, &identity, "D").await;
        let message = format!("after {delay} ms, number {{}}");
        // A DEALER, because a REQ socket would swallow a second reply; it ends with an error when one comes.
        let words = [&near.clients_url(1), "D", "--requests", "2", "--message", &message];
        let mut client = lab.example("dealer.py", &words);
        let mut lines = client.succeeds().await;
        lines.sort();
        let text = |number: usize| message.replace("{}", &number.to_string());
        let expected = [1, 2].map(|n| format!("tag-{n}: {}: {}", text(n), text(n)));
        assert_eq!(lines, expected, "{delay} ms");
        for number in [1, 2] {
            assert_eq!(
                lab.executions(&text(number)),
                1,
                "{delay} ms: no other worker of its class was there"
            );
        }
        if delay != "200" {
            // Work of a second and such a delay are longer than the window; the answer came late and counted.
            node_says(&near, 1, &format!("TOUT EXPIRED {identity} (class \"D\")")).await;
        }
        assert!(worcli.runs(), "{delay} ms");
        worcli.kill();
    }
    assert!(near.status(1).await.is_some() && far.status(1).await.is_some(), "both clusters live");
}

#[tokio::test]
async fn worcli_joins_a_cluster_and_the_labs_own_broker_in_both_directions() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let mut broker = lab.helper("seed_broker.py", &["0", "0"]);
    let (clients, workers) = (broker.says("clients ").await, broker.says("workers ").await);
    let _at_the_broker = lab.worker(&workers, "S", "W_S", 100);
    let _at_the_cluster = lab.worker(&cluster.workers_url(1), "U", "W_U", 100);
    let to_broker = [&cluster.workers_url(1), &clients, "100", "S"];
    let to_cluster = [&workers, &cluster.clients_url(1), "100", "U"];
    let _worclis = [to_broker, to_cluster].map(|words| lab.example("worcli.py", &words));
    let mut of_cluster = lab.client(&cluster.clients_url(1), "S", "C_S", 3);
    let mut of_broker = lab.client(&clients, "U", "C_U", 3);
    assert_eq!(crate::replies(&of_cluster.succeeds().await), crate::echoes("C_S", 3));
    assert_eq!(crate::replies(&of_broker.succeeds().await), crate::echoes("C_U", 3));
}
