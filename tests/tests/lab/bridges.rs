//! Clusters joined by `understudy bridge lab`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::{Bridge, Cluster, Plan, eventually};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::node_says;

/// What comes within seconds on a calm machine may take this long.
const PATIENCE_MS: i32 = 90_000;

fn req(name: &str, url: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::REQ).expect("a socket");
    socket.set_identity(name.as_bytes()).expect("an identity");
    socket.set_linger(0).expect("an option");
    socket.set_rcvtimeo(PATIENCE_MS).expect("an option");
    socket.connect(url).expect("an address");
    socket
}

/// A client of the lab that asks these things one after another; the replies.
fn asks(name: &str, url: &str, class: &str, messages: &[&str]) -> JoinHandle<Vec<String>> {
    let (socket, class) = (req(name, url), class.to_string());
    let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
    spawn_blocking(move || {
        let ask = |message: &String| {
            socket.send_multipart([message.as_bytes(), class.as_bytes()], 0).expect("a request leaves");
            let reply = socket.recv_multipart(0).expect("a reply comes");
            assert_eq!(reply.len(), 1, "a reply is one frame");
            String::from_utf8(reply.concat()).expect("text")
        };
        messages.iter().map(ask).collect()
    })
}

/// A worker of the lab that answers `Done! MESSAGE`.
struct Worker {
    ends: Arc<AtomicBool>,
    jobs: Arc<AtomicUsize>,
}

impl Worker {
    fn start(name: &str, url: &str, class: &str, takes: Duration) -> Self {
        let (ends, jobs) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, count) = (Arc::clone(&ends), Arc::clone(&jobs));
        let (socket, class) = (req(name, url), class.to_string());
        std::thread::spawn(move || {
            socket.send_multipart([b"", class.as_bytes()], 0).expect("a registration leaves");
            while !ended.load(Ordering::Relaxed) {
                if socket.poll(zmq::POLLIN, 20).expect("a poll") == 0 {
                    continue;
                }
                let job = socket.recv_multipart(0).expect("a job");
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(takes);
                let reply = [b"Done! ", job[2].as_slice()].concat();
                let answer = [job[0].as_slice(), b"", &reply, class.as_bytes()];
                socket.send_multipart(answer, 0).expect("an answer leaves");
            }
        });
        Self { ends, jobs }
    }

    fn jobs(&self) -> usize {
        self.jobs.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// A bridge for class D that node `at` of the first cluster knows as a worker.
async fn bridge(name: &str, from: (&Cluster, usize), to: (&Cluster, usize), words: &[&str]) -> Bridge {
    let (workers, clients) = (from.0.workers_url(from.1), to.0.clients_url(to.1));
    let usual = ["lab", &workers, &clients, "--class", "D"];
    let bridge = Bridge::start(from.0.folder(), name, &[&usual[..], words].concat());
    bridge.says("has us as its worker").await;
    node_says(from.0, from.1, "REGISTERING Worker WC_").await;
    bridge
}

async fn jobs(cluster: &Cluster) -> usize {
    let (_, jobs) = cluster.get(1, "/api/v1/jobs?class=D&limit=500").await.expect("an answer");
    jobs["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_of_one_lane_gives_one_reply_and_one_execution_at_each_of_the_labs_delays() {
    let near = Cluster::start(Plan::of(1)).await;
    let far = Cluster::start(Plan::of(1)).await;
    let worker = Worker::start("W_D", &far.workers_url(1), "D", Duration::from_secs(1));
    for (round, delay) in ["200", "1200", "2200"].into_iter().enumerate() {
        let words = ["--delay", delay, "--lanes", "1"];
        let bridge = bridge(delay, (&near, 1), (&far, 1), &words).await;
        let replies = asks("C_1", &near.clients_url(1), "D", &[delay, "again"]).await.expect("a client");
        assert_eq!(replies, [format!("Done! {delay}"), "Done! again".to_string()]);
        assert_eq!(worker.jobs(), 2 * (round + 1), "{delay} ms: nobody else could have done it");
        assert!(bridge.end().status.success());
    }
    assert_eq!((jobs(&near).await, jobs(&far).await), (6, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_two_bridges_between_two_clusters_is_refused_wherever_it_is_entered() {
    // The client is at node 1, the bridge at node 2: its trail has to come along between nodes.
    let near = Cluster::start(Plan::of(2)).await;
    let far = Cluster::start(Plan::of(2)).await;
    let there = bridge("there", (&near, 2), (&far, 1), &[]).await;
    let _back = bridge("back", (&far, 2), (&near, 1), &[]).await;
    let before = std::time::Instant::now();
    let replies = asks("C_1", &near.clients_url(1), "D", &["1", "2", "3"]).await.expect("a client");
    println!("three requests into a ring: {:?}", before.elapsed());
    assert_eq!(replies, ["ERROR loop"; 3]);
    assert!(there.said().contains("refused as a loop"), "{}", there.said());
    assert_eq!((jobs(&near).await, jobs(&far).await), (6, 3), "each went round once");
    // At the other cluster the other bridge is the one that meets itself.
    let replies = asks("C_2", &far.clients_url(1), "D", &["4"]).await.expect("a client");
    assert_eq!(replies, ["ERROR loop"]);
    assert_eq!((jobs(&near).await, jobs(&far).await), (7, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_three_clusters_carries_a_request_to_its_end() {
    let clusters = [
        Cluster::start(Plan::of(1)).await,
        Cluster::start(Plan::of(1)).await,
        Cluster::start(Plan::of(1)).await,
    ];
    let worker = Worker::start("W_D", &clusters[2].workers_url(1), "D", Duration::ZERO);
    let _one = bridge("one", (&clusters[0], 1), (&clusters[1], 1), &[]).await;
    let _two = bridge("two", (&clusters[1], 1), (&clusters[2], 1), &[]).await;
    let replies = asks("C_1", &clusters[0].clients_url(1), "D", &["a", "b"]).await.expect("a client");
    assert_eq!((replies, worker.jobs()), (vec!["Done! a".to_string(), "Done! b".to_string()], 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_outlives_the_death_of_either_sides_node() {
    let mut near = Cluster::start(Plan::of(3)).await;
    let mut far = Cluster::start(Plan::of(3)).await;
    // The client asks node 1; the bridge works for node 2 and asks the far node 2.
    let _bridge = bridge("bridge", (&near, 2), (&far, 2), &[]).await;
    let asked = asks("C_1", &near.clients_url(1), "D", &["Hello", "and on"]);
    node_says(&far, 2, "FROM Client WC_").await;
    far.kill(2);
    far.restart(2);
    near.kill(2);
    near.restart(2);
    let worker = Worker::start("W_D", &far.workers_url(1), "D", Duration::ZERO);
    let replies = asked.await.expect("a client");
    assert_eq!(replies, ["Done! Hello", "Done! and on"]);
    let what = "the far cluster has done all it was asked, repeats too";
    eventually(what, async || {
        let (_, status) = far.get(1, "/api/v1/status").await?;
        (status["jobs"]["queued"] == 0 && status["jobs"]["running"] == 0).then_some(())
    })
    .await;
    println!("two requests, executions: {}", worker.jobs());
    near.whole().await;
    far.whole().await;
}
