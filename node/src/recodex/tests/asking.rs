//! Front ends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cast::Input;
use protocol::limits::RECODEX_ID_BYTES;
use protocol::recodex::{CLASS, Order as ClusterOrder, wire};
use protocol::{Answer, Job, JobId, NodeLoad, Offer, Refusal, Request};

use super::scene::*;
use crate::ask::Told;
use crate::ports::{Side, Wire};
use crate::recodex::clients::Clients;
use crate::recodex::orders::{Order, Orders};
use crate::recodex::wire::{RecodexSaid, RecodexWire};
use crate::recodex::{Outbox, Seen};

const EVAL: &[&str] = &["eval", "j1", "hwgroup=group1", "env=c", "", "a", "r"];

struct Room {
    clients: Clients,
    book: Book,
    roster: Vec<NodeLoad>,
    last_ticket: u64,
}

impl Room {
    fn new() -> Self {
        let mut clients = Clients::new(lines().0, true, 3);
        clients.opened(peer("c1"));
        Self { clients, book: Book::new(), roster: Vec::new(), last_ticket: 0 }
    }

    /// What is answered at the port itself, and the rest.
    fn asks_at(&mut self, parts: &[&str], at: Instant) -> (Option<Vec<Bytes>>, Outbox) {
        let read = RecodexWire.read(Side::Clients, &peer("c1"), &frames(parts));
        let Some(RecodexSaid::Asks { asked, .. }) = read.said else { panic!("{parts:?}") };
        let mut out = Outbox::default();
        let seen = Seen { ledger: &self.book.0, roster: &self.roster };
        let mut ticket = || {
            self.last_ticket += 1;
            self.last_ticket
        };
        self.clients.asks(peer("c1"), asked, at, true, seen, &mut ticket, &mut out);
        (read.answer, out)
    }

    fn asks(&mut self, parts: &[&str]) -> (Option<Vec<Bytes>>, Outbox) {
        self.asks_at(parts, Instant::now())
    }

    fn answered(&mut self, told: Told) -> (bool, Outbox) {
        let mut out = Outbox::default();
        let is_mine = self.clients.answered(self.last_ticket, &told, &mut out);
        (is_mine, out)
    }
}

fn to_client(parts: &[&str]) -> Vec<(crate::ports::PeerId, Vec<Bytes>)> {
    vec![(peer("c1"), frames(parts))]
}

fn submitted(inputs: &[Input]) -> JobId {
    let [Input::Ask { request: Request::Submit { job, .. }, .. }] = inputs else { panic!("{inputs:?}") };
    *job
}

#[test]
fn an_evaluation_is_acknowledged_at_the_port_and_accepted_when_it_is_decided() {
    let mut room = Room::new();
    let (ack, out) = room.asks(EVAL);
    assert_eq!(ack, Some(frames(&["ack"])));
    assert!(out.letters.is_empty(), "nothing is decided yet");
    let [Input::Ask { request: Request::Submit { spec, key: None, .. }, .. }] = &out.inputs[..] else {
        panic!("{:?}", out.inputs);
    };
    let asked = spec.more.recodex.as_ref().expect("it is an evaluation");
    assert_eq!(
        (spec.class.as_str(), asked.id.as_str(), asked.notify, spec.max_attempts),
        (CLASS, "j1", true, 3)
    );
    assert_eq!(asked.frames_of(&spec.payload), frames(&["a", "r"]));
    let job = submitted(&out.inputs);
    let (is_mine, out) = room.answered(Told::Answer(Answer::Accepted { job, replayed: false }));
    assert_eq!((is_mine, said(&out.letters)), (true, to_client(&["accept"])));
    assert!(out.monitored.is_empty() && room.clients.deadline().is_none());
    assert!(!room.answered(Told::Busy).0, "each is told once");
}

#[test]
fn each_refusal_is_a_reject_with_its_reason_and_only_the_frozen_one_is_nothing_to_the_monitor() {
    let no_worker = "No worker available for given headers: env=c; hwgroup=group1; ";
    let table = [
        (Refusal::Frozen, "The broker is frozen.", 0),
        (Refusal::NoWorker, no_worker, 1),
        (Refusal::Full, "Too many jobs wait already.", 1),
        (Refusal::Starting, "The job cannot be taken yet: the cluster is starting.", 1),
        (Refusal::Short("disk".to_owned()), "The job cannot be taken: disk", 1),
        (Refusal::Withdrawn, "The job cannot be taken now.", 1),
    ];
    for (refusal, why, monitored) in table {
        let mut room = Room::new();
        room.asks(EVAL);
        let (_, out) = room.answered(Told::Answer(Answer::Refused(refusal)));
        assert_eq!(said(&out.letters), to_client(&["reject", why]));
        assert_eq!(out.monitored, vec![frames(&["j1", "FAILED"]); monitored], "{why}");
        assert!(out.orders.is_empty(), "it never was");
    }
}

#[test]
fn without_a_verdict_in_time_it_is_rejected_and_taken_back_and_never_accepted() {
    let mut room = Room::new();
    let at = Instant::now();
    let (_, out) = room.asks_at(EVAL, at);
    let job = submitted(&out.inputs);
    let due = room.clients.deadline().expect("a verdict is due");
    assert!(due > at && due < at + Duration::from_secs(1), "a front end waits a second");
    let mut out = Outbox::default();
    room.clients.overdue(due.checked_sub(Duration::from_millis(1)).expect("later"), &mut out);
    assert!(out.letters.is_empty() && out.orders.is_empty());
    room.clients.overdue(due, &mut out);
    let why = "The job cannot be taken now: no majority answered in time.";
    assert_eq!(said(&out.letters), to_client(&["reject", why]));
    assert_eq!(out.monitored, [frames(&["j1", "FAILED"])]);
    assert_eq!(out.orders, [Order::Withdraw { of: 1, job }]);
    let (is_mine, late) = room.answered(Told::Answer(Answer::Accepted { job, replayed: false }));
    assert!(!is_mine && late.letters.is_empty());
    let (_, out) = room.asks_at(EVAL, at.checked_sub(Duration::from_secs(1)).expect("the clock runs"));
    assert_eq!(said(&out.letters), to_client(&["reject", why]), "too late already: nobody is asked");
    assert!(out.inputs.is_empty() && out.orders.is_empty());
}

#[test]
fn what_nobody_decided_is_rejected_and_taken_back_too() {
    let mut room = Room::new();
    let job = submitted(&room.asks(EVAL).1.inputs);
    let (_, out) = room.answered(Told::NoQuorum { handed_over: true });
    assert_eq!(out.orders, [Order::Withdraw { of: 1, job }]);
    assert_eq!(out.letters.len(), 1);
}

#[test]
fn a_withdrawal_is_asked_for_until_it_is_decided() {
    let (mut orders, mut last_ticket) = (Orders::default(), 7);
    let mut ticket = || {
        last_ticket += 1;
        last_ticket
    };
    let order = Order::Withdraw { of: 1, job: JobId(5) };
    let given = orders.give(order, ticket());
    assert!(matches!(given, Some(Input::Withdraw { ticket: 8, of: 1, job: JobId(5) })), "{given:?}");
    assert!(orders.again(&mut ticket).is_empty(), "it is on its way");
    assert!(orders.answered(8, &Told::NoQuorum { handed_over: true }) && !orders.answered(8, &Told::Busy));
    let again = orders.again(&mut ticket);
    assert!(matches!(again[..], [Input::Withdraw { ticket: 9, of: 1, job: JobId(5) }]), "{again:?}");
    assert!(orders.answered(9, &Told::Answer(Answer::Done)) && orders.again(&mut ticket).is_empty());
}

#[test]
fn what_cannot_be_read_as_a_job_is_acknowledged_all_the_same() {
    let long = "x".repeat(RECODEX_ID_BYTES + 1);
    let table: [(&[&str], usize); 4] =
        [(&["eval"], 0), (&["eval", "j1"], 0), (&["eval", "j1", "env=c"], 0), (&["eval", &long, "", "a"], 1)];
    for (parts, rejects) in table {
        let mut room = Room::new();
        let (ack, out) = room.asks(parts);
        assert_eq!(ack, Some(frames(&["ack"])), "{parts:?}");
        assert!(out.inputs.is_empty() && out.letters.len() == rejects, "{out:?}");
    }
    let (answer, out) = Room::new().asks(&["hello"]);
    assert!(answer.is_none() && out.letters.is_empty() && out.inputs.is_empty());
}

#[test]
fn freezing_is_acknowledged_when_the_cluster_has_done_it() {
    for (word, frozen) in [("freeze", true), ("unfreeze", false)] {
        let mut room = Room::new();
        let (answer, out) = room.asks(&[word]);
        assert!(answer.is_none() && out.letters.is_empty());
        let [Input::Ask { request: Request::Recodex(ClusterOrder::Freeze { frozen: asked }), .. }] =
            out.inputs[..]
        else {
            panic!("{:?}", out.inputs);
        };
        assert_eq!(asked, frozen);
        let (_, out) = room.answered(Told::Answer(Answer::Done));
        assert_eq!(said(&out.letters), to_client(&["ack"]));
    }
    let mut room = Room::new();
    room.asks(&["freeze"]);
    let (is_mine, out) = room.answered(Told::NoQuorum { handed_over: false });
    assert!(is_mine && out.letters.is_empty(), "nobody may think that it is done");
}

#[test]
fn the_counts_are_the_clusters() {
    let mut room = Room::new();
    let node = |id, alive, workers| {
        let pool = protocol::recodex::Pool { workers, headers: protocol::recodex::Headers::new() };
        let offer = Offer { pools: [(1, pool)].into(), ..Offer::default() };
        let load = protocol::Load::default();
        NodeLoad { id, alive, offer, load, running: 0, progress: Vec::new() }
    };
    room.roster = vec![node(HERE, true, 2), node(ELSEWHERE, true, 3), node(protocol::NodeId(3), false, 9)];
    (1..=3).for_each(|job| room.book.submit(job));
    room.book.assign(1, 1, HERE, BOOT);
    room.book.assign(2, 1, HERE, BOOT);
    room.book.finish(1, 1, protocol::recodex::outcome("OK", "").expect("known"));
    let is_done = |job: &Job| job.state.is_terminal();
    assert!(room.book.0.job(JobId(1)).is_some_and(|job| is_done(&job)));
    let (_, out) = room.asks(&["get-runtime-stats"]);
    let stats = wire::Stats {
        evaluated: 1,
        failed: 0,
        idle: 4,
        in_progress: 1,
        queued: 1,
        workers: 5,
        frozen: false,
    };
    assert_eq!(out.letters[0].frames, stats.frames());
}
