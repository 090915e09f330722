//! From consensus to the ledger, and from the ledger to whoever must hear of it: nothing leaves a node except from here.

use std::collections::BTreeSet;

use bytes::Bytes;
use consensus::{Peer, Refused, Step};
use master::{Effect, Master};
use protocol::{Command, Entry, Fact, NodeId, What, native};

use crate::Output;
use crate::cast::Cast;
use crate::doubt::OWN_TICKET;
use crate::mutant::Mutant;
use crate::sharing::Sharing;

/// A member counts as caught up when its log lacks at most so many entries.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// A member keeps up with the log when it lacks at most so many: it applies what is committed within moments.
const KEEPS_UP_ENTRIES: u64 = 16;
/// Entries a leader has under way at once, at most. What comes while one is on its way to the disks gathers into the next: a
/// second one would wait behind the first on every disk anyhow, and each costs every node its wake-ups. Only a whole one
/// follows at once: then it is bytes that take the time, and while the disks write those of one, the links carry the next.
const ENTRIES_UNDER_WAY: u64 = 8;
/// Nor does a whole one follow while so many bytes are under way.
const BYTES_UNDER_WAY: usize = 4 << 20;
/// Entries of so many bytes are large: there may soon be enough for a whole one behind them.
const LARGE_BYTES: usize = 256 << 10;

/// Which entry may follow those that are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    ForAny,
    ForWhole,
    None,
}

impl Cast {
    pub(crate) fn carry_out(&mut self, step: Step) {
        match step {
            Step::Apply(entry) => self.apply(&entry),
            Step::Members { .. } => {
                self.outputs.push(Output::Members);
                self.look_at_members();
            }
            Step::Following { term, leader } => {
                self.no_doubt();
                // Some of them may be in the log for ever, and some in nobody's.
                self.proposed.clear();
                self.gathering.forget();
                if self.master.take().is_some() {
                    self.outputs.push(Output::Demoted);
                }
                let leader = leader.map(|peer| NodeId(peer.0)).filter(|node| *node != self.me());
                self.follow(leader.map(|node| (node, term)));
                self.outputs.push(Output::Led { term, leader });
            }
            Step::Leading { term, .. } => self.take_over(term),
            Step::Fetch { from, base } => self.outputs.push(Output::Fetch { from: NodeId(from.0), base }),
            Step::Restored { base } => self.restore(base.index),
            Step::Read { context } => match self.reads.confirmed(context) {
                Some(OWN_TICKET) => self.confirmed(),
                Some(ticket) => self.outputs.push(Output::ReadReady { ticket }),
                None => {}
            },
        }
    }

    /// Promotion is a constructor: everything a master knows it learns from the ledger and from the workers' lists.
    fn take_over(&mut self, term: u64) {
        let settings = master::Settings {
            me: self.me(),
            expect: self.settings.expect,
            voters: self.settings.voters,
            replace_after_ms: self.settings.replace_after_ms,
            tick_ms: self.settings.tick_ms,
            runs_jobs: self.settings.runs_jobs,
            policy: self.settings.policy,
            max_offers: self.settings.max_offers,
            disk: self.settings.disk,
            retention: self.settings.retention,
            entry_full_bytes: self.settings.entry_full_bytes,
            hold_dispatch: self.settings.hold_dispatch,
            #[cfg(feature = "mutants")]
            mutant: Mutant::of_master(self.settings.mutant),
        };
        let mut master = Master::take_over(settings, &self.ledger, term);
        master.burden(self.burdened);
        master.hold(self.disk_hangs.is_some());
        self.master = Some(master);
        self.outputs.push(Output::Promoted { term });
        self.follow(Some((self.me(), term)));
        self.look_at_members();
    }

    fn apply(&mut self, committed: &consensus::Entry) {
        let entry = match self.own_proposal(&committed.data) {
            Some(entry) => Ok(entry),
            None => self.sharing.read(&committed.data),
        };
        let entry = match entry {
            Ok(entry) => entry,
            // Every replica would fail in the same way only if this were a command of a newer version: stop, not differ.
            Err(error) => {
                let text = format!(
                    "applying entry {}: {error}; is this program older than the cluster?",
                    committed.index
                );
                self.outputs.push(Output::Fatal(text));
                return;
            }
        };
        if let Some(master) = &self.master {
            self.gathering.answered(answering(&entry), master.waits());
        }
        let before = (self.ledger.applied(), self.ledger.digest());
        let entry = Mutant::entry(self.settings.mutant, entry, self.wall_ms);
        let effects = self.ledger.apply(committed.index, &entry);
        let passed = self.digests.applied(before, committed.index, self.ledger.digest());
        let me = self.me();
        for effect in &effects {
            match effect {
                Effect::Fact(fact) => {
                    self.note(fact);
                    let job = fact.what.job().filter(|_| self.is_shown(&fact.what));
                    let job = job.and_then(|id| self.ledger.job(id));
                    self.outputs.push(Output::Fact { fact: fact.clone(), job });
                }
                Effect::Decided { origin, answer, .. } => {
                    if origin.gateway == me && origin.boot == self.settings.member.boot {
                        self.gateway.answered(origin.number, answer.clone());
                    }
                }
                Effect::Void { .. } => {}
            }
        }
        if let Some(master) = &mut self.master {
            master.applied(&self.ledger, &effects);
        }
        if let Some(checkpoint) = passed {
            self.worker.passed(checkpoint);
            if let Some(master) = &mut self.master {
                master.passed(checkpoint);
            }
        }
    }

    /// The entry with these bytes, if this node made them: they are the very same, not only equal.
    fn own_proposal(&mut self, data: &Bytes) -> Option<Entry> {
        let (bytes, _) = self.proposed.front()?;
        if (bytes.as_ptr(), bytes.len()) != (data.as_ptr(), data.len()) {
            return None;
        }
        let (_, entry) = self.proposed.pop_front().filter(|(_, entry)| !Sharing::is_for(entry))?;
        debug_assert_eq!(native::decode(data).as_ref(), Ok(&entry), "others read what this node meant");
        Some(entry)
    }

    /// Whether the job itself goes with a fact: that it was accepted is news of the job only where it came in, and for
    /// whoever watches all jobs.
    fn is_shown(&self, what: &What) -> bool {
        match what {
            What::Accepted { gateway, .. } => self.watched || *gateway == self.me(),
            _ => true,
        }
    }

    /// Members came or moved: the body dials them, and the broker link may need another address.
    fn note(&mut self, fact: &Fact) {
        if let What::Drained { .. } | What::Left { .. } = &fact.what {
            self.obey_drain();
        }
        if let What::Joined { node, .. } | What::Left { node } = &fact.what {
            self.outputs.push(Output::Members);
            if self.following.is_some_and(|f| f.node == *node) {
                self.name_leader();
            }
        }
    }

    /// Tells the master who votes, who listens and who has caught up.
    pub(crate) fn look_at_members(&mut self) {
        let Some(master) = self.master.as_mut().filter(|_| !self.in_doubt) else { return };
        let status = self.consensus.status();
        let node = |peer: &Peer| NodeId(peer.0);
        let near = |entries: u64| status.last_index.saturating_sub(entries);
        let those = |which: &dyn Fn(u64, bool) -> bool| {
            let progress = status.progress.iter().filter(|(_, matched, active)| which(*matched, *active));
            let mut those: BTreeSet<NodeId> = progress.map(|(peer, _, _)| node(peer)).collect();
            those.insert(self.settings.member.id);
            those
        };
        let now = master::Configuration {
            heard: those(&|_, active| active),
            caught_up: those(&|matched, _| matched > 0 && matched >= near(CAUGHT_UP_ENTRIES)),
            keeps_up: those(&|matched, active| active && matched >= near(KEEPS_UP_ENTRIES)),
            voters: status.voters.iter().map(node).collect(),
            learners: status.learners.iter().map(node).collect(),
            joint: status.joint,
        };
        master.configuration(&self.ledger, &now);
    }

    /// What waits makes an entry; while enough is under way it goes on waiting, and the next commit asks again. So it does while more
    /// is about to come ([`crate::gathering`]), unless there is enough for a whole entry.
    pub(crate) fn propose(&mut self) {
        // What a commit brings comes first, in this very turn: it tells how many are waited for.
        if self.consensus.has_unapplied() {
            return;
        }
        let room = self.room_under_way();
        let Some(master) = self.master.as_mut().filter(|_| !self.in_doubt) else { return };
        if room == Room::None || room == Room::ForWhole && !master.has_whole_entry() {
            return;
        }
        if master.must_propose() {
            self.gathering.stop();
        } else if self.gathering.holds(master.waits()) {
            return;
        }
        let Some(entry) = master.proposal(&self.ledger, self.wall_ms) else { return };
        let bytes = Bytes::from(native::encode(&entry));
        match self.consensus.propose(bytes.clone()) {
            Ok(()) => self.proposed.push_back((bytes, entry)),
            // The step that ends this lead is on its way, and the master goes with it.
            Err(Refused::NotLeader) => {}
            Err(Refused::Busy) => master.give_back(entry),
            Err(error @ Refused::Invalid) => {
                self.outputs.push(Output::Fatal(format!(
                    "proposing an entry of {} commands: {error}",
                    entry.commands.len()
                )));
            }
        }
    }

    /// Whether this node leads and proposes nothing more before a commit: what else comes changes nothing until then.
    #[must_use]
    pub fn has_enough_under_way(&self) -> bool {
        let few_bytes = self.consensus.uncommitted_bytes() < LARGE_BYTES;
        self.master.is_some()
            && match self.room_under_way() {
                Room::ForAny => false,
                Room::ForWhole => few_bytes,
                Room::None => true,
            }
    }

    /// The number of the wait, while this node leads and waits for more commands before it proposes. The body says
    /// [`crate::Input::Gathered`] when it has been long enough; the next tick is it at the latest.
    #[must_use]
    pub fn gathers(&self) -> Option<u64> {
        self.gathering.wait()
    }

    /// That was long enough.
    pub(crate) fn gathered(&mut self) {
        self.gathering.over(self.master.as_ref().map_or(0, Master::waits));
    }

    fn room_under_way(&self) -> Room {
        match (self.consensus.uncommitted(), self.consensus.uncommitted_bytes()) {
            (0, _) => Room::ForAny,
            (1..ENTRIES_UNDER_WAY, 0..BYTES_UNDER_WAY) => Room::ForWhole,
            _ => Room::None,
        }
    }

    pub(crate) fn drain_master(&mut self) {
        let Some(master) = self.master.as_mut().filter(|_| !self.in_doubt) else { return };
        let outputs = master.drain();
        let term = self.consensus.term();
        for output in outputs {
            match output {
                master::Output::Send { to, body } => {
                    if let Some((_, session)) = self.sessions.get(&to).copied() {
                        self.say_to_node(to, session, term, body);
                    }
                }
                master::Output::Members { voters, learners } => {
                    let peers = |nodes: &[NodeId]| nodes.iter().map(|n| Peer(n.0)).collect::<Vec<_>>();
                    // Refused while one is pending: the master is told each tick how things stand and asks again.
                    let _ = self.consensus.change_members(&peers(&voters), &peers(&learners));
                }
                master::Output::Transfer { to } => self.transfer(&to),
                master::Output::Differs { node, index } => {
                    self.outputs.push(Output::Differs { node, index });
                }
                master::Output::Odd { index } => self.is_odd(index),
                master::Output::Loads { looked } => self.outputs.push(Output::Looked(looked)),
            }
        }
    }

    /// Hands the lead to the one of these whose log is the most complete.
    fn transfer(&mut self, to: &[NodeId]) {
        let status = self.consensus.status();
        let heirs = status.progress.iter().filter(|(peer, _, _)| to.contains(&NodeId(peer.0)));
        if let Some((heir, _, _)) = heirs.max_by_key(|(_, matched, _)| *matched) {
            // Refused means that it votes no longer, or the lead has gone already: the asker sees where it is.
            let _ = self.consensus.transfer(*heir);
        }
    }
}

/// Commands that somebody was answered by: a client, or a worker that brought a result. The others are the leader's own.
fn answering(entry: &Entry) -> usize {
    let answers = |command: &&Command| {
        matches!(
            command,
            Command::Submit { .. }
                | Command::SubmitAll { .. }
                | Command::Cancel { .. }
                | Command::Finish { .. }
                | Command::FinishByRule { .. }
                | Command::Recodex { .. }
        )
    };
    entry.commands.iter().filter(answers).count()
}
