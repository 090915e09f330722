//! Ventilator and sink, and one exclusive peer: programs that know ZeroMQ and nothing of a cluster, which does their work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::{Bridge, Cluster, Plan, eventually};
use tokio::task::{JoinHandle, spawn_blocking};

const TASKS: usize = 100;
/// What comes within seconds on a calm machine may take this long.
const PATIENCE_MS: i32 = 90_000;
/// Nothing is expected in this time.
const QUIET_MS: i64 = 500;

/// Tasks are sleeps of so many milliseconds. Asks these nodes, in this order.
fn bridge(cluster: &Cluster, nodes: &[usize], words: &[&str]) -> Bridge {
    let servers: Vec<String> = nodes.iter().map(|k| cluster.node(*k).url()).collect();
    let servers = servers.join(",");
    let usual = ["zmq", "--class", "sleep", "--template", "{}ms", "--server", &servers];
    Bridge::start(cluster.folder(), "bridge", &[&usual[..], words].concat())
}

fn socket(kind: zmq::SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_rcvtimeo(PATIENCE_MS).expect("an option");
    socket
}

fn bound(kind: zmq::SocketType) -> (zmq::Socket, String) {
    let socket = socket(kind);
    socket.bind("tcp://127.0.0.1:*").expect("a free port");
    let at = socket.get_last_endpoint().expect("an option").expect("an address");
    (socket, at)
}

fn connected(kind: zmq::SocketType, at: &str) -> zmq::Socket {
    let socket = socket(kind);
    socket.connect(at).expect("an address");
    socket
}

fn hear(socket: &zmq::Socket) -> String {
    socket.recv_string(0).expect("a message comes").expect("text")
}

/// The guide's ventilator: binds, tells the sink that a batch begins, pushes the tasks. Their costs in milliseconds.
struct Ventilator {
    sender: zmq::Socket,
    at: String,
    costs: Vec<u64>,
}

impl Ventilator {
    fn new() -> Self {
        let (sender, at) = bound(zmq::PUSH);
        // 1 to 100 ms, as irregular as they need be and the same each time.
        let next = |seed: &u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let costs =
            std::iter::successors(Some(7), next).map(|seed| (seed >> 33) % 100 + 1).take(TASKS).collect();
        Self { sender, at, costs }
    }

    fn total(&self) -> Duration {
        Duration::from_millis(self.costs.iter().sum())
    }

    fn push(&self, sink: &str) {
        let start = connected(zmq::PUSH, sink);
        start.set_linger(-1).expect("an option");
        start.send("0", 0).expect("the sink is told");
        for cost in &self.costs {
            self.sender.send(&cost.to_string(), 0).expect("a task leaves");
        }
        println!("Total expected cost: {} msec", self.total().as_millis());
    }
}

/// The guide's sink: binds, waits for the start of the batch, then for as many confirmations.
struct Sink {
    at: String,
    /// Confirmations so far.
    seen: Arc<AtomicUsize>,
    batch: JoinHandle<Batch>,
}

struct Batch {
    socket: zmq::Socket,
    elapsed: Duration,
    confirmations: Vec<String>,
}

impl Sink {
    fn start() -> Self {
        let (socket, at) = bound(zmq::PULL);
        let seen = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&seen);
        let batch = spawn_blocking(move || {
            assert_eq!(hear(&socket), "0", "the batch begins");
            let begun = Instant::now();
            let mut marks = String::new();
            let mut confirmations = Vec::new();
            for n in 0..TASKS {
                confirmations.push(hear(&socket));
                marks.push(if n % 10 == 0 { ':' } else { '.' });
                count.fetch_add(1, Ordering::Relaxed);
            }
            let elapsed = begun.elapsed();
            println!("{marks}\nTotal elapsed time: {} msec", elapsed.as_millis());
            Batch { socket, elapsed, confirmations }
        });
        Self { at, seen, batch }
    }

    async fn reached(&self, count: usize) {
        let what = format!("{count} tasks are confirmed");
        eventually(&what, async || (self.seen.load(Ordering::Relaxed) >= count).then_some(())).await;
    }

    /// The whole batch; checks that exactly the tasks were confirmed, each once.
    async fn whole(self, ventilator: &Ventilator) -> Duration {
        let batch = self.batch.await.expect("the sink heard all");
        let mut expected: Vec<String> = ventilator.costs.iter().map(|cost| format!("{cost}ms")).collect();
        let mut confirmations = batch.confirmations;
        expected.sort_unstable();
        confirmations.sort_unstable();
        assert_eq!(confirmations, expected);
        let more = batch.socket.poll(zmq::POLLIN, QUIET_MS).expect("a poll");
        assert_eq!(more, 0, "one confirmation a task and not one more");
        batch.elapsed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ventilators_100_tasks_are_confirmed_well_below_the_sum_of_their_costs() {
    // The master leaves the work to the others: two workers of four slots each.
    let cluster = Cluster::start(Plan::of(3).slots(4)).await;
    let (ventilator, sink) = (Ventilator::new(), Sink::start());
    let bridge = bridge(&cluster, &[1, 2, 3], &["--pull", &ventilator.at, "--push", &sink.at]);
    ventilator.push(&sink.at);
    let elapsed = sink.whole(&ventilator).await;
    let total = ventilator.total();
    assert!(elapsed < total * 2 / 3, "{elapsed:?} of {total:?}");
    let ended = bridge.end();
    assert!(ended.status.success() && ended.out.is_empty(), "{ended:?}");
    let (_, status) = cluster.get(1, "/api/v1/status").await.expect("an answer");
    assert_eq!(status["jobs"]["succeeded"], TASKS, "a task is one job: {}", status["jobs"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_node_killed_in_the_middle_of_a_batch_costs_no_confirmation() {
    let mut cluster = Cluster::start(Plan::of(4).slots(4)).await;
    let leader = cluster.leader().await;
    let victim = cluster.all().find(|k| *k != leader).expect("a worker");
    // The bridge asks the very node that will be killed, as long as it lives.
    let order: Vec<usize> = [victim].into_iter().chain(cluster.all().filter(|k| *k != victim)).collect();
    let (ventilator, sink) = (Ventilator::new(), Sink::start());
    let _bridge = bridge(&cluster, &order, &["--pull", &ventilator.at, "--push", &sink.at]);
    ventilator.push(&sink.at);
    sink.reached(20).await;
    cluster.kill(victim);
    let elapsed = sink.whole(&ventilator).await;
    println!("with a worker node killed: {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_killed_in_the_middle_of_a_batch_costs_no_confirmation() {
    let mut cluster = Cluster::start(Plan::of(3).slots(4)).await;
    let leader = cluster.leader().await;
    let order: Vec<usize> = [leader].into_iter().chain(cluster.all().filter(|k| *k != leader)).collect();
    let (ventilator, sink) = (Ventilator::new(), Sink::start());
    let _bridge = bridge(&cluster, &order, &["--pull", &ventilator.at, "--push", &sink.at]);
    ventilator.push(&sink.at);
    sink.reached(20).await;
    cluster.kill(leader);
    let elapsed = sink.whole(&ventilator).await;
    println!("with the master killed: {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_tasks_are_read_than_may_be_under_way_and_a_bridge_told_to_end_confirms_those() {
    let cluster = Cluster::start(Plan::of(1).slots(8)).await;
    let ((vent, vent_at), (sink, sink_at)) = (bound(zmq::PUSH), bound(zmq::PULL));
    let words = ["--pull", &vent_at, "--push", &sink_at, "--concurrency", "4"];
    let bridge = bridge(&cluster, &[1], &words);
    for n in 0..20 {
        vent.send(&format!("{}", 2_000 + n), 0).expect("a task leaves");
    }
    let jobs = async || cluster.get(1, "/api/v1/status").await.map(|(_, status)| status["jobs"].clone());
    eventually("four jobs run", async || (jobs().await?["running"] == 4).then_some(())).await;
    let ended = spawn_blocking(move || bridge.end());
    let confirmed: BTreeSet<String> = (0..4).map(|_| hear(&sink)).collect();
    assert_eq!(confirmed, ["2000ms", "2001ms", "2002ms", "2003ms"].map(String::from).into());
    let ended = ended.await.expect("it ended");
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(sink.poll(zmq::POLLIN, QUIET_MS).expect("a poll"), 0, "nothing else was begun");
    assert_eq!(jobs().await.expect("an answer")["succeeded"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_wait_for_a_cluster_that_is_away_and_a_bridge_told_twice_says_what_it_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_sink, sink_at) = bound(zmq::PULL);
    let ends = ["zmq", "--pull", "tcp://*:*", "--push", &sink_at];
    // A port that is reserved and where nobody listens.
    let rest = ["--class", "echo", "--server", "http://127.0.0.1:9"];
    let bridge = Bridge::start(folder.path(), "bridge", &[&ends[..], &rest].concat());
    let vent = connected(zmq::PUSH, &bridge.endpoint().await);
    for task in ["a", "b", "c"] {
        vent.send(task, 0).expect("a task leaves");
    }
    bridge.says("tasks wait for the cluster: no node answered").await;
    bridge.tell();
    bridge.says("again: at once").await;
    let log = folder.path().join("bridge.log");
    assert_eq!(bridge.end().status.code(), Some(1));
    let said = std::fs::read_to_string(log).expect("what it said");
    assert!(said.contains("3 tasks are left without an answer"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_exclusive_peer_is_answered_in_the_order_of_its_questions_and_a_second_gets_nothing() {
    let cluster = Cluster::start(Plan::of(1).slots(8)).await;
    let bridge = bridge(&cluster, &[1], &["--pair", "tcp://*:*"]);
    let at = bridge.endpoint().await;
    let peer = connected(zmq::PAIR, &at);
    let ask = |peer: &zmq::Socket, times: &[&str]| {
        times.iter().for_each(|time| peer.send(time, 0).expect("a question leaves"));
    };
    ask(&peer, &["1"]);
    assert_eq!(hear(&peer), "1ms");
    let second = connected(zmq::PAIR, &at);
    ask(&second, &["77", "78"]);
    // The slow ones first: whoever ends sooner must wait for its turn.
    let times = ["400", "3", "200", "2", "100", "1", "50", "4"];
    ask(&peer, &times);
    for time in times {
        assert_eq!(hear(&peer), format!("{time}ms"));
    }
    assert_eq!(second.poll(zmq::POLLIN, QUIET_MS).expect("a poll"), 0, "the second peer gets nothing");
    // The first leaves with a question open: its answer is for nobody else.
    ask(&peer, &["300"]);
    let running =
        async || cluster.get(1, "/api/v1/status").await.map(|(_, status)| status["jobs"]["running"].clone());
    eventually("the question is under way", async || (running().await? == 1).then_some(())).await;
    drop((peer, second));
    bridge.says("its peer has left").await;
    let next = connected(zmq::PAIR, &at);
    ask(&next, &["400", "5"]);
    assert_eq!((hear(&next), hear(&next)), ("400ms".to_string(), "5ms".to_string()));
    assert!(bridge.end().status.success());
}
