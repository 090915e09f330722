//! What the three minds of one node say to each other and to the outside.

use std::collections::BTreeMap;

use protocol::{Boot, Envelope, JobId, Load, Member, NodeId, Offer, Report, Request, ToMaster, ToNode};

use crate::{Cast, Input, Output, Settings, Windows};

const WALL_MS: u64 = 1_700_000_000_000;

fn settings() -> Settings {
    let address = |port: u16| format!("127.0.0.1:{port}");
    Settings {
        member: Member {
            id: NodeId(1),
            number: 0,
            boot: Boot(1),
            name: "one".to_string(),
            http: address(3002),
            link: address(9991),
            broker: address(9990),
        },
        founder: NodeId(1),
        seed: 1,
        tick_ms: 50,
        heartbeat_ticks: 2,
        election_ticks: 10,
        expect: 1,
        voters: 1,
        replace_after_ms: 10_000,
        offer: Offer::default(),
        windows: Windows { default_ms: 2_000, by_class: BTreeMap::new() },
        entry_full_bytes: master::limits::ENTRY_FULL_BYTES,
        guests_live_ms: 4_000,
        runs_jobs: master::RunsJobs::Auto,
        policy: master::Policy::Single,
        max_offers: 1,
        disk: master::DiskBounds::default(),
        bounds: master::Bounds::default(),
        retention: master::Retention::default(),
        hold_dispatch: false,
        mutant: None,
    }
}

/// One turn on a disk that syncs at once; what else is to be done.
fn turn(cast: &mut Cast) -> Vec<Output> {
    let mut done = Vec::new();
    loop {
        let outputs = cast.turn(WALL_MS);
        if outputs.is_empty() {
            return done;
        }
        for output in outputs {
            match output {
                Output::Write(write) => cast.handle(Input::Synced(write.number), WALL_MS),
                other => done.push(other),
            }
        }
    }
}

fn leader() -> Cast {
    leader_with(settings())
}

fn leader_with(settings: Settings) -> Cast {
    let mut cast = Cast::open(settings, None, Vec::new()).expect("these settings are good");
    for _ in 0..100 {
        cast.handle(Input::Tick, WALL_MS);
        turn(&mut cast);
        if cast.is_master() {
            return cast;
        }
    }
    panic!("a sole voter leads within five seconds");
}

fn report(cast: &Cast, session: u64, number: u64) -> Input {
    let report = Report {
        number,
        echo: 0,
        held: Vec::new(),
        kept: Vec::new(),
        back: Vec::new(),
        offer: Offer::default(),
        load: Load::default(),
        checkpoint: None,
        waiting: Vec::new(),
        progress: Vec::new(),
        pools: Vec::new(),
    };
    let (from, boot, term) = (NodeId(2), Boot(1), cast.term());
    Input::ToMaster(Envelope { from, boot, session, term, body: ToMaster::Report(report.into()) })
}

/// Found by a pretended pause of a leader: it took the reports of a session that had ended, and those of the next one, in one
/// turn, and sent the answers to all of them in the new session. There the worker took their high numbers for news and heard
/// none of the true answers for seconds, so that its attempts were taken from it while it ran them.
#[test]
fn an_answer_leaves_in_the_session_of_its_report() {
    let mut cast = leader();
    for (session, number) in [(1, 7), (1, 8), (2, 1)] {
        let heard = report(&cast, session, number);
        cast.handle(heard, WALL_MS);
    }
    assert_eq!(answers(turn(&mut cast)), [(1, 7, 1), (1, 8, 2), (2, 1, 1)]);
}

/// Found by a pretended pause of a leader too: what it says in doubt stays with it until it is confirmed, and by then a session
/// had ended. The answers to its reports left in the next one, with the same harm.
#[test]
fn a_leader_in_doubt_keeps_no_answers_for_another_session() {
    let mut cast = leader();
    cast.handle(Input::Late, WALL_MS);
    for (session, number) in [(1, 7), (1, 8), (2, 1)] {
        let heard = report(&cast, session, number);
        cast.handle(heard, WALL_MS);
    }
    assert_eq!(answers(turn(&mut cast)), [(2, 1, 1)]);
}

fn ask(cast: &mut Cast, jobs: std::ops::Range<u128>) {
    for job in jobs {
        let spec = std::sync::Arc::new(protocol::submit::defaults("echo"));
        let request = Request::Submit { job: JobId(job), spec, key: None, fingerprint: [0; 32] };
        cast.handle(Input::Ask { ticket: job as u64, request }, WALL_MS);
    }
}

/// Lets the minds turn until they want nothing more; the number of the last write if one of the writes has an entry.
fn write(cast: &mut Cast) -> Option<u64> {
    let mut written = None;
    let mut has_entry = false;
    loop {
        let outputs = cast.turn(WALL_MS);
        if outputs.is_empty() {
            return written.filter(|_| has_entry);
        }
        for output in outputs {
            if let Output::Write(write) = output {
                written = Some(write.number);
                has_entry |= !write.entries.is_empty();
            }
        }
    }
}

fn settled_leader() -> Cast {
    settled(leader())
}

/// Once it has joined itself and has nothing left to do of its own.
fn settled(mut cast: Cast) -> Cast {
    for _ in 0..100 {
        cast.handle(Input::Tick, WALL_MS);
        turn(&mut cast);
    }
    assert!(cast.ledger().is_open() && cast.gathers().is_none());
    cast
}

/// A leader with an entry of four submissions on its way to the disk, and a fifth behind it. The number of the write, and the next job.
fn leader_with_four_under_way() -> (Cast, u64, u128) {
    let mut cast = settled_leader();
    for job in (1..).step_by(4).take(100) {
        ask(&mut cast, job..job + 4);
        let number = write(&mut cast).expect("four submissions are an entry");
        // What it waited for in vain in its first moments is forgiven by now.
        if job > 80 {
            ask(&mut cast, job + 4..job + 5);
            assert_eq!((write(&mut cast), cast.has_enough_under_way()), (None, true), "one entry at a time");
            return (cast, number, job + 5);
        }
        cast.handle(Input::Synced(number), WALL_MS);
        assert_eq!(write(&mut cast), None);
    }
    unreachable!("the eightieth job is among the first hundred entries")
}

#[test]
fn half_of_those_who_were_answered_are_waited_for_before_the_next_entry() {
    let (mut cast, number, next) = leader_with_four_under_way();
    let before = cast.ledger().open_jobs();
    cast.handle(Input::Synced(number), WALL_MS);
    assert_eq!(write(&mut cast), None, "four were answered and may ask again");
    assert!(cast.gathers().is_some() && !cast.has_enough_under_way(), "so the body listens");
    ask(&mut cast, next..next + 1);
    assert_eq!(write(&mut cast), None);
    ask(&mut cast, next + 1..next + 2);
    let number = write(&mut cast).expect("all three go together");
    assert_eq!((cast.gathers(), cast.ledger().open_jobs()), (None, before + 4));
    cast.handle(Input::Synced(number), WALL_MS);
    cast.turn(WALL_MS);
    assert_eq!(cast.ledger().open_jobs(), before + 7);
}

#[test]
fn nobody_waits_for_others_longer_than_the_body_lets_them_nor_than_a_tick() {
    for end in [Input::Gathered, Input::Tick] {
        let (mut cast, number, _) = leader_with_four_under_way();
        cast.handle(Input::Synced(number), WALL_MS);
        assert_eq!(write(&mut cast), None);
        cast.handle(end, WALL_MS);
        assert!(write(&mut cast).is_some() && cast.gathers().is_none(), "it goes alone");
    }
}

/// What a leader says itself in an entry answers nobody.
#[test]
fn assignments_are_not_counted_among_those_who_were_answered() {
    let offer = Offer { slots: 64, classes: ["echo".to_string()].into(), ..Offer::default() };
    let mut cast = settled(leader_with(Settings { offer, ..settings() }));
    for job in (1..60).step_by(6) {
        ask(&mut cast, job..job + 4);
        let number = write(&mut cast).expect("four submissions are an entry");
        cast.handle(Input::Synced(number), WALL_MS);
        assert_eq!(write(&mut cast), None);
        assert!(cast.worker().held().count() >= 4, "they run here");
        let waits = cast.gathers().is_some();
        ask(&mut cast, job + 4..job + 6);
        let number = write(&mut cast).expect("two are half of four");
        cast.handle(Input::Synced(number), WALL_MS);
        cast.turn(WALL_MS);
        if waits {
            return;
        }
    }
    panic!("those who come in crowds are waited for");
}

/// What is whole already has nothing to wait for.
#[test]
fn a_whole_entry_is_not_held_back() {
    let (mut cast, number, next) = leader_with_four_under_way();
    let bytes = bytes::Bytes::from(vec![7; master::limits::ENTRY_FULL_BYTES]);
    let spec = protocol::JobSpec { payload: bytes, ..protocol::submit::defaults("echo") };
    let request = Request::Submit {
        job: JobId(next),
        spec: std::sync::Arc::new(spec),
        key: None,
        fingerprint: [0; 32],
    };
    cast.handle(Input::Synced(number), WALL_MS);
    assert_eq!(write(&mut cast), None);
    cast.handle(Input::Ask { ticket: next as u64, request }, WALL_MS);
    assert!(write(&mut cast).is_some() && cast.gathers().is_none());
}

#[test]
fn one_who_asks_alone_never_waits() {
    let mut cast = settled_leader();
    for job in 1..10 {
        ask(&mut cast, job..job + 1);
        let number = write(&mut cast).expect("at once");
        cast.handle(Input::Synced(number), WALL_MS);
        assert_eq!((write(&mut cast), cast.gathers()), (None, None));
    }
}

/// Session, number of the report, and own number of each answer to a report.
fn answers(outputs: Vec<Output>) -> Vec<(u64, u64, u64)> {
    let answer = |output| match output {
        Output::ToNode { envelope: Envelope { session, body: ToNode::Answered(answered), .. }, .. } => {
            Some((session, answered.report, answered.number))
        }
        _ => None,
    };
    outputs.into_iter().filter_map(answer).collect()
}
