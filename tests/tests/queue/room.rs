//! How much a bridge takes from its queue.

use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tests::client::{answer, http};
use tests::rabbit::Rabbit;
use tests::{Cluster, Plan, eventually};

use crate::bridge;

/// Longer than it takes until a bridge looks at the nodes again.
const LOOK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_and_goes_does_not_make_a_bridge_take_the_whole_queue() {
    const MESSAGES: u32 = 30;
    const PREFETCH: u32 = 3;
    let rabbit = Rabbit::start().await;
    let cluster = Cluster::start(Plan::of(1)).await;
    let (_connection, channel) = rabbit.channel().await;
    let made = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("work".into(), made, FieldTable::default()).await.expect("a queue");
    // None of these jobs ends while the test runs.
    rabbit.publish_lines("work", &vec!["3600".to_string(); MESSAGES as usize]);
    let _bridge = bridge(&cluster, &rabbit, "bridge", &["--class", "sleep", "--prefetch", "3"]);
    eventually("the bridge has taken what it may", async || {
        (rabbit.waiting("work").await <= MESSAGES - PREFETCH).then_some(())
    })
    .await;
    let node = cluster.node(1);
    for word in ["drain", "undrain"].into_iter().cycle().take(10) {
        let asked = answer(http().post(format!("{}/api/v1/nodes/{}/{word}", node.url(), node.name))).await;
        assert!(asked.expect("an answer").0.is_success(), "{word}");
        // Not a wait for something: it must not take more however long one looks on.
        let began = Instant::now();
        while began.elapsed() < LOOK {
            let waiting = rabbit.waiting("work").await;
            assert!(waiting >= MESSAGES - 3 * PREFETCH, "after {word} only {waiting} of {MESSAGES} are left");
        }
    }
}
