//! What is told when.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Boot, ClusterId, Fact, Job, JobId, JobState, Member, NodeId, Rev, What, submit};
use serde_json::Value;
use tokio::time::timeout;

use super::super::board::Voice;
use super::super::kinds::share_all;
use super::super::listener::Listener;
use super::super::queue::Post;
use super::super::said::Speaker;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const ME: NodeId = NodeId(1);

/// A teller, and everything around it.
struct Scene {
    queue: Arc<Queue>,
    board: Board,
    standing: watch::Sender<Standing>,
    events: broadcast::Sender<Event>,
    heard: Vec<Post>,
    _load: watch::Sender<Load>,
    _listener: Listener,
}

fn member(id: u64, name: &str) -> Member {
    let at = |port: u16| format!("127.0.0.1:{port}");
    Member {
        id: NodeId(id),
        number: 0,
        boot: Boot(1),
        name: name.into(),
        http: at(1),
        link: at(2),
        broker: at(3),
    }
}

fn scene() -> Scene {
    let (queue, board) = (Arc::new(Queue::new().unwrap()), Board::default());
    let listener = Listener::start(&[], |_, _| {}).unwrap();
    let speaker = Speaker { node: "n1".into(), id: ME.to_string(), boot: 1 };
    board.open(Voice::new(speaker, share_all(), Arc::clone(&queue)));
    let (standing, stands) = watch::channel(Standing::default());
    let (load, loads) = watch::channel(Load::default());
    let events = broadcast::Sender::new(64);
    let me = Myself { cluster: ClusterId(7), member: member(1, "n1"), news: "127.0.0.1:4".into() };
    let teller = Teller {
        board: board.clone(),
        queue: Arc::clone(&queue),
        orders: listener.orders(),
        me,
        standing: stands,
        load: loads,
        events: events.subscribe(),
        quiet_index: 10,
    };
    tokio::spawn(teller.run());
    Scene { queue, board, standing, events, heard: Vec::new(), _load: load, _listener: listener }
}

impl Scene {
    fn stands(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }

    /// Everything told so far, once something with this topic was told `times` times.
    async fn until(&mut self, topic: &str, times: usize) -> Vec<Value> {
        let found = |heard: &[Post]| {
            let bodies = heard.iter().filter(|(of, _)| of == topic).map(|(_, body)| body);
            bodies.map(|body| serde_json::from_str(body).unwrap()).collect::<Vec<Value>>()
        };
        let (queue, heard) = (Arc::clone(&self.queue), &mut self.heard);
        let wait = async move {
            loop {
                heard.extend(queue.take(usize::MAX));
                let found = found(heard);
                if found.len() >= times {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{topic} was not told {times} times"))
    }

    fn job(&self, index: u64, n: u128) {
        let rev = Rev { epoch: 0, index, n: 0 };
        let job = Job {
            id: JobId(n),
            spec: Arc::new(submit::raw("echo", Bytes::from_static(b"x")).unwrap()),
            order: 1,
            state: JobState::Queued,
            reason: None,
            not_before_ms: None,
            not_before_wall_ms: None,
            submitted_wall_ms: 0,
            started_wall_ms: None,
            finished_wall_ms: None,
            attempts: Vec::new(),
            failures: 0,
            lost: 0,
            result: None,
            ending: None,
            rev,
        };
        let what = What::Accepted { job: job.id, gateway: ME };
        let fact = Arc::new(Fact { number: 1, rev, wall_ms: 0, what });
        self.events.send(Event::Job { fact, job: Arc::new(job) }).unwrap();
    }
}

#[tokio::test]
async fn all_four_kinds_are_told_at_first_and_a_state_when_it_changes() {
    let mut scene = scene();
    scene.stands(|standing| {
        standing.members = Arc::new(vec![member(1, "n1"), member(2, "n2")]);
        standing.leader = Some(NodeId(2));
        standing.queued = 3;
    });
    for kind in ["common", "static", "dynamic", "state"] {
        scene.until(&format!("info/{kind}/n1"), 1).await;
    }
    let common = scene.until("info/common/n1", 1).await;
    assert_eq!(common[0]["addresses"]["pub"], "127.0.0.1:4");
    assert_eq!(scene.until("info/dynamic/n1", 1).await[0]["queued"], 3);
    scene.stands(|standing| (standing.leader, standing.term) = (Some(ME), 4));
    let states = scene.until("info/state/n1", 2).await;
    let role = |at: usize| (states[at]["role"].clone(), states[at]["leader"].clone());
    assert_eq!(role(0), ("worker".into(), "n2".into()));
    assert_eq!(role(1), ("leader".into(), "n1".into()));
}

#[tokio::test]
async fn many_changes_at_once_are_one_state_and_the_last_one_is_told() {
    let mut scene = scene();
    scene.stands(|standing| standing.term = 1);
    scene.until("info/state/n1", 1).await;
    for applied in 1..=200 {
        scene.stands(|standing| standing.applied = applied);
        tokio::task::yield_now().await;
    }
    loop {
        let count = scene.until("info/state/n1", 2).await;
        assert!(count.len() < 100, "{} states for 200 changes", count.len());
        if count.last().unwrap()["applied_index"] == 200 {
            break;
        }
        scene.until("info/state/n1", count.len() + 1).await;
    }
}

#[tokio::test]
async fn jobs_are_told_to_whoever_listens_but_not_those_of_an_earlier_start() {
    let mut scene = scene();
    scene.stands(|standing| standing.members = Arc::new(vec![member(1, "n1")]));
    scene.until("info/state/n1", 1).await;
    let leads = Event::Leader { term: 2, leader: ME, previous: None, gap_ms: 5 };
    scene.job(11, 1);
    scene.events.send(leads.clone()).unwrap();
    let leader = scene.until("leader", 1).await;
    let told = serde_json::json!({"term": 2, "leader": "n1", "previous": null, "gap_ms": 5});
    assert_eq!(leader, [told]);
    scene.queue.want_jobs(true);
    scene.job(10, 2);
    scene.job(12, 3);
    let jobs = scene.until("job/echo", 1).await;
    assert_eq!((jobs.len(), &jobs[0]["id"]), (1, &JobId(3).to_string().into()), "{jobs:?}");
    assert_eq!(scene.board.dropped(), 0);
}
