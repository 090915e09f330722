//! A pretend cluster: virtual time, a network that delays, loses and reorders, disks that forget what was not synced, and
//! a checker that looks at every step. One seed is one history.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use super::chance::Chance;
use super::forge::forge;
use super::snapshots::{self, Snapshot};
use consensus::{
    Config, Consensus, Entry, Message, Mutant, Origin, Peer, Piece, Restored, Role, Step, Turn, Writer,
    recover_after,
};

/// Moments of a tick: the grain of delays.
pub(crate) const TICK: u64 = 10;
pub(crate) const ELECTION_TICKS: usize = 10;
const SEGMENT_BYTES: u64 = 4096;
const CLUSTER: u128 = 77;

pub(crate) enum Event {
    Tick(u64),
    Snapshot(snapshots::Event),
    Deliver(Message),
    Synced { node: u64, boot: u64 },
}

/// Files, and pieces that were written and not synced.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<u64, Vec<u8>>,
    unsynced: Vec<Piece>,
    /// Newest last.
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Disk {
    fn put(&mut self, piece: &Piece, length: usize) {
        if let Some(size) = piece.create {
            self.files.insert(piece.segment, vec![0; size as usize]);
        }
        if let Some(file) = self.files.get_mut(&piece.segment) {
            let offset = piece.offset as usize;
            file[offset..offset + length].copy_from_slice(&piece.bytes[..length]);
        }
    }

    fn sync(&mut self) {
        for piece in std::mem::take(&mut self.unsynced) {
            self.put(&piece, piece.bytes.len());
        }
    }

    /// Of what was not synced, a front part of any length is there afterwards.
    fn crash(&mut self, chance: &mut Chance) {
        for piece in std::mem::take(&mut self.unsynced) {
            let length = chance.below(piece.bytes.len() as u64 + 1) as usize;
            self.put(&piece, length);
            if length < piece.bytes.len() {
                break;
            }
        }
    }
}

pub(crate) struct Node {
    pub(crate) mind: Consensus,
    pub(crate) writer: Writer,
    waiting: VecDeque<consensus::Write>,
    writing: Option<u64>,
    leading: Option<u64>,
    pub(crate) applied: Vec<Entry>,
    /// A snapshot is being written.
    pub(crate) snapshotting: bool,
    /// Context of a read, and how far the cluster was when it was asked.
    reads: BTreeMap<u64, u64>,
    read_answers: u64,
}

pub(crate) struct World {
    pub(crate) chance: Chance,
    seed: u64,
    now: u64,
    sequence: u64,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) disks: BTreeMap<u64, Disk>,
    pub(crate) boots: BTreeMap<u64, u64>,
    /// Percent of messages lost.
    pub(crate) loss: u64,
    /// Longest way of a message, in moments.
    pub(crate) delay: u64,
    /// Longest sync, in moments.
    pub(crate) sync: u64,
    /// Nodes that nobody hears and that hear nobody.
    pub(crate) cut_off: Vec<u64>,
    pub(crate) mutant: Option<Mutant>,
    /// What any node applied, by index.
    truth: BTreeMap<u64, Entry>,
    leaders: BTreeMap<u64, u64>,
    commands: u64,
    /// Percent of messages that arrive with fields that nobody sent. Then promises are not checked.
    pub(crate) forged: u64,
    /// What went wrong first.
    pub(crate) violation: Option<String>,
    pub(crate) transcript: String,
    pub(crate) reads_answered: u64,
    pub(crate) crashes: u64,
    /// Bytes of commands after which a snapshot is due; none: the usual ones.
    pub(crate) snapshot_bytes: Option<u64>,
    /// Messages that name a snapshot are lost on their way.
    pub(crate) snapshots_lost: bool,
    /// Segments let go, snapshots asked for, and taken in place of the log.
    pub(crate) recycled: u64,
    pub(crate) fetches: u64,
    pub(crate) restored: u64,
}

impl World {
    /// Node 1 founds a cluster.
    pub(crate) fn new(seed: u64) -> Self {
        let mut this = World {
            chance: Chance::new(seed),
            seed,
            now: 0,
            sequence: 0,
            events: BTreeMap::new(),
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            boots: BTreeMap::new(),
            loss: 0,
            delay: 8,
            sync: 6,
            cut_off: Vec::new(),
            mutant: None,
            truth: BTreeMap::new(),
            leaders: BTreeMap::new(),
            commands: 0,
            forged: 0,
            violation: None,
            transcript: String::new(),
            reads_answered: 0,
            crashes: 0,
            snapshot_bytes: None,
            snapshots_lost: false,
            recycled: 0,
            fetches: 0,
            restored: 0,
        };
        this.start(1);
        this
    }

    /// A cluster of voters 1, 2 and 3 with a leader.
    pub(crate) fn of_three(seed: u64) -> Self {
        let mut this = World::new(seed);
        this.start(2);
        this.start(3);
        this.run_until("three voters", |world| {
            if let Some(leader) = world.leader() {
                world.change_members(leader, &[1, 2, 3], &[]);
            }
            let at = [1, 2, 3].map(|id| world.status(id));
            at.iter().all(|status| status.voters.len() == 3 && !status.joint)
        });
        this
    }

    /// Starts a node from its disk.
    pub(crate) fn start(&mut self, id: u64) {
        let boot = self.boots.entry(id).or_default();
        *boot += 1;
        let disk = self.disks.entry(id).or_default();
        let files: Vec<(u64, Vec<u8>)> =
            disk.files.iter().map(|(number, bytes)| (*number, bytes.clone())).collect();
        let Snapshot { base, applied } = disk.newest_snapshot();
        let origin = Some(Origin { cluster: CLUSTER, node: id });
        let recovered = match recover_after(origin, &base, &files) {
            Ok(recovered) => recovered,
            Err(corrupt) => return self.violated(format!("node {id} cannot read its own log: {corrupt}")),
        };
        let mut writer = recovered.writer;
        writer.set_segment_bytes(SEGMENT_BYTES);
        let config = Config {
            id: Peer(id),
            seed: self.seed,
            heartbeat_ticks: 2,
            election_ticks: ELECTION_TICKS,
            mutant: self.mutant,
        };
        let restored = Restored { base, hard: recovered.hard, entries: recovered.entries };
        let mind = match Consensus::open(config, restored) {
            Ok(mind) => mind,
            Err(error) => return self.violated(format!("node {id} cannot start: {error}")),
        };
        let node = Node {
            mind,
            writer,
            waiting: VecDeque::new(),
            writing: None,
            leading: None,
            applied,
            snapshotting: false,
            reads: BTreeMap::new(),
            read_answers: 0,
        };
        self.nodes.insert(id, node);
        let _ = writeln!(self.transcript, "{} start {id}", self.now);
        self.turn(id);
        let first = 1 + self.chance.below(TICK);
        self.after(first, Event::Tick(id));
    }

    /// Stops a node where it stands: only what was synced is safe.
    pub(crate) fn crash(&mut self, id: u64) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        self.crashes += 1;
        let _ = writeln!(self.transcript, "{} crash {id}", self.now);
        if let Some(disk) = self.disks.get_mut(&id) {
            disk.crash(&mut self.chance);
        }
        self.events.retain(
            |_, event| !matches!(event, Event::Tick(node) | Event::Synced { node, .. } if *node == id),
        );
    }

    /// What a node has sent is heard before its closed link is noticed; here: lost.
    pub(crate) fn close_links(&mut self, id: u64) {
        self.events.retain(|_, event| !matches!(event, Event::Deliver(message) if message.from().0 == id));
    }

    pub(crate) fn runs(&self, id: u64) -> bool {
        self.nodes.contains_key(&id)
    }

    /// The node that was told that it leads, in the highest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leading = self.nodes.iter().filter_map(|(id, node)| Some((node.leading?, *id)));
        leading.max().map(|(_, id)| id)
    }

    pub(crate) fn status(&self, id: u64) -> consensus::Status {
        self.nodes.get(&id).expect("the node runs").mind.status()
    }

    pub(crate) fn mind(&mut self, id: u64) -> &mut Consensus {
        &mut self.nodes.get_mut(&id).expect("the node runs").mind
    }

    pub(crate) fn applied(&self, id: u64) -> &[Entry] {
        self.nodes.get(&id).map_or(&[], |node| &node.applied)
    }

    pub(crate) fn now_ticks(&self) -> u64 {
        self.now / TICK
    }

    /// Proposes one more command at `id`; true when it was taken.
    pub(crate) fn propose(&mut self, id: u64) -> bool {
        self.commands += 1;
        let data = format!("command {} of {}", self.commands, self.seed).into_bytes();
        let taken = self.mind(id).propose(data.into()).is_ok();
        self.turn(id);
        taken
    }

    pub(crate) fn change_members(&mut self, at: u64, voters: &[u64], learners: &[u64]) -> bool {
        let peers = |ids: &[u64]| ids.iter().copied().map(Peer).collect::<Vec<_>>();
        let taken = self.mind(at).change_members(&peers(voters), &peers(learners)).is_ok();
        self.turn(at);
        taken
    }

    /// Asks for a read at `id`; true when it was taken.
    pub(crate) fn read(&mut self, id: u64) -> bool {
        let seen = self.truth.keys().next_back().copied().unwrap_or(0);
        let boot = self.boots[&id];
        let node = self.nodes.get_mut(&id).expect("the node runs");
        node.read_answers += 1;
        let context = (boot << 32) | node.read_answers;
        node.reads.insert(context, seen);
        let taken = node.mind.read(context).is_ok();
        self.turn(id);
        taken
    }

    /// Lets `ticks` go by.
    pub(crate) fn run(&mut self, ticks: u64) {
        let until = self.now + ticks * TICK;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until || self.violation.is_some() {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Runs on, a tick at a time, until `done`; at most 600 ticks.
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        for _ in 0..600 {
            self.run(1);
            assert_eq!(self.violation, None);
            if done(self) {
                return;
            }
        }
        panic!(
            "never came: {what}\n{}",
            self.transcript.lines().rev().take(40).collect::<Vec<_>>().join("\n")
        );
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Snapshot(event) => self.snapshot_event(event),
            Event::Tick(id) => {
                self.after(TICK, Event::Tick(id));
                self.mind(id).tick();
                self.turn(id);
            }
            Event::Deliver(message) => {
                let to = message.to().0;
                if self.cut_off.contains(&to) || self.cut_off.contains(&message.from().0) || !self.runs(to) {
                    return;
                }
                // Over the bytes that a real link would carry.
                let bytes = postcard::to_allocvec(&message).unwrap();
                let message: Message = if self.chance.percent(self.forged) {
                    forge(&bytes, &mut self.chance)
                } else {
                    postcard::from_bytes(&bytes).unwrap()
                };
                if let Err(error) = self.mind(to).step(message)
                    && matches!(
                        error,
                        consensus::Error::BeyondLog { .. } | consensus::Error::Malformed { .. }
                    )
                {
                    self.violated(format!("node {to}: {error}"));
                    return;
                }
                self.turn(to);
            }
            Event::Synced { node: id, boot } => {
                if self.boots[&id] != boot {
                    return;
                }
                let Some(node) = self.nodes.get_mut(&id) else { return };
                if let (Some(number), Some(disk)) = (node.writing.take(), self.disks.get_mut(&id)) {
                    disk.sync();
                    node.writer.synced();
                    node.mind.persisted(number);
                }
                self.turn(id);
            }
        }
    }

    pub(crate) fn turn(&mut self, id: u64) {
        let turn = self.mind(id).turn();
        if turn.is_empty() {
            self.flush(id);
            return;
        }
        self.note(id, &turn);
        for step in turn.steps {
            self.carry_out(id, step);
        }
        for message in turn.send {
            let lost = self.snapshots_lost && message.kind() == consensus::MessageKind::Snapshot;
            if !self.chance.percent(self.loss) && !lost {
                let way = 1 + self.chance.below(self.delay);
                self.after(way, Event::Deliver(message));
            }
        }
        self.nodes.get_mut(&id).expect("the node runs").waiting.extend(turn.write);
        self.flush(id);
        self.check_leader(id);
        self.maybe_snapshot(id);
    }

    /// All writes that wait make one batch, when the disk is free.
    fn flush(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("the node runs");
        let Some(last) = node.waiting.back() else { return };
        if node.writing.is_some() {
            return;
        }
        node.writing = Some(last.number);
        let writes: Vec<_> = node.waiting.drain(..).collect();
        let pieces = node.writer.batch(&writes);
        if let Some(disk) = self.disks.get_mut(&id) {
            disk.unsynced.extend(pieces);
        }
        let boot = self.boots[&id];
        let time = 1 + self.chance.below(self.sync);
        self.after(time, Event::Synced { node: id, boot });
    }

    fn carry_out(&mut self, id: u64, step: Step) {
        let node = self.nodes.get_mut(&id).expect("the node runs");
        match step {
            Step::Apply(entry) => {
                let rises = node.applied.last().is_none_or(|last| last.index < entry.index);
                node.applied.push(entry.clone());
                let agreed = self.truth.entry(entry.index).or_insert_with(|| entry.clone());
                if *agreed != entry || !rises {
                    let agreed = agreed.clone();
                    self.violated(format!("node {id} applied {entry:?}, another one {agreed:?}"));
                }
            }
            Step::Leading { term, index } => {
                node.leading = Some(term);
                // A leader knows everything that anyone has applied: acknowledged commands survive.
                let known: Vec<u64> = node.applied.iter().map(|entry| entry.index).collect();
                let missing = self.truth.keys().find(|at| **at < index && !known.contains(at));
                if let Some(missing) = missing.copied() {
                    self.violated(format!("node {id} leads term {term} without entry {missing}"));
                }
            }
            Step::Following { .. } => node.leading = None,
            Step::Read { context } => {
                if context >> 32 != self.boots[&id] {
                    return; // asked before a crash
                }
                let seen = node.reads.remove(&context).unwrap_or(u64::MAX);
                let applied = node.mind.status().applied;
                self.reads_answered += 1;
                if applied < seen {
                    self.violated(format!("node {id} read at {applied} after {seen} was applied"));
                }
            }
            Step::Members { .. } => {}
            Step::Fetch { from, base } => self.fetch(id, from.0, base),
            Step::Restored { base } => self.restore(id, &base),
        }
    }

    fn check_leader(&mut self, id: u64) {
        let status = self.status(id);
        if status.role == Role::Leader {
            let first = *self.leaders.entry(status.term).or_insert(id);
            if first != id {
                self.violated(format!("nodes {first} and {id} both lead term {}", status.term));
            }
        }
    }

    /// Every byte that leaves a mind, in order.
    fn note(&mut self, id: u64, turn: &Turn) {
        let _ = writeln!(self.transcript, "{} node {id}", self.now);
        for message in &turn.send {
            let _ = writeln!(self.transcript, "  send {message:?}");
        }
        for write in &turn.write {
            let _ = writeln!(self.transcript, "  write {write:?}");
        }
        for step in &turn.steps {
            let _ = writeln!(self.transcript, "  step {step:?}");
        }
    }

    pub(crate) fn violated(&mut self, what: String) {
        if self.forged > 0 {
            return;
        }
        let _ = writeln!(self.transcript, "{} VIOLATION {what}", self.now);
        self.violation.get_or_insert(format!("seed {}, moment {}: {what}", self.seed, self.now));
    }

    pub(crate) fn after(&mut self, moments: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + moments, self.sequence), event);
    }
}
