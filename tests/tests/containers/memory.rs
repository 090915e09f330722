//! A job that takes more memory than it may, in a container that has a limit itself.

use serde_json::json;
use tests::client::job;
use tests::containers::Containers;

/// Every worker's container has half a GiB.
const LIMITED: &str = "version: \"3.8\"
services:
  worker1: {mem_limit: 512m, memswap_limit: 512m}
  worker2: {mem_limit: 512m, memswap_limit: 512m}
  worker3: {mem_limit: 512m, memswap_limit: 512m}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_over_its_memory_fails_for_it_in_a_limited_container_and_its_node_lives() {
    let Some(containers) = Containers::nodes_with(LIMITED).await else { return };
    let client = containers.client_of(["server"]);
    // `tail` holds all of it before it prints any.
    let takes = "head -c 1073741824 /dev/zero | tail -c 1073741824 | wc -c";
    let mut takes = job("sh", takes);
    takes["memory"] = json!("256MiB");
    takes["max_attempts"] = json!(1);
    let ended = client.run(&takes).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("memory")), "{ended}");
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "{ended}");
    println!("{}", ended["result"]["error"]);
    let node = ended["attempts"][0]["node"].as_str().expect("a name").to_string();
    let after = containers.client_of([node.as_str()]).run(&job("echo", "still here")).await;
    assert_eq!(after["state"], "succeeded", "{after}");
}
