//! One node of a pretend cluster: what survives its end, and what lives from one start to the next.

use std::collections::{BTreeMap, BTreeSet};

use cast::{Cast, Input, Settings};
use protocol::{Boot, Member, NodeId, Offer};

use crate::chance::Chance;
use crate::disk::Disk;
use crate::foreign::Foreigners;
use crate::limits::{
    ELECTION_TICKS, ENDED_JOBS, HEARTBEAT_TICKS, MS, REPLACE_AFTER_MS, SMALL_ENTRY_BYTES, TICK_MS,
    TURN_INPUTS,
};
use crate::runner::Runner;
use crate::shelf::Shelf;
use master::limits::ENTRY_FULL_BYTES;

/// The class of jobs that nodes run themselves.
pub(crate) const CLASS: &str = "pretend";
/// The class of jobs that only attached workers do.
pub(crate) const LAB_CLASS: &str = "lab";

/// What every node has one of,
pub(crate) const RESOURCE: &str = "gpu";
/// and how many thousandths of it one job in so many asks for: two of them have room at once.
pub(crate) const RESOURCE_MILLI: u64 = 400;
/// See [`RESOURCE_MILLI`].
pub(crate) const RESOURCE_EVERY: u64 = 6;

/// Ids of one place are so far apart: a node whose disk is new is another node.
const PLACES: u64 = 8;

/// What survives: the disk, the identity, the number of starts.
pub(crate) struct Node {
    /// Another one with every new disk.
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// How often it was refused for its name.
    pub(crate) refused: u32,
    pub(crate) boot: Boot,
    pub(crate) disk: Disk,
    /// Disks that were lost here, each as it was then, by the node that it was of.
    lost: BTreeMap<NodeId, Disk>,
    pub(crate) shelf: Shelf,
    pub(crate) live: Option<Live>,
    pub(crate) slots: u32,
    /// Workers that attach themselves to each of its starts.
    pub(crate) foreigners: u64,
    /// Its wall clock is off by this.
    pub(crate) skew_ms: i64,
    /// Its ticks are this long.
    pub(crate) tick_us: u64,
    /// Its disk needs up to this long for a sync.
    pub(crate) sync_us: u64,
    /// Its loop comes to its turn so much late.
    pub(crate) lag_us: u64,
}

impl Node {
    pub(crate) fn new(place: usize, chance: &mut Chance) -> Self {
        Self {
            id: first_id(place),
            name: format!("n{}", place + 1),
            refused: 0,
            boot: Boot(0),
            disk: Disk::default(),
            lost: BTreeMap::new(),
            shelf: Shelf::default(),
            live: None,
            slots: chance.between(1, 4) as u32,
            foreigners: chance.below(3),
            skew_ms: chance.below(20_000) as i64,
            tick_us: TICK_MS * MS + chance.below(MS),
            sync_us: chance.between(MS, 8 * MS),
            lag_us: 0,
        }
    }

    /// The disk is lost: what comes up here is another node. Its boot number goes on, so that no two starts here look alike.
    pub(crate) fn renew(&mut self, keeps_name: bool) {
        self.lost.insert(self.id, std::mem::take(&mut self.disk));
        self.id.0 += PLACES;
        if !keeps_name {
            self.name = format!("{}-{}", self.name, self.id.0 / PLACES);
        }
        self.shelf = Shelf::default();
    }

    /// The disk of this node; of one that was here before, its disk as it was when it was lost.
    pub(crate) fn disk_of(&self, id: NodeId) -> Option<&Disk> {
        if self.id == id { Some(&self.disk) } else { self.lost.get(&id) }
    }

    /// How this start makes itself known.
    pub(crate) fn member(&self) -> Member {
        let address = |port: u16| format!("{}:{port}", self.name);
        Member {
            id: self.id,
            number: 0,
            boot: self.boot,
            name: self.name.clone(),
            http: address(3002),
            link: address(9991),
            broker: address(9990),
        }
    }
}

/// One start.
pub(crate) struct Live {
    pub(crate) cast: Cast,
    pub(crate) runner: Runner,
    pub(crate) foreigners: Foreigners,
    pub(crate) inbox: Inbox,
    /// A turn is due already.
    pub(crate) woken: bool,
    /// The process gets no time.
    pub(crate) paused: bool,
    /// Whom the broker link leads to, and whether the address is known.
    pub(crate) lead: Option<(NodeId, bool)>,
    /// Its join was answered.
    pub(crate) joined: bool,
    /// Number of the last fact that it told.
    pub(crate) last_fact: u64,
    /// The wait for a fuller entry whose end is known.
    pub(crate) gathers: Option<u64>,
    /// It was told that its disk hangs.
    pub(crate) disk_hangs: bool,
    /// A snapshot is being written; a member waits for a newer one.
    pub(crate) snapshotting: bool,
    pub(crate) snapshot_wanted: bool,
}

impl Live {
    pub(crate) fn new(cast: Cast) -> Self {
        let last_fact = cast.ledger().last_fact();
        let (runner, foreigners, inbox) = Default::default();
        Self {
            cast,
            runner,
            foreigners,
            inbox,
            woken: false,
            paused: false,
            lead: None,
            joined: false,
            last_fact,
            gathers: None,
            disk_hangs: false,
            snapshotting: false,
            snapshot_wanted: false,
        }
    }
}

/// What waits for the next turn, by kind.
#[derive(Default)]
pub(crate) struct Inbox {
    kinds: [Vec<Input>; 4],
    pub(crate) tick_due: bool,
}

impl Inbox {
    /// Peers first, then disk, then broker link, then everything else.
    pub(crate) fn put(&mut self, input: Input) {
        let kind = match &input {
            Input::Peer(_) | Input::LinkClosed { .. } => 0,
            Input::Synced(_) => 1,
            Input::ToMaster(_) | Input::ToNode(_) | Input::SessionLost => 2,
            _ => 3,
        };
        self.kinds[kind].push(input);
    }

    /// What one turn takes: of each kind up to its bound, and at most one tick, at the end.
    pub(crate) fn take(&mut self) -> Vec<Input> {
        let mut taken = Vec::new();
        for kind in &mut self.kinds {
            taken.extend(kind.drain(..kind.len().min(TURN_INPUTS)));
        }
        if std::mem::take(&mut self.tick_due) {
            taken.push(Input::Tick);
        }
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.iter().all(Vec::is_empty) && !self.tick_due
    }
}

/// The id of the first node at this place.
pub(crate) fn first_id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// Where a node is, or was.
pub(crate) fn place(id: NodeId) -> usize {
    ((id.0 - 1) % PLACES) as usize
}

/// What a cluster's nodes have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) expect: usize,
    pub(crate) voters: usize,
    pub(crate) runs_jobs: master::RunsJobs,
    pub(crate) policy: master::Policy,
    /// How long an attached worker has for a job.
    pub(crate) window_ms: u64,
    /// Ended jobs that history keeps.
    pub(crate) keep_jobs: u64,
    pub(crate) mutant: Option<cast::Mutant>,
}

/// The settings of one start.
pub(crate) fn settings(common: Common, node: &Node) -> Settings {
    Settings {
        member: node.member(),
        founder: first_id(0),
        seed: common.seed ^ node.id.0 << 32 ^ node.boot.0,
        tick_ms: TICK_MS,
        heartbeat_ticks: HEARTBEAT_TICKS,
        election_ticks: ELECTION_TICKS,
        expect: common.expect,
        voters: common.voters,
        replace_after_ms: REPLACE_AFTER_MS,
        offer: Offer {
            slots: node.slots,
            classes: BTreeSet::from([CLASS.to_string()]),
            resources: BTreeMap::from([(RESOURCE.to_string(), 1_000)]),
            ..Offer::default()
        },
        windows: cast::Windows { default_ms: common.window_ms, ..cast::Windows::default() },
        guests_live_ms: common.window_ms,
        // In some histories so few that several entries are under way.
        entry_full_bytes: if common.seed % 5 == 1 { SMALL_ENTRY_BYTES } else { ENTRY_FULL_BYTES },
        runs_jobs: common.runs_jobs,
        policy: common.policy,
        max_offers: protocol::limits::MAX_OFFERS,
        disk: master::DiskBounds::default(),
        bounds: master::Bounds { ended_jobs: ENDED_JOBS, ..master::Bounds::default() },
        retention: master::Retention { keep_jobs: common.keep_jobs, ..master::Retention::default() },
        hold_dispatch: false,
        mutant: common.mutant,
    }
}
