//! Members come, go, and come back.

use super::world::World;

#[test]
fn one_voter_becomes_three_by_a_joint_change() {
    let mut world = World::new(1);
    world.run_until("a leader", |world| world.leader() == Some(1));
    for _ in 0..30 {
        assert!(world.propose(1));
    }
    world.start(2);
    world.start(3);
    assert!(world.change_members(1, &[1, 2, 3], &[]));
    assert!(!world.change_members(1, &[1, 2], &[]), "one change at a time");
    world.run_until("three voters", |world| {
        [1, 2, 3].iter().all(|id| {
            let status = world.status(*id);
            status.voters.len() == 3 && !status.joint && status.learners.is_empty()
        })
    });
    assert!(world.transcript.contains("kind: Members, data: b\"\""), "the joint state was entered and left");
    // Three voters survive the loss of one.
    world.crash(1);
    world.run_until("another leader", |world| world.leader().is_some());
    let leader = world.leader().unwrap();
    assert!(world.propose(leader));
    world.run_until("the command", |world| world.applied(leader).len() == 31);
}

#[test]
fn a_learner_catches_up_and_does_not_vote() {
    let mut world = World::new(2);
    world.run_until("a leader", |world| world.leader() == Some(1));
    for _ in 0..200 {
        assert!(world.propose(1));
    }
    world.start(2);
    assert!(world.change_members(1, &[1], &[2]));
    world.run_until("the learner has all", |world| world.applied(2).len() == 200);
    world.run(3);
    let status = world.status(1);
    assert_eq!(status.learners, [consensus::Peer(2)]);
    assert_eq!(status.progress[1].0, consensus::Peer(2));
    assert_eq!(status.progress[1].1, status.last_index);
    // Alone, a learner never stands.
    world.crash(1);
    world.run(100);
    assert_eq!(world.leader(), None);
    assert_eq!(world.status(2).role, consensus::Role::Follower);
    // And the sole voter comes back with all it had.
    world.start(1);
    world.run_until("the leader is back", |world| world.leader() == Some(1));
    assert_eq!(world.applied(1).len(), 200);
}

#[test]
fn a_dead_voter_is_replaced_in_one_change() {
    let mut world = World::of_three(3);
    world.start(4);
    let leader = world.leader().unwrap();
    let dead = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    world.crash(dead);
    let voters: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|id| *id != dead).collect();
    assert!(world.change_members(leader, &voters, &[]));
    world.run_until("the newcomer votes", |world| {
        let status = world.status(4);
        !status.joint && status.voters.iter().map(|peer| peer.0).eq(voters.iter().copied())
    });
}

#[test]
fn a_removed_node_disturbs_nobody_and_can_come_back() {
    let mut world = World::of_three(4);
    let leader = world.leader().unwrap();
    let out = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != out).collect();
    assert!(world.change_members(leader, &rest, &[]));
    world.run_until("two voters", |world| rest.iter().all(|id| world.status(*id).voters.len() == 2));
    let term = world.status(leader).term;
    // It may still take itself for a voter, and asks in vain.
    world.run(100);
    assert_eq!((world.leader(), world.status(leader).term), (Some(leader), term));
    world.crash(out);
    world.start(out);
    world.run(100);
    assert_eq!((world.leader(), world.status(leader).term), (Some(leader), term));
    assert!(world.propose(leader));
    assert!(world.change_members(leader, &[1, 2, 3], &[]));
    world.run_until("three voters again", |world| {
        let status = world.status(out);
        status.voters.len() == 3 && !status.joint && status.applied == world.status(leader).applied
    });
}

#[test]
fn a_leader_that_removes_itself_hands_over() {
    for remains in [&[2, 3][..], &[2]] {
        let mut world = World::of_three(5);
        let leader = world.leader().unwrap();
        let voters: Vec<u64> = match remains.len() {
            2 => [1, 2, 3].into_iter().filter(|id| *id != leader).collect(),
            _ => [1, 2, 3].into_iter().find(|id| *id != leader).into_iter().collect(),
        };
        assert!(world.change_members(leader, &voters, &[leader]));
        world.run_until("another leader", |world| world.leader().is_some_and(|now| voters.contains(&now)));
        world.run_until("the old one follows", |world| {
            let status = world.status(leader);
            status.learners.contains(&consensus::Peer(leader))
                && status.leader.is_some_and(|at| at.0 != leader)
        });
        let now = world.leader().unwrap();
        assert!(world.propose(now));
        world.run_until("the learner hears", |world| !world.applied(leader).is_empty());
    }
}

#[test]
fn a_restarted_voter_stays_in_the_joint_state_it_was_in() {
    // The founder loses its memory right after the change that made it one of three: it must never lead alone again.
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.run_until("a leader", |world| world.leader() == Some(1));
        world.start(2);
        world.start(3);
        assert!(world.change_members(1, &[1, 2, 3], &[]));
        let steps = seed % 12;
        world.run(steps);
        world.crash(1);
        world.run(seed % 5);
        world.start(1);
        world.run_until("somebody leads", |world| world.leader().is_some());
        let leader = world.leader().unwrap();
        if world.propose(leader) {
            world.run(60);
        }
        assert_eq!(world.violation, None, "seed {seed}");
    }
}
