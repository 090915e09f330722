//! One node of a pretend cluster: what survives its end, and what lives from one start to the next.

use std::collections::BTreeSet;

use cast::{Cast, Input, Settings};
use protocol::{Boot, Member, NodeId, Offer};

use crate::disk::Disk;
use crate::limits::{ELECTION_TICKS, ENDED_JOBS, HEARTBEAT_TICKS, REPLACE_AFTER_MS, TICK_MS, TURN_INPUTS};
use crate::runner::Runner;
use crate::shelf::Shelf;

/// The class of all pretend jobs.
pub(crate) const CLASS: &str = "pretend";

/// What survives: the disk, the identity, the number of starts.
pub(crate) struct Node {
    pub(crate) boot: Boot,
    pub(crate) disk: Disk,
    pub(crate) shelf: Shelf,
    pub(crate) live: Option<Live>,
    pub(crate) slots: u32,
    /// Its wall clock is off by this.
    pub(crate) skew_ms: u64,
    /// Its ticks are this long.
    pub(crate) tick_us: u64,
    /// Its disk needs up to this long for a sync.
    pub(crate) sync_us: u64,
}

/// One start.
pub(crate) struct Live {
    pub(crate) cast: Cast,
    pub(crate) runner: Runner,
    pub(crate) inbox: Inbox,
    /// A turn is due already.
    pub(crate) woken: bool,
    /// The process gets no time.
    pub(crate) paused: bool,
    /// Whom the broker link leads to, and whether the address is known.
    pub(crate) lead: Option<(usize, bool)>,
    /// Its join was answered.
    pub(crate) joined: bool,
}

impl Live {
    pub(crate) fn new(cast: Cast) -> Self {
        let (runner, inbox) = Default::default();
        Self { cast, runner, inbox, woken: false, paused: false, lead: None, joined: false }
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

/// The id of the node at this place.
pub(crate) fn id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// The place of a node of ours.
pub(crate) fn place(id: NodeId) -> usize {
    id.0 as usize - 1
}

/// How the node at this place makes itself known.
pub(crate) fn member(place: usize, boot: Boot) -> Member {
    let address = |port: u16| format!("n{}:{port}", place + 1);
    Member {
        id: id(place),
        number: 0,
        boot,
        name: format!("n{}", place + 1),
        http: address(3002),
        link: address(9991),
        broker: address(9990),
    }
}

/// What a cluster's nodes have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) expect: usize,
    pub(crate) voters: usize,
    pub(crate) runs_jobs: master::RunsJobs,
    /// Ended jobs that history keeps.
    pub(crate) keep_jobs: u64,
    pub(crate) mutant: Option<cast::Mutant>,
}

/// The settings of one start.
pub(crate) fn settings(common: Common, place: usize, boot: Boot, slots: u32) -> Settings {
    Settings {
        member: member(place, boot),
        founder: id(0),
        seed: common.seed ^ (place as u64) << 32 ^ boot.0,
        tick_ms: TICK_MS,
        heartbeat_ticks: HEARTBEAT_TICKS,
        election_ticks: ELECTION_TICKS,
        expect: common.expect,
        voters: common.voters,
        replace_after_ms: REPLACE_AFTER_MS,
        offer: Offer { slots, classes: BTreeSet::from([CLASS.to_string()]), ..Offer::default() },
        windows: cast::Windows::default(),
        runs_jobs: common.runs_jobs,
        max_offers: protocol::limits::MAX_OFFERS,
        bounds: master::Bounds { ended_jobs: ENDED_JOBS, ..master::Bounds::default() },
        retention: master::Retention { keep_jobs: common.keep_jobs, ..master::Retention::default() },
        hold_dispatch: false,
        mutant: common.mutant,
    }
}
