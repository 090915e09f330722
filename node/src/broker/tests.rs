use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use protocol::{AttemptRef, Boot, JobId, Load, Offer, Verdict, message::Report, native};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(300);

struct Side {
    broker: Broker,
    told: Receiver<Vec<BrokerTold>>,
    ready: std::collections::VecDeque<BrokerTold>,
}

impl Side {
    fn new() -> Side {
        Self::at("tcp://127.0.0.1:0")
    }

    fn at(bind: &str) -> Side {
        let (tell, told) = sync_channel(1024);
        let broker = Broker::start(bind, move |batch| {
            tell.try_send(batch).map_err(|error| match error {
                TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
            })
        });
        Side { broker: broker.unwrap(), told, ready: std::collections::VecDeque::new() }
    }

    fn lead(&self, session: u64) -> Option<Lead> {
        let address = self.broker.address().strip_prefix("tcp://").unwrap().to_owned();
        Some(Lead { node: NodeId(1), address, session })
    }

    fn next_within(&mut self, patience: Duration) -> Option<BrokerTold> {
        while self.ready.is_empty() {
            self.ready.extend(self.told.recv_timeout(patience).ok()?);
        }
        self.ready.pop_front()
    }

    fn report(&mut self) -> (u64, u64) {
        match self.next_within(PATIENCE) {
            Some(BrokerTold::ToMaster {
                envelope: Envelope { session, body: ToMaster::Report(report), .. },
            }) => (session, report.number),
            other => panic!("a report was due, {other:?} came"),
        }
    }

    fn settled(&mut self) -> (u64, u32) {
        match self.next_within(PATIENCE) {
            Some(BrokerTold::ToNode {
                envelope: Envelope { session, body: ToNode::Settled { attempt, .. }, .. },
            }) => (session, attempt.attempt),
            other => panic!("a settled result was due, {other:?} came"),
        }
    }
}

fn report(session: u64, number: u64) -> Vec<u8> {
    let (held, kept, offer, load) = (Vec::new(), Vec::new(), Offer::default(), Load::default());
    let body =
        ToMaster::Report(Report { number, echo: 0, held, waiting: vec![], kept, back: vec![], offer, load });
    native::encode(&Envelope { from: NodeId(2), boot: Boot(1), session, term: 1, body })
}

fn settled(session: u64, attempt: u32) -> Vec<u8> {
    let attempt = AttemptRef { job: JobId(1), attempt };
    let body = ToNode::Settled { attempt, verdict: Verdict::Recorded };
    native::encode(&Envelope { from: NodeId(1), boot: Boot(1), session, term: 1, body })
}

#[test]
fn messages_go_to_the_leader_and_back_in_order() {
    let (mut leader, mut node) = (Side::new(), Side::new());
    node.broker.follow(leader.lead(77));
    for number in 1..=500 {
        node.broker.to_master(report(77, number)).unwrap();
    }
    for number in 1..=500 {
        assert_eq!(leader.report(), (77, number));
    }
    for attempt in 1..=500 {
        leader.broker.to_node(NodeId(2), 77, settled(77, attempt)).unwrap();
    }
    for attempt in 1..=500 {
        assert_eq!(node.settled(), (77, attempt));
    }
}

#[test]
fn a_new_session_is_heard_and_an_ended_one_gets_nothing() {
    let (mut leader, mut node) = (Side::new(), Side::new());
    node.broker.follow(leader.lead(1));
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
    node.broker.follow(leader.lead(2));
    node.broker.to_master(report(2, 2)).unwrap();
    assert_eq!(leader.report(), (2, 2));
    leader.broker.to_node(NodeId(2), 1, settled(1, 1)).unwrap();
    leader.broker.to_node(NodeId(2), 3, settled(3, 3)).unwrap();
    leader.broker.to_node(NodeId(2), 2, settled(2, 2)).unwrap();
    assert_eq!(node.settled(), (2, 2));
    assert_eq!(node.next_within(QUIET), None);
}

#[test]
fn a_node_that_restarts_is_heard_each_time() {
    let mut leader = Side::new();
    for session in 1..=20 {
        let mut node = Side::new();
        node.broker.follow(leader.lead(session));
        node.broker.to_master(report(session, 1)).unwrap();
        assert_eq!(leader.report(), (session, 1));
        leader.broker.to_node(NodeId(2), session, settled(session, 1)).unwrap();
        assert_eq!(node.settled(), (session, 1));
    }
}

#[test]
fn what_is_said_before_the_leader_listens_arrives_when_it_does() {
    let place = Side::new();
    let lead = place.lead(5);
    let bind = place.broker.address().to_owned();
    place.broker.close();
    let node = Side::new();
    node.broker.follow(lead);
    node.broker.to_master(report(5, 1)).unwrap();
    let mut leader = Side::at(&bind);
    assert_eq!(leader.report(), (5, 1));
}

#[test]
fn what_waits_for_a_leader_left_behind_is_dropped() {
    let place = Side::new();
    let nobody = place.lead(5);
    place.broker.close();
    let (mut leader, node) = (Side::new(), Side::new());
    node.broker.follow(nobody);
    node.broker.to_master(report(5, 1)).unwrap();
    node.broker.follow(leader.lead(6));
    node.broker.to_master(report(6, 2)).unwrap();
    assert_eq!(leader.report(), (6, 2));
    node.broker.follow(None);
    node.broker.to_master(report(6, 3)).unwrap();
    assert_eq!(leader.next_within(QUIET), None);
}

#[test]
fn garbage_is_dropped_and_others_go_on() {
    let (mut leader, node) = (Side::new(), Side::new());
    let context = Context::new();
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.set_linger(0).unwrap();
    stranger.connect(leader.broker.address()).unwrap();
    stranger.send("no message of ours", 0).unwrap();
    stranger.send_multipart([report(9, 1), report(9, 1)], 0).unwrap();
    stranger.send_multipart(std::iter::repeat_n("x", 1000), 0).unwrap();
    stranger.send("", 0).unwrap();
    let mut cut = report(9, 1);
    cut.pop();
    stranger.send(cut, 0).unwrap();
    // It is heard when it speaks as it should, so all of the above has been looked at.
    stranger.send(report(9, 2), 0).unwrap();
    assert_eq!(leader.report(), (9, 2));
    node.broker.follow(leader.lead(1));
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
}

#[test]
fn a_stranger_that_names_a_live_session_gets_nothing_and_disturbs_nobody() {
    let (mut leader, mut node) = (Side::new(), Side::new());
    node.broker.follow(leader.lead(1));
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
    let context = Context::new();
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.set_linger(0).unwrap();
    stranger.connect(leader.broker.address()).unwrap();
    stranger.send(report(1, 2), 0).unwrap();
    assert_eq!(leader.next_within(QUIET), None);
    leader.broker.to_node(NodeId(2), 1, settled(1, 1)).unwrap();
    assert_eq!(node.settled(), (1, 1));
    assert_eq!(stranger.poll(zmq::POLLIN, 100).unwrap(), 0);
}

#[test]
fn a_full_inbox_loses_nothing_and_blocks_nothing() {
    let (tell, told) = sync_channel(1);
    let leader = Broker::start("tcp://127.0.0.1:0", move |batch| {
        tell.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    })
    .unwrap();
    let node = Side::new();
    let address = leader.address().strip_prefix("tcp://").unwrap().to_owned();
    node.broker.follow(Some(Lead { node: NodeId(1), address, session: 1 }));
    for number in 1..=5_000 {
        node.broker.to_master(report(1, number)).unwrap();
    }
    std::thread::sleep(QUIET);
    let mut numbers = Vec::new();
    while numbers.len() < 5_000 {
        for told in told.recv_timeout(PATIENCE).expect("the backlog comes") {
            let BrokerTold::ToMaster { envelope: Envelope { body: ToMaster::Report(report), .. } } = told
            else {
                panic!("a report was sent")
            };
            numbers.push(report.number);
        }
    }
    assert!(numbers.iter().copied().eq(1..=5_000), "in order, none missing, none twice");
    let closing = Instant::now();
    leader.close();
    assert!(closing.elapsed() < PATIENCE);
}

#[test]
fn a_taken_port_is_named_and_a_closed_link_leaves_its_port() {
    let one = Side::new();
    let bind = one.broker.address().to_owned();
    let error = Broker::start(&bind, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains(&bind), "{error}");
    one.broker.close();
    for _ in 0..20 {
        Side::at(&bind).broker.close();
    }
}
