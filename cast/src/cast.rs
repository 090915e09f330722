//! One node's minds in one value.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use consensus::{Base, Config, Consensus, Peer, Restored};
use master::{Ledger, Master};
use protocol::limits::REJOIN_MS;
use protocol::{Entry, Envelope, NodeId, NodeLoad, ToMaster, ToNode};
use worker::{Gateway, Worker};

use crate::adopting::Adopting;
use crate::digests::Digests;
use crate::doubt::OWN_TICKET;
use crate::gathering::Gathering;
use crate::leaving::Leaving;
use crate::mutant::Mutant;
use crate::reads::Reads;
use crate::sharing::Sharing;
use crate::{Input, Output, SessionKey, Settings};

/// Rounds of one turn: what minds say to each other inside one node is heard in the next round. More is left for the
/// next turn, so that a turn ends.
const ROUNDS: usize = 64;

/// How often a leader whose disk hangs offers its lead.
const HAND_OVER_MS: u64 = 1_000;

/// A session's number is the start it belongs to, and in these lower bits a counter.
const SESSION_BITS: u32 = 32;

/// The minds of one node. Made at each start from what the disk kept; dropped by `/stop`.
pub struct Cast {
    pub(crate) settings: Settings,
    pub(crate) consensus: Consensus,
    pub(crate) ledger: Ledger,
    /// A fetched snapshot's ledger, by its index, until consensus takes it or does not want it any more.
    pub(crate) fetched: Option<(u64, Box<Ledger>)>,
    pub(crate) master: Option<Master>,
    pub(crate) worker: Worker,
    pub(crate) gateway: Gateway,
    pub(crate) reads: Reads,
    /// Whom worker and gateway speak to.
    pub(crate) following: Option<Following>,
    /// Counts this node's sessions with leaders.
    pub(crate) last_session: u64,
    /// As a leader: the newest session of each node.
    pub(crate) sessions: BTreeMap<NodeId, SessionKey>,
    /// What this node says to itself, as its own leader or its own worker.
    pub(crate) own: VecDeque<Own>,
    /// Entries that this node proposed and has not applied, each with its bytes: it need not read them.
    pub(crate) proposed: VecDeque<(Bytes, Entry)>,
    pub(crate) gathering: Gathering,
    pub(crate) sharing: Sharing,
    pub(crate) roster: Vec<NodeLoad>,
    pub(crate) leaderless_ms: u64,
    /// Too much history waits to be written here.
    pub(crate) burdened: bool,
    /// The join of this very start is on its way.
    pub(crate) joining: bool,
    /// This node leads and does not know whether it still does.
    pub(crate) in_doubt: bool,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) adopting: Adopting,
    pub(crate) digests: Digests,
    /// The roster was told by the leader that is followed now.
    pub(crate) roster_is_new: bool,
    /// The disk hangs: for so long (milliseconds) the lead has not been offered to another.
    pub(crate) disk_hangs: Option<u64>,
    /// Somebody watches all jobs.
    pub(crate) watched: bool,
    pub(crate) wall_ms: u64,
    pub(crate) outputs: Vec<Output>,
}

/// The leader that worker and gateway speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) node: NodeId,
    pub(crate) term: u64,
    pub(crate) session: u64,
}

/// A message from this node to itself.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    Master(Envelope<ToMaster>),
    Node(Envelope<ToNode>),
}

impl Cast {
    /// Minds as the disk left them. The ledger fills as the log is applied again.
    ///
    /// # Errors
    /// The log contradicts itself or a setting is out of range.
    pub fn open(
        settings: Settings,
        hard: Option<consensus::HardState>,
        entries: Vec<consensus::Entry>,
    ) -> Result<Self, consensus::Error> {
        Self::open_from(settings, None, hard, entries)
    }

    /// The same with a snapshot on the disk: its place, and the ledger in it. Entries go on from there, or from before.
    ///
    /// # Errors
    /// As [`Cast::open`].
    pub fn open_from(
        settings: Settings,
        snapshot: Option<(Base, Ledger)>,
        hard: Option<consensus::HardState>,
        entries: Vec<consensus::Entry>,
    ) -> Result<Self, consensus::Error> {
        let config = Config {
            id: Peer(settings.member.id.0),
            seed: settings.seed,
            heartbeat_ticks: settings.heartbeat_ticks,
            election_ticks: settings.election_ticks,
            mutant: Mutant::of_consensus(settings.mutant),
        };
        let (base, ledger) = snapshot.unwrap_or_else(|| {
            (Base::founded(Peer(settings.founder.0)), crate::empty_ledger(settings.mutant))
        });
        let restored = Restored { base, hard, entries };
        let salt = mix(settings.member.id.0 ^ mix(settings.member.boot.0));
        let mut cast = Self {
            consensus: Consensus::open(config, restored)?,
            ledger: ledger.bounded(settings.bounds),
            fetched: None,
            master: None,
            worker: Mutant::worker(settings.mutant, Worker::new(settings.offer.clone()))
                .with_windows(settings.windows.clone())
                .with_guests(settings.guests_live_ms, settings.policy == master::Policy::Multi),
            gateway: Mutant::gateway(settings.mutant),
            reads: Reads::new(salt),
            following: None,
            // No session of an earlier start comes again: what was said to that one is not for this one.
            last_session: settings.member.boot.0 << SESSION_BITS,
            sessions: BTreeMap::new(),
            own: VecDeque::new(),
            proposed: VecDeque::new(),
            gathering: Gathering::default(),
            sharing: Sharing::default(),
            roster: Vec::new(),
            leaderless_ms: 0,
            burdened: false,
            joining: false,
            in_doubt: false,
            leaving: None,
            adopting: Adopting::default(),
            digests: Digests::default(),
            roster_is_new: false,
            disk_hangs: None,
            watched: true,
            wall_ms: 0,
            outputs: Vec::new(),
            settings,
        };
        // Of the log before the snapshot only what peers a little behind may need stays in memory.
        cast.consensus.compact(cast.consensus.snapshot().clone(), consensus::limits::MARGIN_BYTES);
        if cast.ledger.applied() > 0 {
            cast.digests = Digests::from(cast.ledger.applied(), cast.ledger.digest());
            // Nobody tells of members who joined before the snapshot.
            cast.outputs.push(Output::Members);
        }
        cast.obey_drain();
        // Before anything else is asked here: the founder is to be the first member.
        cast.ask_to_join();
        Ok(cast)
    }

    /// Something happened. `wall_ms` (since 1970) is for display and goes into entries this node writes as leader.
    pub fn handle(&mut self, input: Input, wall_ms: u64) {
        self.wall_ms = wall_ms;
        match input {
            Input::Tick => self.tick(),
            Input::Peer(message) => self.hear_peer(message),
            Input::LinkClosed { peer, gone } => self.link_closed(peer, gone),
            Input::ToMaster(envelope) => self.hear_node(envelope),
            Input::ToNode(envelope) => self.hear_leader(envelope),
            Input::Synced(number) => self.consensus.persisted(number),
            Input::Ask { ticket, request } => self.ask(ticket, request),
            Input::Read { ticket } => self.read(ticket),
            Input::Ended { attempt, outcome } => self.worker.ended(attempt, outcome),
            Input::Attach { worker, class } => {
                if !self.worker.attach(worker, &class) {
                    self.outputs.push(Output::TooManyAttached { worker });
                }
            }
            Input::Left { worker } => self.worker.left(worker),
            Input::Returned { worker, class, outcome } => self.worker.returned(worker, &class, outcome),
            Input::Welcome { guest, headers, at_work } => self.welcome(guest, &headers, at_work),
            Input::GuestHeard { guest } => self.worker.guest_heard(guest),
            Input::GuestLeft { guest } => self.worker.guest_left(guest),
            Input::GuestDone { guest, outcome } => self.guest_done(guest, outcome),
            Input::LateDone { attempt, outcome } => self.worker.late_done(attempt, outcome, false),
            Input::Withdraw { ticket, of, job } => self.withdraw(ticket, of, job),
            Input::SnapshotSafe { base, margin_bytes } => self.consensus.compact(base, margin_bytes),
            Input::SnapshotFetched { index, ledger } => self.snapshot_fetched(index, ledger),
            Input::SnapshotLost { index } => self.consensus.snapshot_failed(index),
            Input::Gathered => self.gathered(),
            Input::Load(load) => self.worker.loaded(load),
            Input::Progress(progress) => self.worker.progressed(progress),
            Input::Burdened(burdened) => {
                self.burdened = burdened;
                if let Some(master) = &mut self.master {
                    master.burden(burdened);
                }
            }
            Input::Late => self.late(),
            Input::Leave => self.leave(),
            Input::GiveUp => self.give_up(),
            Input::DiskHangs(hangs) => self.disk_hangs(hangs),
            Input::SessionLost => {
                let leader = self.following.map(|f| (f.node, f.term));
                self.follow(None);
                self.follow(leader);
            }
        }
    }

    /// Lets the minds hear each other until nothing is left to say, and returns what is to be done outside.
    pub fn turn(&mut self, wall_ms: u64) -> Vec<Output> {
        self.wall_ms = wall_ms;
        for _ in 0..ROUNDS {
            self.drain_minds();
            self.hear_self();
            self.propose();
            let turn = self.consensus.turn();
            if turn.is_empty() && self.own.is_empty() {
                break;
            }
            // Entries go to the followers before this node's own sync is even begun.
            self.outputs.extend(turn.send.into_iter().map(Output::Peer));
            self.outputs.extend(turn.write.into_iter().map(Output::Write));
            for step in turn.steps {
                self.carry_out(step);
            }
        }
        self.drain_minds();
        self.retire_unwanted();
        std::mem::take(&mut self.outputs)
    }

    /// Whether somebody watches all jobs from now on (at first: yes). If not, [`Output::Fact`] tells of an accepted job without
    /// the job itself, but where it came in.
    pub fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// The replicated state as this node has applied it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Consensus as this node sees it.
    #[must_use]
    pub fn status(&self) -> consensus::Status {
        self.consensus.status()
    }

    /// The term, as this node knows it.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.consensus.term()
    }

    /// Whether this node leads and may act.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.master.is_some()
    }

    /// The roster as the leader last told it.
    #[must_use]
    pub fn roster(&self) -> &[NodeLoad] {
        &self.roster
    }

    /// The worker's mind, for looking.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The digest of the ledger after all entries up to `index`; none when that is long ago. The index must have been applied.
    #[must_use]
    pub fn digest_at(&self, index: u64) -> Option<u64> {
        self.digests.at(index)
    }

    /// How long no leader has been known; 0 while one is.
    #[must_use]
    pub fn leaderless_ms(&self) -> u64 {
        self.leaderless_ms
    }

    /// Whether this node has known of no leader for so long that it may be no member any more without having heard of it: the body is to
    /// ask for it to be let in, as at its start. Where it is a member still, that changes nothing.
    #[must_use]
    pub fn may_be_forgotten(&self) -> bool {
        self.leaderless_ms >= REJOIN_MS
    }

    /// Every other node this one should have a consensus link with, and where the ledger says it is.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, Option<String>)> {
        let status = self.consensus.status();
        let mut peers: BTreeMap<NodeId, Option<String>> =
            status.voters.iter().chain(&status.learners).map(|peer| (NodeId(peer.0), None)).collect();
        for member in self.ledger.members() {
            peers.insert(member.id, Some(member.link.clone()));
        }
        peers.remove(&self.settings.member.id);
        peers.into_iter().collect()
    }

    pub(crate) fn me(&self) -> NodeId {
        self.settings.member.id
    }

    fn tick(&mut self) {
        let tick_ms = self.settings.tick_ms;
        self.gathered();
        self.consensus.tick();
        self.worker.tick(tick_ms);
        self.gateway.tick(tick_ms);
        let known = self.following.is_some();
        self.leaderless_ms = if known { 0 } else { self.leaderless_ms.saturating_add(tick_ms) };
        let due = self.reads.tick(tick_ms);
        for ticket in due.lost {
            match ticket {
                OWN_TICKET => self.unconfirmed(),
                _ => self.outputs.push(Output::ReadLost { ticket }),
            }
        }
        for context in due.ask {
            self.ask_consensus(context);
        }
        self.join();
        self.look_at_unknown();
        self.offer_lead(tick_ms);
        if let Some(master) = self.master.as_mut().filter(|_| !self.in_doubt) {
            master.tick(&self.ledger);
            self.look_at_members();
        }
        self.tick_leaving();
        self.sharing.look(&mut self.ledger);
    }

    /// What this node has not on disk, the others may have: whoever leads it is to have a disk.
    fn disk_hangs(&mut self, hangs: bool) {
        self.disk_hangs = hangs.then_some(HAND_OVER_MS);
        self.worker.hold(hangs);
        if let Some(master) = &mut self.master {
            master.hold(hangs);
        }
        self.offer_lead(0);
    }

    /// Offered again each second: a handover ends in silence when the other is away.
    fn offer_lead(&mut self, passed_ms: u64) {
        let Some(since_ms) = &mut self.disk_hangs else { return };
        *since_ms = since_ms.saturating_add(passed_ms);
        if *since_ms >= HAND_OVER_MS && self.master.is_some() {
            *since_ms = 0;
            self.give_lead();
        }
    }

    fn hear_peer(&mut self, message: consensus::Message) {
        // Anything else foreign or late is dropped: the engine is as it was, and peers say things again.
        if let Err(error @ consensus::Error::BeyondLog { .. }) = self.consensus.step(message) {
            self.outputs.push(Output::Fatal(error.to_string()));
        }
    }

    fn link_closed(&mut self, peer: NodeId, gone: bool) {
        self.consensus.unreachable(Peer(peer.0));
        if gone {
            // Up to two ticks (0–100 ms) apart, so that not all stand at once.
            let term = self.consensus.term();
            let after_ticks = mix(self.settings.seed ^ mix(self.me().0 ^ term)) % 3;
            self.consensus.leader_gone(Peer(peer.0), usize::try_from(after_ticks).unwrap_or(0));
        }
    }
}

/// Spreads the bits of a number (the finaliser of SplitMix64, Steele and others, 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
