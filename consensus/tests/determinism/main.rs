//! One seed is one history, byte by byte; and no history breaks what consensus promises.

#[cfg(test)]
mod leadership;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod world;

#[cfg(test)]
mod histories {
    use super::world::World;

    /// Three voters through loss, delay, partition, crashes with torn writes, commands and reads; then peace, in which all
    /// must come to the same.
    pub(crate) fn history(seed: u64, mutate: impl FnOnce(&mut World)) -> World {
        let mut world = World::of_three(seed);
        mutate(&mut world);
        world.loss = world.chance.below(20);
        world.delay = 2 + world.chance.below(40);
        world.sync = 2 + world.chance.below(40);
        for _ in 0..600 {
            world.run(1);
            if world.violation.is_some() {
                return world;
            }
            disturb(&mut world);
        }
        calm(&mut world);
        world
    }

    fn disturb(world: &mut World) {
        let id = 1 + world.chance.below(3);
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
        for id in 1..=3 {
            if !world.runs(id) && world.violation.is_none() {
                world.start(id);
            }
        }
        if world.violation.is_some() {
            return;
        }
        let mut marked = false;
        for _ in 0..400 {
            world.run(1);
            if world.violation.is_some() {
                return;
            }
            if let Some(leader) = world.leader().filter(|_| !marked) {
                marked = world.propose(leader);
            }
        }
        let all = [1, 2, 3].map(|id| world.applied(id).to_vec());
        let commits = [1, 2, 3].map(|id| world.status(id).commit);
        if all[0] != all[1] || all[1] != all[2] || !marked || commits[0] != commits[1] {
            world.violation = Some(format!("no agreement after the calm: {commits:?}"));
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
        let seeds = std::env::var("HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(150);
        let (mut crashes, mut reads, mut commands) = (0, 0, 0);
        for seed in 1000..1000 + seeds {
            let world = history(seed, |_| ());
            assert_eq!(world.violation, None);
            crashes += world.crashes;
            reads += world.reads_answered;
            commands += world.applied(1).len();
        }
        assert!(
            crashes > seeds && reads > seeds && commands > seeds as usize,
            "{crashes} {reads} {commands}"
        );
        println!("{seeds} histories: {commands} commands, {reads} reads, {crashes} crashes");
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
