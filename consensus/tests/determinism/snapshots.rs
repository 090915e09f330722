//! Snapshots in the pretend cluster: each node takes them now and then, keeps the newest two, lets its log go before
//! them, and fetches one from a peer when it is told to.

use consensus::{Base, Entry, Peer};

use super::world::{Disk, ELECTION_TICKS, World};

/// A snapshot is due after so many bytes of commands.
const DUE_BYTES: u64 = 300;
/// Bytes of entries that stay for peers a little behind.
const MARGIN_BYTES: u64 = 200;

/// What was applied up to a place.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) base: Base,
    pub(crate) applied: Vec<Entry>,
}

pub(crate) enum Event {
    /// It is safe on the node's own disk.
    Written { node: u64, boot: u64, snapshot: Snapshot },
    /// A peer's is there, whole, or not.
    Fetched { node: u64, boot: u64, from: u64, base: Base },
}

impl Disk {
    pub(crate) fn newest_snapshot(&self) -> Snapshot {
        let none = || Snapshot { base: Base::founded(Peer(1)), applied: Vec::new() };
        self.snapshots.last().cloned().unwrap_or_else(none)
    }

    fn keep(&mut self, snapshot: Snapshot) {
        self.snapshots.retain(|old| old.base.index < snapshot.base.index);
        self.snapshots.push(snapshot);
        if self.snapshots.len() > 2 {
            self.snapshots.remove(0);
        }
    }
}

impl World {
    /// Begins a snapshot when one is due or wanted.
    pub(crate) fn maybe_snapshot(&mut self, id: u64) {
        let bound = self.snapshot_bytes.unwrap_or(DUE_BYTES);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let wanted = node.mind.newer_snapshot_wanted();
        if node.snapshotting || !(wanted || node.mind.bytes_after_snapshot() > bound) {
            return;
        }
        node.snapshotting = true;
        let snapshot = Snapshot { base: node.mind.begin_snapshot(), applied: node.applied.clone() };
        let time = 1 + self.chance.below(60);
        let boot = self.boots[&id];
        self.after(time, super::world::Event::Snapshot(Event::Written { node: id, boot, snapshot }));
    }

    pub(crate) fn fetch(&mut self, id: u64, from: u64, base: Base) {
        let time = 1 + self.chance.below(40 + self.delay);
        let boot = self.boots[&id];
        self.fetches += 1;
        self.after(time, super::world::Event::Snapshot(Event::Fetched { node: id, boot, from, base }));
    }

    pub(crate) fn snapshot_event(&mut self, event: Event) {
        match event {
            Event::Written { node, boot, snapshot } => self.written(node, boot, snapshot),
            Event::Fetched { node, boot, from, base } => self.fetched(node, boot, from, &base),
        }
    }

    fn written(&mut self, id: u64, boot: u64, snapshot: Snapshot) {
        if self.boots[&id] != boot || !self.runs(id) {
            return;
        }
        let disk = self.disks.get_mut(&id).expect("a disk");
        let before = disk.newest_snapshot().base.index;
        let base = snapshot.base.clone();
        let node = self.nodes.get_mut(&id).expect("the node runs");
        node.snapshotting = false;
        if base.index <= before {
            return;
        }
        disk.keep(snapshot);
        node.mind.compact(base, MARGIN_BYTES);
        // The log stays long enough for the older one too.
        for segment in node.writer.forget(before) {
            disk.files.remove(&segment);
            self.recycled += 1;
        }
        self.turn(id);
    }

    fn fetched(&mut self, id: u64, boot: u64, from: u64, base: &Base) {
        if self.boots[&id] != boot || !self.runs(id) {
            return;
        }
        let lost =
            self.chance.percent(self.loss) || self.cut_off.contains(&from) || self.cut_off.contains(&id);
        let found = self.disks.get(&from).filter(|_| !lost && self.nodes.contains_key(&from));
        let found = found.and_then(|disk| disk.snapshots.iter().find(|has| has.base == *base).cloned());
        match found {
            Some(snapshot) => {
                self.disks.get_mut(&id).expect("a disk").keep(snapshot);
                // A node may end between the two.
                if self.chance.percent(self.loss) {
                    self.crash(id);
                    return;
                }
                self.mind(id).snapshot_ready(base.index);
            }
            None => self.mind(id).snapshot_failed(base.index),
        }
        self.turn(id);
    }

    pub(crate) fn restore(&mut self, id: u64, base: &Base) {
        let disk = &self.disks[&id];
        let Some(snapshot) = disk.snapshots.iter().find(|has| has.base == *base).cloned() else {
            return self.violated(format!("node {id} is to be as of {base:?}, which is not on its disk"));
        };
        let node = self.nodes.get_mut(&id).expect("the node runs");
        if node.applied.last().map_or(0, |last| last.index) > base.index {
            return self.violated(format!("node {id} goes back to {base:?}"));
        }
        node.applied = snapshot.applied;
        self.restored += 1;
    }
}

#[test]
fn a_voter_that_was_away_is_brought_up_by_a_snapshot_and_then_by_the_log() {
    for seed in 40..60 {
        let mut world = World::of_three(seed);
        let leader = world.leader().unwrap();
        let away = if leader == 1 { 2 } else { 1 };
        world.crash(away);
        for _ in 0..300 {
            assert!(world.propose(leader));
            world.run(1);
        }
        assert!(world.recycled > 0, "segments before the snapshots are gone");
        let kept = world.disks[&leader].files.len();
        assert!(kept <= 6, "{kept} segments are kept");
        world.start(away);
        world.run_until("all of it", |world| world.applied(away).len() >= 300);
        assert!(world.restored > 0 && world.fetches > 0);
        // It is a voter as any other: with it and without the third, commands go on.
        let third = 6 - leader - away;
        world.crash(third);
        assert!(world.propose(leader));
        world.run_until("one more", |world| world.applied(away).len() >= 301);
        // And what it has, it has for good.
        world.crash(away);
        world.start(away);
        world.run_until("the same again", |world| world.applied(away).len() >= 301);
    }
}

#[test]
fn a_newcomer_gets_a_snapshot_that_names_it() {
    let mut world = World::of_three(61);
    let leader = world.leader().unwrap();
    for _ in 0..100 {
        assert!(world.propose(leader));
        world.run(1);
    }
    // From here on none is due by size.
    world.snapshot_bytes = Some(u64::MAX);
    world.run(20);
    world.start(4);
    assert!(world.change_members(leader, &[1, 2, 3], &[4]));
    world.run_until("the newcomer has all", |world| world.applied(4).len() >= 100);
    assert!(world.restored > 0);
    assert_eq!(world.status(4).learners, [Peer(4)]);
}

#[test]
fn a_lost_snapshot_message_is_made_up_for() {
    let mut world = World::of_three(62);
    let leader = world.leader().unwrap();
    let away = if leader == 1 { 2 } else { 1 };
    world.crash(away);
    for _ in 0..200 {
        assert!(world.propose(leader));
        world.run(1);
    }
    world.start(away);
    // Whatever snapshot is named to it is lost on the way, for a time; heartbeats are not.
    world.snapshots_lost = true;
    world.run(12 * ELECTION_TICKS as u64);
    assert_eq!((world.restored, world.fetches), (0, 0));
    world.snapshots_lost = false;
    world.run_until("all of it", |world| world.applied(away).len() >= 200);
    assert!(world.restored > 0);
}

#[test]
fn a_restart_goes_on_from_the_newest_snapshot_or_the_one_before() {
    let mut world = World::of_three(63);
    let leader = world.leader().unwrap();
    for _ in 0..200 {
        assert!(world.propose(leader));
        world.run(1);
    }
    world.run(20);
    let other = if leader == 1 { 2 } else { 1 };
    for older in [false, true] {
        world.crash(other);
        if older {
            let snapshots = &mut world.disks.get_mut(&other).unwrap().snapshots;
            assert_eq!(snapshots.len(), 2);
            snapshots.pop();
        }
        world.start(other);
        let first = world.disks[&other].newest_snapshot().base.index;
        assert!(first > 1);
        world.run_until("all of it", |world| world.applied(other).len() >= 200);
    }
    // Without either the log alone is no memory, and it says so.
    world.crash(other);
    world.disks.get_mut(&other).unwrap().snapshots.clear();
    world.start(other);
    let violation = world.violation.take().expect("it cannot start");
    assert!(violation.contains("segment is missing"), "{violation}");
}
