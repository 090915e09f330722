//! The adapter: our events in, one round of the engine after the other, our things to do out.

mod glance;

use bytes::Bytes;
use raft::eraftpb::{self, ConfChangeV2, ConfState, EntryType, MessageType};
use raft::{RawNode, StateRole};

use crate::outbox::Outbox;
use crate::snapshots::Snapshots;
use crate::view::View;
use crate::{
    Base, Config, Entry, Error, HardState, Message, MessageKind, Mutant, Peer, Refused, Restored, Role,
    Status, Step, Turn, Write, guard, limits, members, timeout,
};

/// A read travels as the asker's id and its context, so that two askers never meet under one key at the leader.
pub(crate) const READ_CONTEXT_BYTES: usize = 16;

/// The consensus mind of one node. See the first page of this crate for how it is driven.
pub struct Consensus {
    pub(crate) raw: RawNode<View>,
    pub(crate) config: Config,
    pub(crate) snapshots: Snapshots,
    outbox: Outbox,
    /// The last round taken from the engine.
    last_round: u64,
    /// A commit index that moved alone and is not handed to the disk yet.
    lazy: Option<Lazy>,
    /// (index, context): reads that wait for their index to be carried out.
    reads: Vec<(u64, u64)>,
    /// What the body was told last about the lead.
    told: Told,
    /// Term and vote handed to the disk last.
    voted: (u64, Option<Peer>),
    /// Ticks until this node stands for election because its leader's link closed.
    stand: Option<usize>,
}

struct Lazy {
    number: u64,
    hard: HardState,
    ticks: usize,
}

#[derive(Default)]
struct Told {
    leading: Option<u64>,
    following: Option<(u64, Option<Peer>)>,
}

impl Consensus {
    /// A mind as the disk left it. The body's state machine starts as the snapshot at the base has it (empty without a
    /// real one): the first [`Consensus::turn`] brings every later entry known to be committed as `Apply` again.
    pub fn open(config: Config, restored: Restored) -> Result<Self, Error> {
        let hard = restored.check(&config)?;
        let applied = restored.base.index;
        let entries = restored.entries.into_iter().map(Entry::into_engine).collect();
        let view = View::new(restored.base, hard.into_engine(), entries);
        let settings = raft::Config {
            id: config.id.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied,
            max_size_per_msg: limits::APPEND_BYTES_MAX,
            max_inflight_msgs: limits::APPENDS_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: limits::UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: limits::COMMITTED_BYTES_PER_ROUND,
            ..raft::Config::default()
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let raw =
            RawNode::new(&settings, view, &silent).map_err(|error| Error::Settings(error.to_string()))?;
        let mut this = Self {
            raw,
            config,
            snapshots: Snapshots::default(),
            outbox: Outbox::default(),
            last_round: 0,
            lazy: None,
            reads: Vec::new(),
            told: Told::default(),
            voted: (hard.term, hard.vote),
            stand: None,
        };
        this.fix_timeout();
        Ok(this)
    }

    /// Takes a peer's message. Whatever it holds, this returns: nonsense is refused and changes nothing.
    pub fn step(&mut self, message: Message) -> Result<(), Error> {
        if !guard::admits(&message, &self.raw.raft)? {
            return Ok(());
        }
        self.learn_commit(&message);
        match message.kind() {
            MessageKind::Snapshot => return self.hold_snapshot(message),
            MessageKind::TimeoutNow if !self.may_stand() => return Ok(()),
            // Nobody was asked before the log was synced, so this is no answer to us.
            MessageKind::VoteResponse | MessageKind::PreVoteResponse if !self.log_synced() => return Ok(()),
            _ => {}
        }
        if message.kind() == MessageKind::Vote && Mutant::votes_twice(self.config.mutant) {
            self.raw.raft.vote = raft::INVALID_ID;
        }
        if matches!(message.kind(), MessageKind::PreVote | MessageKind::Vote) {
            // Somebody stands already: two at once would split the votes.
            self.stand = self.stand.map(|left| left.max(self.config.heartbeat_ticks));
        }
        // The engine's own refusals here mean "not now" (all others were made above), and a peer repeats itself.
        let _ = self.raw.step(message.into_engine());
        self.fix_timeout();
        Ok(())
    }

    /// Time went on by one tick.
    pub fn tick(&mut self) {
        if let Some(lazy) = &mut self.lazy {
            lazy.ticks += 1;
        }
        self.tick_stand();
        self.tick_snapshots();
        let leads = self.raw.raft.state == StateRole::Leader;
        if !leads && self.raw.raft.promotable() && !self.may_stand() {
            return;
        }
        self.raw.tick();
        if self.raw.raft.state == StateRole::Leader && self.joint() && !self.raw.raft.has_pending_conf() {
            // A leader that inherited a joint state with nothing under way leads out of it.
            let _ = self.raw.propose_conf_change(Vec::new(), ConfChangeV2::default());
        }
        self.fix_timeout();
    }

    /// Gives the leader a command to order. That it was taken does not mean that it will be committed: only its `Apply`
    /// means that.
    pub fn propose(&mut self, data: Bytes) -> Result<(), Refused> {
        if data.is_empty() || data.len() > limits::COMMAND_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        self.only_leader()?;
        let entry = eraftpb::Entry { data, ..eraftpb::Entry::default() };
        let mut message = eraftpb::Message { from: self.config.id.0, ..eraftpb::Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.raw.raft.step(message).map_err(|_| Refused::Busy)
    }

    /// Makes the leader move to exactly these members, through a joint state when more than one changes. Done when
    /// `Step::Members` brings them with `Status::joint` false. `Busy` while another change is pending.
    pub fn change_members(&mut self, voters: &[Peer], learners: &[Peer]) -> Result<(), Refused> {
        self.only_leader()?;
        if self.raw.raft.has_pending_conf() || self.joint() || self.raw.raft.lead_transferee.is_some() {
            return Err(Refused::Busy);
        }
        let parts = members::plan(&self.conf(), voters, learners)?;
        if parts.is_empty() {
            return Ok(());
        }
        let bytes = members::encode(&parts);
        self.raw.propose_conf_change(bytes, members::change(&parts)).map_err(|_| Refused::Busy)
    }

    /// Asks for a linearizable read, at any node. It may be lost in silence: ask again under a new context. A node must
    /// never use a context twice, not even after a restart (boot number in the high half, counter in the low half).
    pub fn read(&mut self, context: u64) -> Result<(), Refused> {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        if raft.leader_id == raft::INVALID_ID {
            return Err(Refused::NotLeader);
        }
        let full = raft.pending_read_count() >= limits::READS_MAX || self.reads.len() >= limits::READS_MAX;
        if full || (leads && !raft.commit_to_current_term()) {
            return Err(Refused::Busy);
        }
        let mut key = Vec::with_capacity(READ_CONTEXT_BYTES);
        key.extend_from_slice(&self.config.id.0.to_le_bytes());
        key.extend_from_slice(&context.to_le_bytes());
        self.raw.read_index(key);
        Ok(())
    }

    /// The link to `peer` ended: what was on its way is taken for lost.
    pub fn unreachable(&mut self, peer: Peer) {
        self.raw.report_unreachable(peer.0);
        self.snapshot_lost(peer);
    }

    /// The kernel of `peer` closed or refused its link, so its process is most likely gone. If it is our leader, this node
    /// forgets it at once (others may then win our vote) and asks for an election after `after_ticks` more ticks (0: now),
    /// unless a leader is heard before. A wrong hint is harmless: whoever still hears the leader refuses.
    pub fn leader_gone(&mut self, peer: Peer, after_ticks: usize) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader || raft.leader_id == raft::INVALID_ID || raft.leader_id != peer.0 {
            return;
        }
        raft.leader_id = raft::INVALID_ID;
        if after_ticks == 0 {
            self.stand_now();
        } else {
            self.stand = Some(after_ticks);
        }
    }

    /// Hands the lead to a voter. Proposals are refused until it has it, or an election timeout has gone by.
    pub fn transfer(&mut self, to: Peer) -> Result<(), Refused> {
        self.only_leader()?;
        if to == self.config.id || !self.raw.raft.prs().conf().voters().contains(to.0) {
            return Err(Refused::Invalid);
        }
        self.raw.transfer_leader(to.0);
        Ok(())
    }

    /// The disk synced the write `number` and all before it.
    pub fn persisted(&mut self, number: u64) {
        assert!(number <= self.outbox.last_written(), "only a write that was handed out can be synced");
        self.outbox.synced(number);
        // Rounds without a write hang behind the last one; with nothing left to wait for they are done too.
        let upto = if self.outbox.all_synced() { self.last_round } else { number };
        self.raw.on_persist_ready(upto);
        self.snapshot_synced(upto);
        self.fix_timeout();
    }

    /// Everything that is ready now.
    pub fn turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        self.tell_fetch(&mut turn.steps);
        self.fix_timeout();
        while self.raw.has_ready() {
            self.round(&mut turn);
            self.fix_timeout();
        }
        self.release_reads(&mut turn);
        if self.lazy.as_ref().is_some_and(|lazy| lazy.ticks >= self.config.heartbeat_ticks)
            && let Some(lazy) = self.lazy.take()
        {
            self.outbox.wrote(lazy.number, false);
            let hard = Some(lazy.hard);
            turn.write.push(Write { number: lazy.number, hard, ..Write::default() });
        }
        self.outbox.take(&mut turn.send);
        turn
    }

    /// The current term: what [`Consensus::status`] says of it, for whoever asks with every message.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The state at this moment.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let (voters, learners, joint) = members::seen(&self.conf());
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let mut progress = Vec::new();
        if role == Role::Leader {
            let all = raft.prs().iter();
            progress.extend(all.map(|(id, member)| (Peer(*id), member.matched, member.recent_active)));
            progress.sort_unstable();
        }
        Status {
            id: self.config.id,
            term: raft.term,
            leader: Peer::some(raft.leader_id),
            role,
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            last_index: raft.raft_log.last_index(),
            voters,
            learners,
            joint,
            progress,
        }
    }

    /// One round: the engine may not be touched between `ready` and `advance_append_async`.
    fn round(&mut self, turn: &mut Turn) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        self.last_round = number;
        self.tell_role(&mut turn.steps);
        for read in ready.take_read_states() {
            if let Some(context) = read.request_ctx.last_chunk::<8>() {
                self.reads.push((read.index, u64::from_le_bytes(*context)));
            }
        }
        let base = (!ready.snapshot().is_empty()).then(|| Base::from_engine(ready.snapshot()));
        if let Some(base) = &base {
            self.restored(number, base, &mut turn.steps);
        }
        let entries = ready.take_entries();
        let hard = ready.hs().map(HardState::from_engine);
        if ready.must_sync() {
            self.write((number, base), hard, &entries, &mut turn.write);
        } else if let Some(hard) = hard {
            let ticks = self.lazy.as_ref().map_or(0, |lazy| lazy.ticks);
            self.lazy = Some(Lazy { number, hard, ticks });
        }
        self.raw.mut_store().append(entries);
        let early = Mutant::sends_before_sync(self.config.mutant);
        let leads = self.raw.raft.state == StateRole::Leader;
        for message in ready.take_messages().into_iter().chain(ready.take_persisted_messages()) {
            if let Some(message) = Message::from_engine(message) {
                self.outbox.put(message, leads, early);
            }
        }
        let committed = ready.take_committed_entries();
        self.raw.advance_append_async(ready);
        if self.outbox.all_synced() {
            // Nothing of this round or before waits for the disk.
            self.raw.on_persist_ready(number);
        }
        if let Some(last) = committed.last().map(|entry| entry.index) {
            self.carry_out(committed, &mut turn.steps);
            self.raw.advance_apply_to(last);
        }
    }

    /// What must be on disk becomes a write; a commit index kept back so far goes with it.
    fn write(
        &mut self,
        (number, base): (u64, Option<Base>),
        hard: Option<HardState>,
        entries: &[eraftpb::Entry],
        to: &mut Vec<Write>,
    ) {
        let kept_back = self.lazy.take().map(|lazy| lazy.hard);
        let hard = hard.or(kept_back);
        let voted = hard.map_or(self.voted, |hard| (hard.term, hard.vote));
        self.outbox.wrote(number, voted != self.voted);
        self.voted = voted;
        let entries = entries.iter().cloned().map(Entry::from_engine).collect();
        to.push(Write { number, base, hard, entries });
    }

    /// Committed entries, in order.
    fn carry_out(&mut self, committed: Vec<eraftpb::Entry>, steps: &mut Vec<Step>) {
        for entry in committed {
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {
                    let raft = &self.raw.raft;
                    let own = raft.state == StateRole::Leader && entry.term == raft.term;
                    if own && self.told.leading != Some(entry.term) {
                        self.told.leading = Some(entry.term);
                        steps.push(Step::Leading { term: entry.term, index: entry.index });
                    }
                }
                EntryType::EntryNormal => {
                    self.snapshots.carried_out(entry.data.len());
                    steps.push(Step::Apply(Entry::from_engine(entry)));
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.change(entry.index, &entry.context, steps);
                }
            }
        }
    }

    /// A committed change of members. One that cannot be made is skipped, by every node alike.
    fn change(&mut self, index: u64, data: &[u8], steps: &mut Vec<Step>) {
        let Some(change) = members::decode(data) else { return };
        let Ok(conf) = self.raw.apply_conf_change(&change) else { return };
        let (voters, learners, _) = members::seen(&conf);
        steps.push(Step::Members { index, voters, learners });
        let votes = self.raw.raft.prs().conf().voters().contains(self.config.id.0);
        if self.raw.raft.state == StateRole::Leader && !votes {
            self.step_aside();
        }
    }

    /// A leader that has left the voters hands over to the one who is furthest, and ceases at once: the engine must not
    /// see a leader outside its own members.
    fn step_aside(&mut self) {
        let raft = &mut self.raw.raft;
        let voters = raft.prs().conf().voters().clone();
        let ahead = raft.prs().iter().filter(|(id, _)| voters.contains(**id));
        let heir = ahead.map(|(id, member)| (member.matched, std::cmp::Reverse(*id))).max();
        if let Some((_, std::cmp::Reverse(heir))) = heir {
            raft.bcast_append();
            raft.send_timeout_now(heir);
        }
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
    }

    /// Tells the body about the lead when that changed.
    fn tell_role(&mut self, steps: &mut Vec<Step>) {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        if leads && self.told.leading == Some(raft.term) {
            return;
        }
        let known = (raft.term, if leads { None } else { Peer::some(raft.leader_id) });
        if self.told.leading.take().is_some() || self.told.following != Some(known) {
            self.told.following = Some(known);
            steps.push(Step::Following { term: known.0, leader: known.1 });
        }
        if leads && Mutant::leads_at_once(self.config.mutant) {
            self.told.leading = Some(raft.term);
            steps.push(Step::Leading { term: raft.term, index: raft.raft_log.last_index() });
        }
    }

    /// Reads whose index is carried out.
    fn release_reads(&mut self, turn: &mut Turn) {
        let applied = self.raw.raft.raft_log.applied;
        let (good, early): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.reads).into_iter().partition(|(index, _)| *index <= applied);
        self.reads = early;
        turn.steps.extend(good.into_iter().map(|(_, context)| Step::Read { context }));
    }

    /// Who refuses a vote says how far it knows the log to be committed. The engine listens to that only from its own term
    /// on, but a refused pre-vote may come from a lower one. Without it a sole new voter that restarted before it heard that
    /// a joint state was left could wait for ever for votes of members who know that they are none any more.
    fn learn_commit(&mut self, message: &Message) {
        let raft = &mut self.raw.raft;
        let refused = matches!(message.kind, MessageKind::PreVoteResponse | MessageKind::VoteResponse)
            && message.reject;
        let stands = matches!(raft.state, StateRole::PreCandidate | StateRole::Candidate);
        if !refused || !stands || message.term >= raft.term || message.commit_term == 0 {
            return;
        }
        if raft.raft_log.maybe_commit(message.commit, message.commit_term) {
            // The members may change now, so this election is off.
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    fn tick_stand(&mut self) {
        let Some(left) = self.stand.take() else { return };
        if self.raw.raft.leader_id != raft::INVALID_ID {
            return;
        }
        if left > 1 {
            self.stand = Some(left - 1);
        } else {
            self.stand_now();
        }
    }

    fn stand_now(&mut self) {
        if self.may_stand() && self.raw.raft.state == StateRole::Follower {
            // Refused only while a committed change of members waits to be carried out: the next timeout tries again.
            let _ = self.raw.campaign();
            self.fix_timeout();
        }
    }

    /// A sole voter is elected the moment it stands, and the engine takes it for granted that its whole log is on disk
    /// then; with others this follows from waiting with the vote requests for the disk. And it looks at what is committed
    /// and not carried out, which is not there to be looked at before a snapshot is synced.
    fn may_stand(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state != StateRole::Leader
            && self.snapshots.unsynced.is_none()
            && raft.promotable()
            && (self.log_synced() || !raft.prs().is_singleton())
    }

    fn log_synced(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted == log.last_index()
    }

    /// The engine has just drawn a timeout from the process's random source, or may have: replace it by ours.
    pub(crate) fn fix_timeout(&mut self) {
        let Config { seed, id, election_ticks, .. } = self.config;
        let raft = &mut self.raw.raft;
        raft.set_randomized_election_timeout(timeout::election(seed, id, raft.term, election_ticks));
    }

    fn only_leader(&self) -> Result<(), Refused> {
        if self.raw.raft.state == StateRole::Leader { Ok(()) } else { Err(Refused::NotLeader) }
    }

    pub(crate) fn conf(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    fn joint(&self) -> bool {
        !self.conf().voters_outgoing.is_empty()
    }
}
