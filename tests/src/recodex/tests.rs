//! The peers against the smallest broker there can be, which keeps nothing and never fails anybody.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// One queue, no headers, no clocks.
struct Broker {
    clients: String,
    workers: String,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    fn start() -> Self {
        let bound = || {
            let router = socket(zmq::ROUTER);
            router.bind("tcp://127.0.0.1:*").unwrap();
            let url = router.get_last_endpoint().unwrap().unwrap();
            (router, url)
        };
        let ((clients, clients_url), (workers, workers_url)) = (bound(), bound());
        let ending = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&ending);
        let thread = std::thread::spawn(move || {
            let (mut known, mut free, mut jobs) = (BTreeSet::new(), VecDeque::new(), VecDeque::new());
            while !ends.load(Ordering::Relaxed) {
                let mut items = [&clients, &workers].map(|socket| socket.as_poll_item(zmq::POLLIN));
                zmq::poll(&mut items, 10).unwrap();
                while let Ok(frames) = clients.recv_multipart(zmq::DONTWAIT) {
                    for answer in ["ack", "accept"] {
                        clients.send_multipart([&frames[0][..], answer.as_bytes()], 0).unwrap();
                    }
                    jobs.push_back([&frames[2..3], &frames[frames.len() - 2..]].concat());
                }
                while let Ok(frames) = workers.recv_multipart(zmq::DONTWAIT) {
                    let answer = match (&frames[1][..], known.contains(&frames[0])) {
                        (b"ping", true) => Some("pong"),
                        (b"ping", false) => Some("intro"),
                        _ => None,
                    };
                    if let Some(answer) = answer {
                        workers.send_multipart([&frames[0][..], answer.as_bytes()], 0).unwrap();
                    } else {
                        known.insert(frames[0].clone());
                        free.push_back(frames[0].clone());
                    }
                }
                while !free.is_empty() && !jobs.is_empty() {
                    let head = vec![free.pop_front().unwrap(), b"eval".to_vec()];
                    workers.send_multipart([head, jobs.pop_front().unwrap()].concat(), 0).unwrap();
                }
            }
        });
        Self { clients: clients_url, workers: workers_url, ending, thread: Some(thread) }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn a_worker_says_what_it_is_told_and_takes_what_a_front_end_asks() {
    let broker = Broker::start();
    let mut worker = Worker::new(&broker.workers);
    worker.say(&["ping"]);
    assert_eq!(worker.hears_anything(SOON).unwrap(), ["intro"]);
    worker.say(&worker::init("group1", &["env=c"], None));
    worker.say(&["ping"]);
    assert_eq!(worker.hears_anything(SOON).unwrap(), ["pong"]);
    let verdict = FrontEnd::eval(&broker.clients, "j", &["env=c"]);
    assert_eq!(verdict.rejected, None);
    assert_eq!(worker.hears(SOON).unwrap(), ["eval", "j", "http://f/j.zip", "http://f/j/result"]);
    assert_eq!(worker.hears(Duration::from_millis(100)), None);
}

#[tokio::test]
async fn a_crew_works_one_job_at_a_time_and_takes_its_job_along_when_it_moves() {
    let (one, other) = (Broker::start(), Broker::start());
    let mut crew = Crew::new();
    let holds = crew.join(Hand::of("group1", &one.workers));
    FrontEnd::accepted(&one.clients, "held", &[]);
    assert_eq!(crew.begins("held", 1).await.worker, holds);
    crew.moves(holds, &other.workers);
    crew.happens(What::Registered, "held", 1).await;
    crew.finishes(holds, "OK", "");
    crew.happens(What::Ended, "held", 1).await;
    let quick = crew.join(Hand::of("group1", &one.workers).taking(1));
    for id in ["a", "b"] {
        FrontEnd::accepted(&one.clients, id, &[]);
        crew.happens(What::Ended, id, 1).await;
    }
    // The first connection of the one that moved is gone; what the broker sends there nobody gets.
    assert!(crew.runs("a") == [quick] && crew.runs("b") == [quick], "{:?}", crew.noted());
    assert!(crew.noted().iter().all(|noted| noted.what != What::Piled));
}

#[tokio::test]
async fn a_crew_whose_broker_falls_silent_goes_to_its_next_address() {
    let other = Broker::start();
    let silent = socket(zmq::ROUTER);
    silent.bind("tcp://127.0.0.1:*").unwrap();
    let mut hand = Hand::of("group1", &silent.get_last_endpoint().unwrap().unwrap());
    hand.urls.push(other.workers.clone());
    let mut crew = Crew::new();
    crew.join(hand.taking(1));
    FrontEnd::accepted(&other.clients, "j", &[]);
    crew.happens(What::Ended, "j", 1).await;
    let times = crew.noted().iter().filter(|noted| noted.what == What::Registered).count();
    assert_eq!(times, 2, "once at each: {:?}", crew.noted());
}

#[tokio::test]
async fn a_monitor_writes_down_what_brokers_tell_it() {
    let ports = crate::ports::Ports::take();
    let monitor = Monitor::start(ports.http(1));
    let broker = socket(zmq::ROUTER);
    broker.connect(&format!("tcp://127.0.0.1:{}", ports.http(1))).unwrap();
    // A ROUTER drops what it has no connection for yet.
    crate::wait::eventually("the broker is connected", async || {
        send(&broker, &["recodex-monitor", "j", "TASK", "t1", "COMPLETED"]);
        (!monitor.of("j").is_empty()).then_some(())
    })
    .await;
    assert_eq!(monitor.of("j")[0], ["TASK", "t1", "COMPLETED"]);
    assert!(monitor.of("k").is_empty());
}

#[test]
fn a_notifier_writes_calls_down_and_fails_as_often_as_it_is_told() {
    let ports = crate::ports::Ports::take();
    let notifier = Notifier::start(ports.http(1));
    notifier.fails(1);
    let call = || {
        let mut stream = TcpStream::connect(("127.0.0.1", ports.http(1))).unwrap();
        let head =
            "POST /broker-reports/job-status/j HTTP/1.1\r\nAuthorization: Basic x\r\nContent-Length: 9";
        write!(stream, "{head}\r\n\r\nstatus=OK").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(call().starts_with("HTTP/1.1 500 ") && call().starts_with("HTTP/1.1 200 "));
    let calls = notifier.calls();
    assert_eq!(calls.len(), 2);
    let last = calls.last().unwrap();
    assert_eq!((last.method.as_str(), last.authorization.as_str(), last.answer), ("POST", "Basic x", 200));
    assert_eq!(notifier.told("j"), [("status=OK".to_string(), 1)].into());
}

#[test]
fn the_file_is_what_the_original_reads() {
    let config = Config {
        clients: 1,
        workers: 2,
        monitor: 3,
        notifier: 4,
        max_liveness: 4,
        ping_interval: 1_000,
        max_request_failures: 3,
        queue_manager: "multi",
        log: "/tmp/broker".to_string(),
    };
    let yaml = config.yaml();
    for line in ["queue_manager: \"multi\"", "    max_liveness: 4", "    max-size: 1048576", "    port: 4"] {
        assert!(yaml.lines().any(|there| there == line), "{line} in\n{yaml}");
    }
}
