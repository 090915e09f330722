//! Messages that end the original, or that nobody ever meant: the broker serves on.

use std::time::{Duration, Instant};

use tests::recodex::{Backend, Crew, FrontEnd, Hand, Worker};

use crate::{OK, told_once};

/// Messages without sense to each port.
const RANDOM: u64 = 150;
/// Good jobs ask for this group; strange workers are of another.
const GOOD: &str = "hwgroup=good";

type Message = Vec<Vec<u8>>;

fn message(frames: &[&str]) -> Message {
    frames.iter().map(|frame| frame.as_bytes().to_vec()).collect()
}

/// What a worker may say that the original dies of, or should not answer.
fn of_workers() -> Vec<Message> {
    let table: [&[&str]; 21] = [
        &["done", "never-given", "OK", ""],
        &["done", "never-given", "INTERNAL_ERROR", "why"],
        &["done", "never-given", "OK"],
        &["done", "never-given"],
        &["done", "never-given", "FAILED"],
        &["done", "never-given", "PERHAPS", ""],
        &["done", "", "OK", ""],
        &["done"],
        &["init"],
        &["init", "strange", "threads=abc"],
        &["init", "strange", "threads="],
        &["init", "strange", "=", "==", "="],
        &["init", "strange", "", "", "", ""],
        &["init", "strange", "", "description=x", "current_job=nobodys"],
        &["init", "strange", "", "current_job="],
        &["progress"],
        &["progress", "never-given"],
        &["progress", "never-given", "TASK"],
        &["pong"],
        &["nonsense", "of", "any", "kind"],
        &[""],
    ];
    let mut all: Vec<Message> = table.into_iter().map(message).collect();
    all.push(vec![b"done".to_vec(), vec![0xff, 0xfe], b"OK".to_vec(), vec![0; 70_000]]);
    all.push(vec![b"init".to_vec(), vec![0xff; 300], vec![b'='; 70_000]]);
    all.push([message(&["init", "strange"]), vec![b"a=b".to_vec(); 500]].concat());
    all.push(vec![vec![b'x'; 1 << 20]]);
    all
}

/// What a front end may say.
fn of_clients() -> Vec<Message> {
    let table: [&[&str]; 14] = [
        &["eval"],
        &["eval", "x1"],
        &["eval", "x2", "env=c"],
        &["eval", ""],
        &["eval", "", "", "a", "r"],
        &["eval", "x3", "threads=abc", "", "a", "r"],
        &["eval", "x4", "threads=99999999999999999999999", "", "a", "r"],
        &["eval", "x5", "hwgroup=|", "", "a", "r"],
        &["eval", "x6", "=", "", "a", "r"],
        &["freeze!"],
        &["get-runtime-stats", "and", "more"],
        &["ping"],
        &["hello"],
        &[""],
    ];
    let mut all: Vec<Message> = table.into_iter().map(message).collect();
    all.push(vec![b"eval".to_vec(), vec![b'x'; 70_000], Vec::new()]);
    all.push(vec![b"eval".to_vec(), vec![0xff, 0], vec![0xff, b'=', 0xfe], Vec::new(), vec![0; 10]]);
    all.push([message(&["eval", "x7"]), vec![b"k=v".to_vec(); 2_000], message(&["", "a", "r"])].concat());
    all.push([message(&["eval", "x8", ""]), vec![b"frame".to_vec(); 2_000]].concat());
    all
}

/// Messages of words that mean something and bytes that do not, the same in every run.
fn random(seed: u64) -> Message {
    const WORDS: [&str; 16] = [
        "init",
        "ping",
        "progress",
        "done",
        "eval",
        "get-runtime-stats",
        "OK",
        "FAILED",
        "INTERNAL_ERROR",
        "TASK",
        "",
        "threads=1",
        "hwgroup=strange",
        "current_job=x1",
        "x1",
        "=",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..=next(7))
        .map(|_| match next(4) {
            0 => (0..next(40)).map(|_| next(256) as u8).collect(),
            _ => WORDS[next(16) as usize].as_bytes().to_vec(),
        })
        .collect()
}

/// A good eval is taken, done and told.
async fn serves(backend: &Backend, crew: &Crew, id: &str) {
    FrontEnd::accepted(&backend.clients(1), id, &[GOOD]);
    crew.begins(id, 1).await;
    assert_eq!(backend.notifier.hears(id).await, OK, "{id}");
}

async fn good_crew(backend: &Backend) -> Crew {
    let mut crew = Crew::new();
    crew.join(Hand::of("good", &backend.workers(1)).taking(0));
    backend.counts(1, "worker-count", 1).await;
    crew
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_the_original_leaves_the_broker_serving() {
    let mut backend = Backend::start(1).await;
    let pid = backend.cluster.node(1).pid();
    let crew = good_crew(&backend).await;
    for (number, strange) in of_workers().iter().enumerate() {
        // From a worker it does not know, and from one it does.
        let unknown = Worker::new(&backend.workers(1));
        let known = Worker::registered(&backend.workers(1), "strange", &[], None);
        for worker in [&unknown, &known] {
            worker.say(strange);
            worker.say(strange);
        }
        known.say(&["ping"]);
        serves(&backend, &crew, &format!("after-worker-{number}")).await;
    }
    for (number, strange) in of_clients().iter().enumerate() {
        let client = FrontEnd::new(&backend.clients(1));
        client.say(strange);
        client.say(strange);
        serves(&backend, &crew, &format!("after-client-{number}")).await;
    }
    assert!(backend.cluster.node_mut(1).runs() && backend.cluster.node(1).pid() == pid, "it never ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_done_for_one_job_changes_nothing() {
    let backend = Backend::start(1).await;
    let mut worker = Worker::registered(&backend.workers(1), "good", &[], None);
    backend.counts(1, "worker-count", 1).await;
    for id in ["one", "two"] {
        FrontEnd::accepted(&backend.clients(1), id, &[GOOD]);
        assert_eq!(worker.takes(Duration::from_secs(20)), id);
        worker.done(id, "OK", "");
        worker.done(id, "FAILED", "said too late");
        assert_eq!(backend.notifier.hears(id).await, OK);
        backend.counts(1, "idle-worker-count", 1).await;
    }
    assert_eq!((told_once(&backend, "one").as_str(), told_once(&backend, "two").as_str()), (OK, OK));
    let stats = backend.stats(1);
    assert_eq!((stats["evaluated-jobs"], stats["failed-jobs"]), (2, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_thrown_together_leave_the_broker_serving() {
    let mut backend = Backend::start(1).await;
    let pid = backend.cluster.node(1).pid();
    let crew = good_crew(&backend).await;
    let began = Instant::now();
    let (client, worker) = (FrontEnd::new(&backend.clients(1)), Worker::new(&backend.workers(1)));
    for seed in 0..RANDOM {
        client.say(&random(2 * seed));
        worker.say(&random(2 * seed + 1));
        if seed % 10 == 9 {
            serves(&backend, &crew, &format!("after-{seed}")).await;
        }
    }
    assert!(backend.cluster.node_mut(1).runs() && backend.cluster.node(1).pid() == pid, "it never ended");
    println!(
        "{} messages without sense, {} good jobs amid them, in {:?}",
        2 * RANDOM,
        RANDOM / 10,
        began.elapsed()
    );
}
