//! Many clients, many workers, any class.

use std::collections::{BTreeMap, BTreeSet};

use tests::lab::Note;
use tests::{Cluster, Lab, Plan};

use crate::{echoes, replies};

const CLASSES: [&str; 5] = ["A", "B", "C", "D", "E"];
/// A worker is given the next job of its class within milliseconds; a machine that starts 50 programs needs more.
const IDLE_S: f64 = 2.0;

/// From when to when.
#[derive(Clone, Copy, Debug)]
struct Span {
    from_s: f64,
    to_s: f64,
}

impl Span {
    fn shared_s(self, other: Self) -> f64 {
        (self.to_s.min(other.to_s) - self.from_s.max(other.from_s)).max(0.0)
    }
}

/// Spans between notes `opens` and `closes`, each of one key.
fn spans(notes: &[&Note], opens: &[&str], closes: &str, key: impl Fn(&Note) -> String) -> Vec<Span> {
    let mut open: BTreeMap<String, f64> = BTreeMap::new();
    let mut found = Vec::new();
    for note in notes {
        if opens.contains(&note.what.as_str()) {
            open.insert(key(note), note.at_s);
        } else if note.what == closes
            && let Some(from_s) = open.remove(&key(note))
        {
            found.push(Span { from_s, to_s: note.at_s });
        }
    }
    found
}

/// What one worker did with its time.
#[derive(Debug)]
struct Share {
    worker: String,
    /// At work.
    busy_s: f64,
    /// Without work while a request of its class waited for a worker.
    idle_s: f64,
    /// The longest piece of that.
    longest_s: f64,
}

/// The shares of all workers whose names begin with `workers`; their class is that of the clients named `clients…`.
fn shares(journal: &[Note], workers: &str, clients: &str) -> Vec<Share> {
    let requests: Vec<&Note> = journal.iter().filter(|note| note.text.starts_with(clients)).collect();
    let waits = spans(&requests, &["asked"], "began", |note| note.text.clone());
    let names: BTreeSet<&str> =
        journal.iter().map(|note| note.who.as_str()).filter(|who| who.starts_with(workers)).collect();
    let share = |name: &str| {
        let mut own: Vec<&Note> = journal.iter().filter(|note| note.who == name).collect();
        let busy = spans(&own, &["began"], "ended", |note| note.who.clone());
        // It has nothing to do until its next job, or until the last request is out of the queue.
        let last = Note {
            at_s: journal.last().map_or(0.0, |note| note.at_s),
            what: "began".to_string(),
            who: name.to_string(),
            text: String::new(),
        };
        own.push(&last);
        let idle = spans(&own, &["registered", "ended"], "began", |note| note.who.clone());
        // Waits overlap each other: of one idle span only the longest counts, else it would be counted often.
        let waited = |idle: &Span| waits.iter().map(|wait| idle.shared_s(*wait)).fold(0.0, f64::max);
        Share {
            worker: name.to_string(),
            busy_s: busy.iter().map(|span| span.to_s - span.from_s).sum(),
            idle_s: idle.iter().map(waited).sum(),
            longest_s: idle.iter().map(waited).fold(0.0, f64::max),
        }
    };
    names.into_iter().map(share).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_50_clients_gets_its_own_replies_and_no_worker_idles_while_its_class_waits() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let lab = Lab::new();
    let mut workers = Vec::new();
    for (number, class) in CLASSES.iter().cycle().take(10).enumerate() {
        let url = cluster.workers_url(number % 3 + 1);
        workers.push(lab.worker(&url, class, &format!("W_{class}_{number}"), 200));
    }
    let mut clients = Vec::new();
    for (number, class) in CLASSES.iter().cycle().take(50).enumerate() {
        let identity = format!("C_{class}_{number}");
        let url = cluster.clients_url(number % 3 + 1);
        clients.push((lab.client(&url, class, &identity, 10), identity));
    }
    for (client, identity) in &mut clients {
        assert_eq!(replies(&client.succeeds().await), echoes(identity, 10), "{identity}");
    }
    let journal = lab.journal();
    let begun: Vec<&str> =
        journal.iter().filter(|note| note.what == "began").map(|note| note.text.as_str()).collect();
    let once: BTreeSet<&str> = begun.iter().copied().collect();
    assert_eq!((begun.len(), once.len()), (500, 500), "each of the 500 requests ran once");
    for class in CLASSES {
        let shares = shares(&journal, &format!("W_{class}_"), &format!("C_{class}_"));
        assert_eq!(shares.len(), 2, "class {class}: {shares:?}");
        for share in &shares {
            println!("{share:?}");
            let Share { worker, busy_s, idle_s, longest_s } = share;
            assert!(
                *longest_s < IDLE_S,
                "{worker} had nothing to do for {longest_s} s while its class waited"
            );
            assert!(idle_s < busy_s, "{worker}: {busy_s} s at work, {idle_s} s idle while its class waited");
        }
    }
}

#[test]
fn a_worker_that_idles_while_its_class_waits_is_found() {
    let note = |at_s: f64, what: &str, who: &str, text: &str| Note {
        at_s,
        what: what.to_string(),
        who: who.to_string(),
        text: text.to_string(),
    };
    let journal = [
        note(0.0, "registered", "W_B_1", ""),
        note(0.0, "registered", "W_B_2", ""),
        note(1.0, "asked", "C_B_1", "C_B_1-1"),
        note(1.0, "asked", "C_B_2", "C_B_2-1"),
        note(1.1, "began", "W_B_1", "C_B_1-1"),
        note(2.1, "ended", "W_B_1", "C_B_1-1"),
        note(2.1, "answered", "C_B_1", "C_B_1-1"),
        note(9.0, "began", "W_B_2", "C_B_2-1"),
        note(9.5, "ended", "W_B_2", "C_B_2-1"),
    ];
    let shares = shares(&journal, "W_B_", "C_B_");
    let of = |k: usize| (shares[k].busy_s, shares[k].idle_s, shares[k].longest_s);
    let near = |(a, b): (f64, f64)| (a - b).abs() < 1e-6;
    let close = |k: usize, to: (f64, f64, f64)| {
        let (busy, idle, longest) = of(k);
        [(busy, to.0), (idle, to.1), (longest, to.2)].into_iter().all(near)
    };
    assert!(close(0, (1.0, 7.0, 6.9)), "the first one was idle too, after its job: {shares:?}");
    assert!(close(1, (0.5, 8.0, 8.0)), "{shares:?}");
}

#[tokio::test]
async fn any_name_is_a_class_and_none_is_declared() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let lab = Lab::new();
    let long = "ñ文😀é".repeat(18) + "ab";
    assert_eq!(long.len(), 200);
    for (number, class) in ["seen by nobody before", "length", "__proto__", &long].into_iter().enumerate() {
        let (worker, client) = (format!("W_{number}"), format!("C_{number}"));
        // The client first: its request waits until somebody can do it.
        let mut client = (lab.client(&cluster.clients_url(1), class, &client, 3), client);
        lab.noted("asked", &client.1, &format!("{}-1", client.1)).await;
        let _worker = lab.worker(&cluster.workers_url(1), class, &worker, 5);
        assert_eq!(replies(&client.0.succeeds().await), echoes(&client.1, 3), "{class}");
    }
    assert!(lab.journal().iter().filter(|note| note.what == "began").count() == 12, "nothing ran twice");
}

#[tokio::test]
async fn clients_and_workers_of_the_first_lab_need_no_class() {
    let cluster = Cluster::start(Plan::of(2)).await;
    let lab = Lab::new();
    let words = ["--identity", "Worker1", "--work-ms", "5"];
    let _worker = lab.example("worker.py", &[&[cluster.workers_url(1).as_str()], &words[..]].concat());
    for (k, identity) in [(1, "C_1"), (2, "C_2")] {
        let mut client = lab.example("client.py", &[&cluster.clients_url(k), "--identity", identity]);
        assert_eq!(client.succeeds().await, vec!["resp: resp"; 10], "at node {k}");
    }
}
