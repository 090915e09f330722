//! One seed is one history, byte by byte; and no history breaks what consensus promises.

#[cfg(test)]
mod chance;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod world;

#[cfg(test)]
mod histories {
    use super::world::World;

    /// How many; more by an environment variable.
    fn count(name: &str, usual: u64) -> u64 {
        std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
    }

    /// Three voters through loss, delay, partition, crashes with torn writes, commands, reads and (odd seeds) changes of
    /// members; then peace, in which all
    /// must come to the same.
    pub(crate) fn history(seed: u64, mutate: impl FnOnce(&mut World)) -> World {
        let mut world = World::of_three(seed);
        mutate(&mut world);
        world.start(4);
        world.loss = world.chance.below(20);
        world.delay = 2 + world.chance.below(40);
        world.sync = 2 + world.chance.below(40);
        for _ in 0..600 {
            world.run(1);
            if world.violation.is_some() {
                return world;
            }
            disturb(&mut world);
            if seed % 2 == 1 && world.chance.percent(3) {
                change_members(&mut world);
            }
        }
        calm(&mut world);
        world
    }

    /// To any part of the four nodes.
    fn change_members(world: &mut World) {
        let Some(leader) = world.leader() else { return };
        let (mut voters, mut learners) = (Vec::new(), Vec::new());
        for id in 1..=4 {
            match world.chance.below(3) {
                0 => learners.push(id),
                1 => voters.push(id),
                _ => {}
            }
        }
        world.change_members(leader, &voters, &learners);
    }

    fn disturb(world: &mut World) {
        let id = 1 + world.chance.below(4);
        match world.chance.below(100) {
            0..3 => world.crash(id),
            3..12 if !world.runs(id) => world.start(id),
            12..14 => world.cut_off = vec![id],
            14..22 => world.cut_off.clear(),
            22..30 if world.runs(id) => {
                world.read(id);
            }
            30..32 if world.runs(id) => {
                let to = consensus::Peer(1 + world.chance.below(3));
                let _ = world.mind(id).transfer(to);
            }
            32..36 if world.runs(id) => {
                let gone = consensus::Peer(1 + world.chance.below(3));
                let after = world.chance.below(3) as usize;
                world.mind(id).leader_gone(gone, after);
            }
            36..38 if world.runs(id) => {
                let peer = consensus::Peer(1 + world.chance.below(3));
                world.mind(id).unreachable(peer);
            }
            38..100 if world.runs(id) => {
                world.propose(id);
            }
            _ => {}
        }
    }

    fn calm(world: &mut World) {
        world.cut_off.clear();
        (world.loss, world.delay, world.sync) = (0, 8, 6);
        for id in 1..=4 {
            if !world.runs(id) && world.violation.is_none() {
                world.start(id);
            }
        }
        if world.violation.is_some() {
            return;
        }
        let mut marked = false;
        for _ in 0..500 {
            world.run(1);
            if world.violation.is_some() {
                return;
            }
            let Some(leader) = world.leader() else { continue };
            let status = world.status(leader);
            if status.voters.len() != 3 || status.learners.len() != 1 || status.joint {
                world.change_members(leader, &[1, 2, 3], &[4]);
            } else if !marked {
                marked = world.propose(leader);
            }
        }
        let ids = [1, 2, 3, 4];
        let commits = ids.map(|id| world.status(id).commit);
        let same = ids.iter().all(|id| world.applied(*id) == world.applied(1));
        if !same || !marked || commits.iter().any(|commit| *commit != commits[0]) {
            let at = ids.map(|id| world.status(id));
            world.violation = Some(format!("no agreement after the calm: {at:#?}"));
        }
    }

    #[test]
    fn one_seed_gives_one_history_byte_by_byte() {
        for seed in 1..=6 {
            let (first, second) = (history(seed, |_| ()), history(seed, |_| ()));
            assert_eq!(first.violation, None);
            assert!(first.transcript.len() > 100_000, "something happened: {} bytes", first.transcript.len());
            assert!(first.transcript == second.transcript, "seed {seed} gave two histories");
            let other = history(seed + 100, |_| ());
            assert!(first.transcript != other.transcript, "two seeds gave one history");
        }
    }

    #[test]
    fn no_history_breaks_a_promise() {
        let seeds = count("HISTORIES", 150);
        let (mut crashes, mut reads, mut commands) = (0, 0, 0);
        let (mut restored, mut recycled) = (0, 0);
        for seed in 1000..1000 + seeds {
            let world = history(seed, |_| ());
            assert_eq!(world.violation, None);
            crashes += world.crashes;
            restored += world.restored;
            recycled += world.recycled;
            reads += world.reads_answered;
            commands += world.applied(1).len();
        }
        assert!(
            crashes > seeds && reads > seeds && commands > seeds as usize,
            "{crashes} {reads} {commands}"
        );
        assert!(restored > seeds / 4 && recycled > seeds / 2, "{restored} {recycled}");
        println!(
            "{seeds} histories: {commands} commands, {reads} reads, {crashes} crashes, {restored} logs replaced by a snapshot, {recycled} segments recycled"
        );
    }

    /// A lying peer may break agreement, as nothing here is signed; it must not be able to stop a node.
    #[test]
    fn no_forged_message_stops_a_node() {
        let mut commands = 0;
        for seed in 5000..5000 + count("FORGED", 200) {
            let mut world = World::of_three(seed);
            world.forged = 20;
            for _ in 0..200 {
                world.run(1);
                let id = 1 + world.chance.below(3);
                if world.chance.percent(30) {
                    world.read(id);
                } else {
                    world.propose(id);
                }
            }
            commands += world.applied(1).len();
        }
        assert!(commands > 1000, "most clusters went on: {commands}");
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn each_mutant_is_noticed() {
        use consensus::Mutant;
        for mutant in [Mutant::MessagesBeforeSync, Mutant::LeadBeforeOwnEntry] {
            let noticed =
                (1..300).find_map(|seed| history(seed, |world| world.mutant = Some(mutant)).violation);
            println!("{mutant:?}: {noticed:?}");
            assert!(noticed.is_some(), "{mutant:?} goes unnoticed");
        }
    }
}
