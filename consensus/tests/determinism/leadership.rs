//! Who leads, and how soon.

use consensus::{Base, Config, Consensus, Entry, Error, HardState, Kind, Peer, Refused, Restored};

use super::world::{ELECTION_TICKS, World};

#[test]
fn a_closed_link_brings_a_new_leader_long_before_the_timeout() {
    for seed in 0..20 {
        let mut world = World::of_three(100 + seed);
        // Heartbeats have just come, so a timeout is far away.
        world.run(30);
        let old = world.leader().unwrap();
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
        world.crash(old);
        world.close_links(old);
        let since = world.now_ticks();
        world.mind(others[0]).leader_gone(Peer(old), 0);
        world.mind(others[1]).leader_gone(Peer(old), 2);
        world.run_until("a new leader", |world| world.leader().is_some_and(|id| id != old));
        let took = world.now_ticks() - since;
        assert!(took < ELECTION_TICKS as u64, "took {took} ticks");
    }
}

#[test]
fn a_wrong_hint_is_harmless() {
    let mut world = World::of_three(7);
    world.run(30);
    let old = world.leader().unwrap();
    let term = world.status(old).term;
    let other = if old == 1 { 2 } else { 1 };
    world.mind(other).leader_gone(Peer(old), 0);
    world.run(60);
    assert_eq!((world.leader(), world.status(old).term), (Some(old), term));
    assert_eq!(world.status(other).leader, Some(Peer(old)));
}

#[test]
fn the_lead_is_handed_over() {
    let mut world = World::of_three(8);
    let old = world.leader().unwrap();
    let to = if old == 1 { 2 } else { 1 };
    assert_eq!(world.mind(to).transfer(Peer(old)), Err(Refused::NotLeader));
    assert_eq!(world.mind(old).transfer(Peer(9)), Err(Refused::Invalid));
    world.mind(old).transfer(Peer(to)).unwrap();
    let since = world.now_ticks();
    world.run_until("the heir leads", |world| world.leader() == Some(to));
    assert!(world.now_ticks() - since < ELECTION_TICKS as u64);
}

#[test]
fn a_leader_without_a_majority_steps_down() {
    let mut world = World::of_three(9);
    let old = world.leader().unwrap();
    world.cut_off = vec![old];
    world.run_until("the others lead", |world| world.leader().is_some_and(|id| id != old));
    world.run(3 * ELECTION_TICKS as u64);
    assert_ne!(world.status(old).role, consensus::Role::Leader);
    assert!(!world.propose(old));
}

#[test]
fn any_node_answers_a_linearizable_read() {
    let mut world = World::of_three(10);
    let leader = world.leader().unwrap();
    assert!(world.propose(leader));
    world.run(20);
    for id in 1..=3 {
        assert!(world.read(id));
    }
    world.run_until("three answers", |world| world.reads_answered == 3);
}

#[test]
fn followers_do_not_forward_proposals() {
    let mut world = World::of_three(11);
    let leader = world.leader().unwrap();
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        assert_eq!(world.mind(id).propose(b"x".as_slice().into()), Err(Refused::NotLeader));
        assert_eq!(world.mind(id).change_members(&[Peer(1)], &[]), Err(Refused::NotLeader));
    }
    assert_eq!(world.mind(leader).propose(Vec::new().into()), Err(Refused::Invalid));
}

#[test]
fn a_log_that_contradicts_itself_does_not_open() {
    let config = || Config { id: Peer(1), seed: 1, heartbeat_ticks: 2, election_ticks: 10, mutant: None };
    let entry = |index, term| Entry { term, index, kind: Kind::Normal, data: b"x".as_slice().into() };
    let open = |entries, term, commit| {
        let hard = Some(HardState { term, vote: None, commit });
        Consensus::open(config(), Restored { base: Base::founded(Peer(1)), hard, entries }).map(|_| ())
    };
    assert_eq!(open(vec![entry(2, 2)], 2, 2), Ok(()));
    assert!(matches!(open(vec![entry(3, 2)], 2, 1), Err(Error::Restored(_))));
    assert!(matches!(open(vec![entry(2, 3)], 2, 1), Err(Error::Restored(_))));
    assert!(matches!(open(vec![entry(2, 2)], 2, 3), Err(Error::Restored(_))));
    let nobody = Config { id: Peer(0), ..config() };
    assert!(matches!(Consensus::open(nobody, Restored::default()), Err(Error::Settings(_))));
    let nowhere = Restored::default();
    assert!(matches!(Consensus::open(config(), nowhere), Err(Error::Restored(_))));
    let hasty = Config { election_ticks: 2, ..config() };
    let founder = Restored { base: Base::founded(Peer(1)), ..Restored::default() };
    assert!(matches!(Consensus::open(hasty, founder), Err(Error::Settings(_))));
}

#[test]
fn a_sole_voter_says_nothing_of_its_term_before_that_is_on_disk() {
    let mut world = World::new(12);
    world.run_until("a leader", |world| world.leader() == Some(1));
    world.start(2);
    assert!(world.change_members(1, &[1], &[2]));
    world.run_until("a learner", |world| world.status(2).learners.len() == 1);
    world.crash(1);
    let before = world.transcript.len();
    world.start(1);
    // From here on the disk takes for ever.
    world.sync = u64::MAX >> 16;
    world.run(3 * ELECTION_TICKS as u64);
    assert_eq!(world.status(1).role, consensus::Role::Leader);
    // It could be elected a second time in this term after a crash, and make other entries of the same index and term.
    let said = &world.transcript[before..];
    assert!(!said.contains("from: Peer(1)"), "{said}");
    assert_eq!(world.leader(), None);
}
