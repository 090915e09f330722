use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::sealing::{Sealing, Way};
use crate::link::SessionKey;
use protocol::{AttemptRef, Boot, JobId, Load, Offer, Verdict, message::Report, native};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(300);

/// The key of all sessions here.
const KEY: [u8; 32] = [42; 32];

struct Side {
    broker: Broker,
    counts: BrokerCounts,
    told: Receiver<Vec<BrokerTold>>,
    ready: std::collections::VecDeque<BrokerTold>,
}

impl Side {
    fn new() -> Side {
        Self::at("tcp://127.0.0.1:0")
    }

    fn at(bind: &str) -> Side {
        let (tell, told) = sync_channel(1024);
        let counts = BrokerCounts::default();
        let tell = move |batch| {
            tell.try_send(batch).map_err(|error| match error {
                TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
            })
        };
        let broker = Broker::start(bind, tell, counts.clone());
        Side { broker: broker.unwrap(), counts, told, ready: std::collections::VecDeque::new() }
    }

    fn lead(&self, session: u64) -> Option<Lead> {
        let address = self.broker.address().strip_prefix("tcp://").unwrap().to_owned();
        Some(Lead { node: NodeId(1), address, session })
    }

    /// Follows a leader under a session whose key both have.
    fn follow(&self, leader: &Side, session: u64) {
        self.follow_by(leader, session, Some(KEY));
    }

    fn follow_by(&self, leader: &Side, session: u64, key: Option<[u8; 32]>) {
        self.broker.follow(leader.lead(session));
        hand_over(&self.broker, &leader.broker, session, key);
    }

    /// Waits until so many messages were let go for this reason.
    fn until_dropped(&self, why: Dropped, count: u64) {
        let end = Instant::now() + PATIENCE;
        while self.counts.dropped(why) < count {
            assert!(Instant::now() < end, "{why:?}: {} of {count}", self.counts.dropped(why));
            std::thread::yield_now();
        }
        assert_eq!(self.counts.dropped(why), count, "{why:?}");
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

/// What the consensus link does. The tag of a session is its number.
fn hand_over(node: &Broker, leader: &Broker, session: u64, key: Option<[u8; 32]>) {
    let key = |peer| SessionKey { peer: NodeId(peer), session, tag: session, key };
    leader.keys().given(key(2));
    node.keys().taken(key(1));
}

/// A report as it goes over the wire.
fn sealed(sealing: &mut Sealing, session: u64, number: u64) -> [Vec<u8>; 2] {
    let (head, mut body) = (sealing.head().to_vec(), report(session, number));
    assert!(sealing.seal(&mut body));
    [head, body]
}

fn stranger(context: &Context, leader: &Side) -> zmq::Socket {
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.set_linger(0).unwrap();
    stranger.connect(leader.broker.address()).unwrap();
    stranger
}

fn report(session: u64, number: u64) -> Vec<u8> {
    let (held, kept, offer, load) = (Vec::new(), Vec::new(), Offer::default(), Load::default());
    let (waiting, back, checkpoint, progress, pools) = (Vec::new(), Vec::new(), None, Vec::new(), Vec::new());
    let report =
        Report { number, echo: 0, held, waiting, kept, back, offer, load, checkpoint, progress, pools };
    let body = ToMaster::Report(report.into());
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
    node.follow(&leader, 77);
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
    node.follow(&leader, 1);
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
    node.follow(&leader, 2);
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
        node.follow(&leader, session);
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
    hand_over(&node.broker, &leader.broker, 5, Some(KEY));
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
    node.follow(&leader, 6);
    node.broker.to_master(report(6, 2)).unwrap();
    assert_eq!(leader.report(), (6, 2));
    node.broker.follow(None);
    node.broker.to_master(report(6, 3)).unwrap();
    assert_eq!(leader.next_within(QUIET), None);
}

#[test]
fn nothing_leaves_before_the_leader_has_the_key_and_then_all_does() {
    let (mut leader, node) = (Side::new(), Side::new());
    node.broker.follow(leader.lead(1));
    node.broker.to_master(report(1, 1)).unwrap();
    // It may speak to another leader, and under another session: both are not this.
    for (peer, session) in [(9, 1), (1, 9)] {
        let key = SessionKey { peer: NodeId(peer), session, tag: 7, key: Some(KEY) };
        node.broker.keys().taken(key);
    }
    assert_eq!(leader.next_within(QUIET), None);
    hand_over(&node.broker, &leader.broker, 1, Some(KEY));
    assert_eq!(leader.report(), (1, 1));
    // The connection that brought the key has ended: it waits for the next key.
    node.broker.keys().ended(1);
    node.broker.to_master(report(1, 2)).unwrap();
    assert_eq!(leader.next_within(QUIET), None);
    let key = |peer| SessionKey { peer: NodeId(peer), session: 1, tag: 2, key: Some(KEY) };
    leader.broker.keys().given(key(2));
    node.broker.keys().taken(key(1));
    assert_eq!(leader.report(), (1, 2));
}

#[test]
fn a_leader_at_another_address_hears_the_session_go_on() {
    let (mut leader, node) = (Side::new(), Side::new());
    node.follow(&leader, 1);
    for number in 1..=3 {
        node.broker.to_master(report(1, number)).unwrap();
        assert_eq!(leader.report(), (1, number));
    }
    let Lead { address, .. } = leader.lead(1).unwrap();
    let address = address.replace("127.0.0.1", "localhost");
    node.broker.follow(Some(Lead { node: NodeId(1), address, session: 1 }));
    node.broker.to_master(report(1, 4)).unwrap();
    assert_eq!(leader.report(), (1, 4), "its numbers do not begin again under the same key");
}

#[test]
fn garbage_is_dropped_and_others_go_on() {
    let (mut leader, node) = (Side::new(), Side::new());
    let context = Context::new();
    let stranger = stranger(&context, &leader);
    stranger.send("no message of ours", 0).unwrap();
    stranger.send_multipart([report(9, 1)], 0).unwrap();
    stranger.send_multipart([vec![1], report(9, 1)], 0).unwrap();
    stranger.send_multipart(std::iter::repeat_n("x", 1000), 0).unwrap();
    stranger.send("", 0).unwrap();
    leader.until_dropped(Dropped::Unreadable, 5);
    // Opened, and no report inside: what is sealed is read with as much care.
    let key = SessionKey { peer: NodeId(2), session: 9, tag: 9, key: Some(KEY) };
    leader.broker.keys().given(key);
    let mut sealing = Sealing::new(9, Some(&KEY), Way::ToMaster);
    for body in [b"nonsense".to_vec(), report(8, 1)] {
        let (head, mut body) = (sealing.head().to_vec(), body);
        assert!(sealing.seal(&mut body));
        stranger.send_multipart([head, body], 0).unwrap();
    }
    leader.until_dropped(Dropped::Unreadable, 7);
    stranger.send_multipart(sealed(&mut sealing, 9, 2), 0).unwrap();
    assert_eq!(leader.report(), (9, 2));
    node.follow(&leader, 1);
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
}

#[test]
fn a_stranger_that_names_a_live_session_gets_nothing_and_disturbs_nobody() {
    let (mut leader, mut node) = (Side::new(), Side::new());
    node.follow(&leader, 1);
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
    let context = Context::new();
    let stranger = stranger(&context, &leader);
    let mut guessed = Sealing::new(1, Some(&[0; 32]), Way::ToMaster);
    for number in 0..3 {
        stranger.send_multipart(sealed(&mut guessed, 1, number), 0).unwrap();
    }
    // The first of them bears a number that was heard already.
    leader.until_dropped(Dropped::Forged, 2);
    assert_eq!(leader.counts.dropped(Dropped::Repeated), 1);
    assert_eq!(leader.next_within(QUIET), None);
    leader.broker.to_node(NodeId(2), 1, settled(1, 1)).unwrap();
    assert_eq!(node.settled(), (1, 1));
    assert_eq!(stranger.poll(zmq::POLLIN, 100).unwrap(), 0);
}

#[test]
fn a_replayed_frame_is_dropped_and_so_is_one_of_an_ended_session() {
    let mut leader = Side::new();
    leader.broker.keys().given(SessionKey { peer: NodeId(2), session: 1, tag: 1, key: Some(KEY) });
    let (context, mut sealing) = (Context::new(), Sealing::new(1, Some(&KEY), Way::ToMaster));
    let (node, thief) = (stranger(&context, &leader), stranger(&context, &leader));
    let frames = sealed(&mut sealing, 1, 1);
    node.send_multipart(frames.clone(), 0).unwrap();
    assert_eq!(leader.report(), (1, 1));
    // Word for word, from the same connection and from another one.
    for socket in [&node, &thief] {
        socket.send_multipart(frames.clone(), 0).unwrap();
    }
    leader.until_dropped(Dropped::Repeated, 2);
    assert_eq!(leader.next_within(QUIET), None);
    // The session ends: what is still on its way is nobody's.
    leader.broker.keys().ended(1);
    node.send_multipart(sealed(&mut sealing, 1, 2), 0).unwrap();
    leader.until_dropped(Dropped::Ended, 1);
    assert_eq!(leader.next_within(QUIET), None);
}

#[test]
fn without_keys_messages_go_in_clear_and_repetitions_are_dropped_all_the_same() {
    let (mut leader, mut node) = (Side::new(), Side::new());
    node.follow_by(&leader, 1, None);
    node.broker.to_master(report(1, 1)).unwrap();
    assert_eq!(leader.report(), (1, 1));
    leader.broker.to_node(NodeId(2), 1, settled(1, 1)).unwrap();
    assert_eq!(node.settled(), (1, 1));
    let context = Context::new();
    let stranger = stranger(&context, &leader);
    let mut sealing = Sealing::new(1, None, Way::ToMaster);
    stranger.send_multipart(sealed(&mut sealing, 1, 1), 0).unwrap();
    leader.until_dropped(Dropped::Repeated, 1);
}

#[test]
fn a_full_inbox_loses_nothing_and_blocks_nothing() {
    let (tell, told) = sync_channel(1);
    let tell = move |batch| {
        tell.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    };
    let leader = Broker::start("tcp://127.0.0.1:0", tell, BrokerCounts::default()).unwrap();
    let node = Side::new();
    let address = leader.address().strip_prefix("tcp://").unwrap().to_owned();
    node.broker.follow(Some(Lead { node: NodeId(1), address, session: 1 }));
    hand_over(&node.broker, &leader, 1, Some(KEY));
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
    let error = Broker::start(&bind, |_| Ok(()), BrokerCounts::default()).unwrap_err().to_string();
    assert!(error.contains(&bind), "{error}");
    one.broker.close();
    for _ in 0..20 {
        Side::at(&bind).broker.close();
    }
}
