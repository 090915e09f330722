//! A leader whose process stood still, and one that leaves: what it says, and what it keeps to itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cast::{Cast, Input, Output, Settings, Windows};
use protocol::{Answer, Boot, JobId, Member, NodeId, Offer, Request, submit};
use worker::Told;

const TICK_MS: u64 = 50;
/// The first voter of the cluster.
const FOUNDER: NodeId = NodeId(1);

fn member(id: u64) -> Member {
    let at = |port: u16| format!("n{id}:{port}");
    Member {
        id: NodeId(id),
        number: 0,
        boot: Boot(1),
        name: format!("n{id}"),
        http: at(3002),
        link: at(9991),
        broker: at(9990),
    }
}

fn settings(id: u64) -> Settings {
    Settings {
        member: member(id),
        founder: FOUNDER,
        seed: id,
        tick_ms: TICK_MS,
        heartbeat_ticks: 2,
        election_ticks: 10,
        expect: 1,
        voters: 3,
        replace_after_ms: 10_000,
        offer: Offer { slots: 1, classes: BTreeSet::from(["echo".to_string()]), ..Offer::default() },
        windows: Windows::default(),
        entry_full_bytes: master::limits::ENTRY_FULL_BYTES,
        guests_live_ms: 4_000,
        runs_jobs: master::RunsJobs::Auto,
        policy: master::Policy::Single,
        max_offers: 3,
        hold_dispatch: false,
        disk: master::DiskBounds::default(),
        bounds: master::Bounds::default(),
        retention: master::Retention::default(),
        mutant: None,
    }
}

/// Three nodes that hear each other at once, unless they are cut off.
struct Three {
    casts: BTreeMap<NodeId, Cast>,
    /// Who hears no peer.
    deaf: BTreeSet<NodeId>,
    /// Whose disk takes what is written and does not come to an end with it.
    slow: BTreeSet<NodeId>,
    told: BTreeMap<(NodeId, u64), Told>,
    /// Messages that left a node as its leader's word, since they were last looked at.
    led: Vec<NodeId>,
}

impl Three {
    /// All of them vote; the first one leads.
    fn new() -> Self {
        let casts = (1..=3).map(|id| {
            let cast = Cast::open(settings(id), None, Vec::new()).expect("an empty log is a good one");
            (NodeId(id), cast)
        });
        let mut three = Self {
            casts: casts.collect(),
            deaf: BTreeSet::new(),
            slow: BTreeSet::new(),
            told: BTreeMap::new(),
            led: Vec::new(),
        };
        three.until(|three| three.cast(1).is_master());
        for id in [2, 3] {
            three.ask(1, id, Request::Join(member(id)));
        }
        three.until(|three| three.cast(1).status().voters.len() == 3 && !three.cast(1).status().joint);
        three
    }

    fn cast(&self, id: u64) -> &Cast {
        &self.casts[&NodeId(id)]
    }

    fn hand(&mut self, id: u64, input: Input) {
        self.casts.get_mut(&NodeId(id)).expect("one of three").handle(input, 0);
    }

    fn ask(&mut self, at: u64, ticket: u64, request: Request) {
        self.hand(at, Input::Ask { ticket, request });
    }

    fn submit(&mut self, at: u64, ticket: u64) {
        let spec = Arc::new(submit::defaults("echo"));
        let job = JobId(u128::from(ticket));
        self.ask(at, ticket, Request::Submit { job, spec, key: None, fingerprint: [0; 32] });
    }

    fn told(&self, at: u64, ticket: u64) -> Option<&Told> {
        self.told.get(&(NodeId(at), ticket))
    }

    /// Lets everybody speak until nobody has anything to say.
    fn settle(&mut self) {
        let mut waiting: VecDeque<NodeId> = self.casts.keys().copied().collect();
        while let Some(id) = waiting.pop_front() {
            let outputs = self.casts.get_mut(&id).expect("one of three").turn(0);
            for output in outputs {
                let (to, input) = match output {
                    Output::Peer(message) => (NodeId(message.to().0), Input::Peer(message)),
                    Output::Write(_) if self.slow.contains(&id) => continue,
                    Output::Write(write) => (id, Input::Synced(write.number)),
                    Output::ToMaster(envelope) => {
                        let leader = self.casts.iter().find(|(_, cast)| cast.is_master()).map(|(id, _)| *id);
                        (leader.unwrap_or(id), Input::ToMaster(envelope))
                    }
                    Output::ToNode { to, envelope } => {
                        self.led.push(id);
                        (to, Input::ToNode(envelope))
                    }
                    Output::Tell { ticket, told } => {
                        self.told.insert((id, ticket), told);
                        continue;
                    }
                    _ => continue,
                };
                let lost = self.deaf.contains(&to) && matches!(input, Input::Peer(_));
                if !lost {
                    self.casts.get_mut(&to).expect("one of three").handle(input, 0);
                    waiting.push_back(to);
                }
            }
        }
    }

    fn tick(&mut self) {
        self.casts.values_mut().for_each(|cast| cast.handle(Input::Tick, 0));
        self.settle();
    }

    fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("it did not come within 1,000 ticks");
    }
}

/// A majority is enough for an entry, and it need not be the leader's disk that is in it; so it is for the entries after that one.
#[test]
fn a_leader_goes_on_while_its_own_disk_is_slow() {
    let mut three = Three::new();
    three.slow.insert(FOUNDER);
    for ticket in 100..110 {
        three.submit(2, ticket);
        three.settle();
        assert!(matches!(three.told(2, ticket), Some(Told::Answer(Answer::Accepted { .. }))), "{ticket}");
    }
    assert!(
        three.cast(1).ledger().applied() < three.cast(2).ledger().applied(),
        "it has not applied them itself"
    );
}

#[test]
fn a_leader_that_was_late_says_nothing_until_a_majority_has_confirmed_it() {
    let mut three = Three::new();
    three.deaf.insert(FOUNDER);
    three.hand(1, Input::Late);
    let end = three.cast(1).status().last_index;
    three.led.clear();
    three.submit(2, 10);
    for _ in 0..4 {
        three.tick();
    }
    assert!(three.cast(1).is_master(), "nobody has said that it is not");
    assert_eq!(three.led, [], "it answers no report and no request");
    assert_eq!(three.cast(1).status().last_index, end, "it proposes nothing");
    three.deaf.clear();
    three.until(|three| three.told(2, 10).is_some());
    let accepted = Answer::Accepted { job: JobId(10), replayed: false };
    assert_eq!(three.told(2, 10), Some(&Told::Answer(accepted)));
    assert!(three.cast(1).is_master(), "it was confirmed");
}

#[test]
fn a_leader_that_was_late_and_is_replaced_says_nothing_any_more() {
    let mut three = Three::new();
    three.deaf.insert(FOUNDER);
    three.hand(1, Input::Late);
    three.led.clear();
    // It was gone for an election: the others chose meanwhile.
    for id in [2, 3] {
        three.hand(id, Input::LinkClosed { peer: FOUNDER, gone: true });
    }
    three.until(|three| three.cast(2).is_master() || three.cast(3).is_master());
    assert!(!three.led.contains(&FOUNDER), "it said something as a leader");
    three.deaf.clear();
    three.until(|three| !three.cast(1).is_master());
    three.submit(1, 11);
    three.until(|three| three.told(1, 11).is_some());
}

#[test]
fn a_leader_that_leaves_hands_over_and_may_go_when_nothing_more_comes() {
    let mut three = Three::new();
    assert!(!three.cast(1).may_go(), "nobody said that it should");
    three.hand(1, Input::Leave);
    three.settle();
    three.until(|three| three.cast(2).is_master() || three.cast(3).is_master());
    three.until(|three| three.cast(1).may_go());
    let roster = three.cast(1).roster();
    let mine = roster.iter().find(|line| line.id == FOUNDER).expect("it is a member");
    assert!(mine.offer.draining && mine.running == 0, "{mine:?}");
    // Whoever asks it until the end is served.
    three.submit(1, 12);
    assert!(!three.cast(1).may_go(), "somebody waits for an answer");
    three.until(|three| three.told(1, 12).is_some());
    three.until(|three| three.cast(1).may_go());
}

#[test]
fn a_leader_alone_goes_without_an_heir() {
    let mut alone = Cast::open(settings(1), None, Vec::new()).expect("an empty log is a good one");
    let tick = |cast: &mut Cast| {
        cast.handle(Input::Tick, 0);
        loop {
            let outputs = cast.turn(0);
            let synced = outputs.iter().filter_map(|output| match output {
                Output::Write(write) => Some(write.number),
                _ => None,
            });
            let Some(synced) = synced.max() else { break };
            cast.handle(Input::Synced(synced), 0);
        }
    };
    for _ in 0..100 {
        tick(&mut alone);
    }
    assert!(alone.is_master());
    alone.handle(Input::Leave, 0);
    for _ in 0..40 {
        tick(&mut alone);
    }
    assert!(alone.may_go());
}
