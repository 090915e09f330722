//! Snapshots by reference: the engine's message carries only the place and the members, and the state's bytes go another
//! way. So a follower *holds* the message and asks its body to fetch; the engine gets it when the bytes are safe.
//!
//! ```text
//!   leader ──Snapshot(base)──▶ held ──Step::Fetch──▶ body: bytes, checked, on disk
//!                               │◀────────────── snapshot_ready(index) ──┘
//!                               └──▶ engine ──▶ Write(base), Step::Restored(base)
//! ```
//!
//! A snapshot holds only what is committed, so it stays right whoever leads when it has come.

use std::collections::BTreeMap;

use raft::{ProgressState, SnapshotStatus, StateRole};

use crate::{Base, Consensus, Error, Message, Peer, Step, limits, members};

#[derive(Default)]
pub(crate) struct Snapshots {
    held: Option<Held>,
    /// Write number and index of a snapshot that took the place of the log and is not known to be synced yet.
    pub(crate) unsynced: Option<(u64, u64)>,
    /// As a leader: ticks since each peer was sent one.
    sent: BTreeMap<Peer, usize>,
    /// Bytes carried out so far, and how many of them a snapshot holds.
    carried_out: u64,
    in_snapshot: u64,
    /// Where a snapshot was begun, and what was carried out by then.
    begun: Option<(u64, u64)>,
    /// To be told with the next turn.
    fetch: Option<Step>,
}

/// A leader's message that waits for the state's bytes.
struct Held {
    message: Message,
    base: Base,
    ready: bool,
}

impl Snapshots {
    pub(crate) fn carried_out(&mut self, bytes: usize) {
        self.carried_out += bytes as u64;
    }
}

impl Consensus {
    /// The place that all steps handed out so far lead to: what a snapshot of the body's state machine, taken now, is a
    /// snapshot of. Give it back to [`Consensus::compact`] when that is safe on disk.
    pub fn begin_snapshot(&mut self) -> Base {
        let base = self.applied_base();
        self.snapshots.begun = Some((base.index, self.snapshots.carried_out));
        base
    }

    fn applied_base(&self) -> Base {
        let log = &self.raw.raft.raft_log;
        let index = log.applied;
        // An applied place is readable: the log never starts after it.
        let term = log.term(index).unwrap_or_default();
        Base::of(index, term, &self.conf())
    }

    /// A snapshot of everything up to `base` is safe on this node's disk: entries before it may leave memory, but for about
    /// the last `margin_bytes` of them, which are kept for peers that are a little behind. An older one than before changes
    /// nothing.
    pub fn compact(&mut self, base: Base, margin_bytes: u64) {
        if base.index < self.raw.store().snapshot_base().index || base.index > self.raw.raft.raft_log.applied
        {
            return;
        }
        if let Some((_, carried_out)) = self.snapshots.begun.take_if(|(index, _)| *index == base.index) {
            self.snapshots.in_snapshot = carried_out;
        }
        self.raw.mut_store().compact(base, margin_bytes);
    }

    /// Bytes of commands carried out since the newest snapshot.
    pub fn bytes_after_snapshot(&self) -> u64 {
        self.snapshots.carried_out - self.snapshots.in_snapshot
    }

    /// The newest snapshot that peers may fetch here; without a real one, where the log began.
    pub fn snapshot(&self) -> &Base {
        self.raw.store().snapshot_base()
    }

    /// A member can be brought up only by a newer snapshot than there is: says so once.
    pub fn newer_snapshot_wanted(&self) -> bool {
        self.raw.store().take_wanted()
    }

    /// The index of the snapshot whose bytes are awaited, or were brought and not taken yet.
    pub fn awaited_snapshot(&self) -> Option<u64> {
        self.snapshots.held.as_ref().map(|held| held.base.index)
    }

    /// The snapshot that `Step::Fetch` asked for is on this node's disk, whole, checked and synced. When it still is of
    /// use, `Step::Restored` comes.
    pub fn snapshot_ready(&mut self, index: u64) {
        if let Some(held) = self.snapshots.held.as_mut().filter(|held| held.base.index == index) {
            held.ready = true;
            self.release_snapshot();
        }
    }

    /// It could not be had. The leader sends another one when its patience is over.
    pub fn snapshot_failed(&mut self, index: u64) {
        self.snapshots.held.take_if(|held| held.base.index == index);
    }

    /// Takes a leader's snapshot message.
    pub(crate) fn hold_snapshot(&mut self, message: Message) -> Result<(), Error> {
        let raft = &self.raw.raft;
        let Some(base) = message.base.as_deref().cloned() else { return Ok(()) };
        let stale = message.term < raft.term || raft.state == StateRole::Leader && message.term == raft.term;
        if stale || !base.names(self.config.id) {
            return Ok(());
        }
        let log = &raft.raft_log;
        if base.index <= log.committed || log.match_term(base.index, base.term) {
            // Nothing to fetch: the engine says to the leader how far the log is.
            let _ = self.raw.step(message.into_engine());
            self.fix_timeout();
            return Ok(());
        }
        match &mut self.snapshots.held {
            // It is on its way, or a newer one would only begin anew.
            Some(held) => {
                if held.base.index == base.index && held.message.term < message.term {
                    held.message = message;
                }
            }
            None => {
                self.snapshots.fetch = Some(Step::Fetch { from: message.from, base: base.clone() });
                self.snapshots.held = Some(Held { message, base, ready: false });
            }
        }
        Ok(())
    }

    /// Gives the engine the held message once its bytes are safe and somebody leads.
    fn release_snapshot(&mut self) {
        let raft = &self.raw.raft;
        let Some(held) = self.snapshots.held.as_ref() else { return };
        if raft.state == StateRole::Leader || held.base.index <= raft.raft_log.committed {
            self.snapshots.held = None;
            return;
        }
        let newer = raft.term > held.message.term;
        let leader = Peer::some(raft.leader_id);
        let led = raft.state == StateRole::Follower && leader.is_some();
        if !held.ready || (newer && !led) {
            return;
        }
        let Some(Held { mut message, .. }) = self.snapshots.held.take() else { return };
        if let (true, Some(leader)) = (newer, leader) {
            // What is committed is in every later leader's log: it is as though that one had sent it.
            (message.from, message.term) = (leader, raft.term);
        }
        let _ = self.raw.step(message.into_engine());
        self.fix_timeout();
    }

    /// The engine took a snapshot in place of its log.
    pub(crate) fn restored(&mut self, number: u64, base: &Base, steps: &mut Vec<Step>) {
        self.raw.mut_store().replace(base.clone());
        self.snapshots.unsynced = Some((number, base.index));
        self.snapshots.in_snapshot = self.snapshots.carried_out;
        self.snapshots.begun = None;
        steps.push(Step::Restored { base: base.clone() });
        let (voters, learners, _) = members::seen(&self.conf());
        steps.push(Step::Members { index: base.index, voters, learners });
    }

    /// Writes up to `number` are synced: a snapshot among them counts as carried out.
    pub(crate) fn snapshot_synced(&mut self, number: u64) {
        let synced = self.snapshots.unsynced.take_if(|(written, _)| *written <= number);
        if let Some((_, index)) = synced
            && index > self.raw.raft.raft_log.applied
        {
            self.raw.advance_apply_to(index);
        }
    }

    pub(crate) fn tell_fetch(&mut self, steps: &mut Vec<Step>) {
        steps.extend(self.snapshots.fetch.take());
    }

    /// A lost snapshot message would leave its peer waiting for ever: after some time it is taken for lost.
    pub(crate) fn tick_snapshots(&mut self) {
        self.release_snapshot();
        if self.raw.raft.state != StateRole::Leader {
            self.snapshots.sent.clear();
            return;
        }
        let waiting =
            self.raw.raft.prs().iter().filter(|(_, member)| member.state == ProgressState::Snapshot);
        let mut waiting: Vec<Peer> = waiting.map(|(id, _)| Peer(*id)).collect();
        waiting.sort_unstable();
        self.snapshots.sent.retain(|peer, _| waiting.contains(peer));
        let patience = limits::SNAPSHOT_PATIENCE_ELECTIONS * self.config.election_ticks;
        for peer in waiting {
            let ticks = self.snapshots.sent.entry(peer).or_insert(0);
            *ticks += 1;
            if *ticks > patience {
                self.snapshots.sent.remove(&peer);
                self.snapshot_lost(peer);
            }
        }
    }

    /// Whatever snapshot was on its way to `peer` is taken for lost.
    pub(crate) fn snapshot_lost(&mut self, peer: Peer) {
        self.raw.report_snapshot(peer.0, SnapshotStatus::Failure);
    }
}
