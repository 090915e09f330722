//! Workers attached to this node: who is behind which connection, and what each was given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use cast::{AttachedId, Input};
use protocol::limits::{CLASS_BYTES, OUTPUT_BYTES};
use protocol::{AttemptRef, Dispatch, JobId, Outcome, Reason, cbw};

use super::Lines;
use super::clients::shown_name;
use super::known::Known;
use crate::ports::{Letter, PeerId, Side};

/// All attached workers of one node.
#[derive(Debug)]
pub(super) struct Workers {
    lines: Lines,
    known: Known,
    /// The name each connection gave itself.
    identities: BTreeMap<PeerId, Bytes>,
    attached: BTreeMap<AttachedId, One>,
    by_peer: BTreeMap<PeerId, AttachedId>,
    last: u64,
    /// Those that are gone with something in hand.
    away: BTreeSet<AttachedId>,
    complained: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct One {
    peer: PeerId,
    identity: Bytes,
    class: String,
    /// Gone, with something in hand.
    away: bool,
    /// Known from an earlier start, which it may still be working for: its first job here is named by the job's id, so that a
    /// result of before is not taken for this one's.
    taken_up: bool,
    holds: Option<(AttemptRef, Bytes)>,
}

impl Workers {
    pub(super) fn open(data: &Path, lines: Lines) -> Self {
        let known = Known::open(data);
        Self {
            lines,
            known,
            identities: BTreeMap::new(),
            attached: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            last: 0,
            away: BTreeSet::new(),
            complained: BTreeSet::new(),
        }
    }

    /// A connection. A worker registers once in its life: one that waited here before, or is away with a job, is known again.
    pub(super) fn opened(&mut self, peer: PeerId, identity: Bytes, inputs: &mut Vec<Input>) {
        self.identities.insert(peer.clone(), identity.clone());
        if identity.is_empty() {
            return;
        }
        let away = self.attached.iter_mut().find(|(_, one)| one.away && one.identity == identity);
        if let Some((id, one)) = away {
            (one.away, one.peer) = (false, peer.clone());
            self.away.remove(id);
            self.by_peer.insert(peer, *id);
        } else if let Some(class) = self.known.take_up(&identity) {
            self.attach(peer, identity, class, true, inputs);
        }
    }

    /// Its connection is gone; it may come back with what it holds.
    pub(super) fn closed(&mut self, peer: &PeerId, inputs: &mut Vec<Input>) {
        self.identities.remove(peer);
        self.complained.remove(peer);
        let Some(id) = self.by_peer.remove(peer) else { return };
        inputs.push(Input::Left { worker: id });
        match self.attached.get_mut(&id) {
            Some(one) if one.holds.is_some() => {
                one.away = true;
                self.away.insert(id);
            }
            _ => {
                if let Some(one) = self.attached.remove(&id) {
                    self.known.put_down(&one.identity, &one.class);
                }
            }
        }
    }

    /// A job could not be given to it: it is not there.
    pub(super) fn undelivered(&mut self, peer: &PeerId, inputs: &mut Vec<Input>) {
        let Some(id) = self.by_peer.remove(peer) else { return };
        inputs.push(Input::Left { worker: id });
        if let Some(one) = self.attached.remove(&id) {
            self.known.forget(&one.identity, &one.class);
        }
    }

    pub(super) fn unreadable(&mut self, peer: &PeerId) {
        if self.complained.insert(peer.clone()) {
            let name = shown_name(self.identities.get(peer));
            self.lines.warn(&format!("dropped frames of worker {name}: neither a registration nor a result"));
        }
    }

    /// It is there and free.
    pub(super) fn registers(
        &mut self,
        peer: &PeerId,
        class: Bytes,
        closed: &BTreeSet<String>,
        inputs: &mut Vec<Input>,
    ) {
        let Some(class) = self.allowed(peer, &class, closed) else { return };
        let identity = self.identities.get(peer).cloned().unwrap_or_default();
        self.lines.say(None, "REGISTERING Worker", &identity, &class);
        self.give_way(peer, &identity, inputs);
        self.attach(peer.clone(), identity, class, false, inputs);
    }

    /// It brings what it held, however late, and is free.
    pub(super) fn returns(
        &mut self,
        peer: &PeerId,
        client: &Bytes,
        text: Bytes,
        class: Bytes,
        closed: &BTreeSet<String>,
        inputs: &mut Vec<Input>,
    ) {
        let Some(class) = self.allowed(peer, &class, closed) else { return };
        let identity = self.identities.get(peer).cloned().unwrap_or_default();
        let id = self.by_peer.get(peer).copied();
        let held = id.and_then(|id| self.attached.get_mut(&id)).and_then(|one| one.holds.take());
        match (id, held.filter(|(_, given_for)| given_for == client)) {
            (Some(worker), Some(_)) => {
                if let Some(one) = self.attached.get_mut(&worker) {
                    one.class.clone_from(&class);
                }
                self.lines.say(None, "QUEUEING Worker", &identity, &class);
                inputs.push(Input::Returned { worker, class, outcome: outcome(text) });
            }
            // Of an earlier start of this node, or of a worker of the same name: nobody waits for it here.
            _ => self.attach(peer.clone(), identity, class, false, inputs),
        }
    }

    /// Gives it a job.
    pub(super) fn hand(&mut self, id: AttachedId, dispatch: &Dispatch, client: Bytes) -> Option<Letter> {
        let one = self.attached.get_mut(&id)?;
        let (job, class) = (Some(dispatch.attempt.job), &dispatch.spec.class);
        self.lines.say(job, "UNQUEUEING Worker", &one.identity, class);
        self.lines.say(job, "TO Worker", &one.identity, class);
        self.lines.say(job, "TOUT HANDLER", &one.identity, "");
        let client = match std::mem::take(&mut one.taken_up) {
            true => Bytes::from(dispatch.attempt.job.to_string()),
            false => client,
        };
        one.holds = Some((dispatch.attempt, client.clone()));
        let frames = cbw::job(client, dispatch.spec.payload.clone());
        Some(Letter { side: Side::Workers, to: one.peer.clone(), frames })
    }

    /// Its window is over.
    pub(super) fn late(&mut self, id: AttachedId, attempt: AttemptRef) {
        if let Some(one) = self.attached.get(&id) {
            self.lines.say(Some(attempt.job), "TOUT EXPIRED", &one.identity, &one.class);
        }
    }

    /// A job has ended: who is away with it need not come back with it.
    /// Jobs that attached workers have in hand.
    pub(super) fn held_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.attached.values().filter_map(|one| one.holds.as_ref().map(|(attempt, _)| attempt.job))
    }

    pub(super) fn ended(&mut self, job: JobId) {
        if self.away.is_empty() {
            return;
        }
        let has = |one: &One| one.holds.as_ref().is_some_and(|(attempt, _)| attempt.job == job);
        let over = |id: &AttachedId| self.attached.get(id).is_none_or(has);
        let over: Vec<AttachedId> = self.away.iter().copied().filter(over).collect();
        for id in over {
            self.away.remove(&id);
            if let Some(one) = self.attached.remove(&id) {
                self.known.put_down(&one.identity, &one.class);
            }
        }
    }

    pub(super) fn too_many(&mut self, id: AttachedId) {
        if let Some(one) = self.attached.remove(&id) {
            self.by_peer.remove(&one.peer);
            let most = protocol::limits::ATTACHED;
            let name = shown_name(Some(&one.identity));
            self.lines.warn(&format!("worker {name} gets no jobs: {most} workers are attached already"));
        }
    }

    /// Another connection of this name has something in hand: that is offered to others too, and it may still answer.
    fn give_way(&mut self, peer: &PeerId, identity: &Bytes, inputs: &mut Vec<Input>) {
        if identity.is_empty() {
            return;
        }
        let others = self.attached.iter().filter(|(_, one)| one.identity == *identity && one.peer != *peer);
        let mut two = false;
        for (id, one) in others {
            two |= !one.away;
            if one.holds.is_some() {
                inputs.push(Input::Left { worker: *id });
            }
        }
        if two {
            let name = shown_name(Some(identity));
            self.lines.warn(&format!("two peers call themselves {name}: both get jobs, each keeps its own"));
        }
    }

    fn attach(
        &mut self,
        peer: PeerId,
        identity: Bytes,
        class: String,
        taken_up: bool,
        inputs: &mut Vec<Input>,
    ) {
        self.lines.say(None, "QUEUEING Worker", &identity, &class);
        let id = *self.by_peer.entry(peer.clone()).or_insert_with(|| {
            self.last += 1;
            AttachedId(self.last)
        });
        if let Some(before) = self.attached.get(&id) {
            self.known.forget(&before.identity, &before.class);
        }
        self.known.remember(&identity, &class);
        inputs.push(Input::Attach { worker: id, class: class.clone() });
        let one = One { peer, identity, class, away: false, taken_up, holds: None };
        self.attached.insert(id, one);
    }

    /// The class as text, unless it is none that a stranger may serve.
    fn allowed(&mut self, peer: &PeerId, class: &Bytes, closed: &BTreeSet<String>) -> Option<String> {
        let good = std::str::from_utf8(class).ok().filter(|class| class.len() <= CLASS_BYTES);
        let open = good.filter(|class| !closed.contains(*class));
        if open.is_none() && self.complained.insert(peer.clone()) {
            let (name, class) = (shown_name(self.identities.get(peer)), shown_name(Some(class)));
            let why = if good.is_some() { "is a forbidden class" } else { "is no class" };
            let class: String = class.chars().take(CLASS_BYTES).collect();
            self.lines.warn(&format!("worker {name} gets no jobs: {class:?} {why}"));
        }
        open.map(str::to_owned)
    }
}

fn outcome(text: Bytes) -> Outcome {
    if text.len() > OUTPUT_BYTES {
        let bytes = text.len();
        return Outcome::failure(
            Reason::Exit,
            format!("the reply has {bytes} bytes, the limit is {OUTPUT_BYTES}"),
        );
    }
    Outcome::success(text)
}
