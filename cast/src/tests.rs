//! What the three minds of one node say to each other and to the outside.

use std::collections::BTreeMap;

use protocol::{Boot, Envelope, Load, Member, NodeId, Offer, Report, ToMaster, ToNode};

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
    let mut cast = Cast::open(settings(), None, Vec::new()).expect("these settings are good");
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
