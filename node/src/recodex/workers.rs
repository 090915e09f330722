//! Workers registered at this node: who is behind which connection, and what each has in hand.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cast::{GuestId, Input};
use master::Ledger;
use protocol::limits::{HEADERS_BYTES, RECODEX_HEADERS};
use protocol::recodex::wire::{self, WorkerSays};
use protocol::recodex::{self, Headers, Order as ClusterOrder, cut};
use protocol::{AttemptRef, Dispatch, JobId, Outcome, Progress};

use super::orders::Order;
use super::{Lines, Outbox};
use crate::ports::{Letter, PeerId, Side};

mod said;

use said::{Saying, shown};

/// Different registrations that count, of one connection: each makes a pool of the node's offer, and a call to the front end.
pub(super) const REGISTRATIONS: usize = 8;
/// Connections whose worker was given up with something in hand, which they may still bring; the oldest is forgotten first.
const LATE: usize = 4_096;
/// Frames and bytes of one message of progress that go on to the monitor.
const STATES: usize = 8;
const STATE_BYTES: usize = 4 << 10;

/// All workers of one node.
#[derive(Debug)]
pub(super) struct Workers {
    lines: Lines,
    notify: bool,
    /// Who is behind a connection.
    peers: BTreeMap<PeerId, GuestId>,
    guests: BTreeMap<GuestId, Guest>,
    last: u64,
    /// Who was given up with what, by connection. (A connection's name rises, so the first is the oldest.)
    late: BTreeMap<PeerId, (AttemptRef, String)>,
    /// Who is connected, and whether it was complained of.
    connected: BTreeMap<PeerId, bool>,
}

#[derive(Debug)]
struct Guest {
    peer: PeerId,
    is_connected: bool,
    description: String,
    /// What it said it can do, each time it said something new.
    said: Vec<Headers>,
    holds: Option<Held>,
}

/// What a worker is at work at.
#[derive(Clone, Debug)]
struct Held {
    /// The front end's id of the job.
    id: String,
    /// None: it said itself, when it came, that it is at work at this.
    attempt: Option<AttemptRef>,
    saying: Saying,
}

impl Held {
    fn job(&self, ledger: &Ledger) -> Option<JobId> {
        self.attempt.map(|attempt| attempt.job).or_else(|| ledger.evaluation(&self.id))
    }

    fn progress(&self, ledger: &Ledger) -> Option<Progress> {
        let current = || {
            let job = ledger.job(ledger.evaluation(&self.id)?)?;
            Some(AttemptRef { job: job.id, attempt: job.current()?.number })
        };
        self.saying.progress(self.attempt.or_else(current)?)
    }
}

impl Workers {
    pub(super) fn new(lines: Lines, notify: bool) -> Self {
        Self {
            lines,
            notify,
            peers: BTreeMap::new(),
            guests: BTreeMap::new(),
            last: 0,
            late: BTreeMap::new(),
            connected: BTreeMap::new(),
        }
    }

    pub(super) fn opened(&mut self, peer: PeerId) {
        self.connected.insert(peer, false);
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, peer: &PeerId, out: &mut Outbox) {
        self.connected.remove(peer);
        self.undelivered(peer, out);
    }

    /// It takes nothing. A free worker is forgotten; one at work may register again, by another connection. Its last words may
    /// still be on their way here.
    pub(super) fn undelivered(&mut self, peer: &PeerId, out: &mut Outbox) {
        let Some(id) = self.peers.get(peer).copied() else { return };
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if std::mem::take(&mut guest.is_connected) {
            out.inputs.push(Input::GuestLeft { guest: id });
        }
        if guest.holds.is_none() {
            self.peers.remove(peer);
            self.guests.remove(&id);
        }
    }

    /// A worker says something.
    pub(super) fn says(&mut self, peer: &PeerId, says: WorkerSays, ledger: &Ledger, out: &mut Outbox) {
        if let Some(guest) = self.peers.get(peer)
            && self.guests.get(guest).is_some_and(|guest| guest.is_connected)
        {
            out.inputs.push(Input::GuestHeard { guest: *guest });
        }
        match says {
            WorkerSays::Init { headers, description, current_job } => {
                self.registers(peer, headers, description, current_job, ledger, out);
            }
            WorkerSays::Ping => {
                let word = if self.peers.contains_key(peer) { "pong" } else { "intro" };
                out.letters.push(letter(peer, wire::word(word)));
            }
            WorkerSays::Progress { id, states } => self.progresses(peer, &id, states, out),
            WorkerSays::Done { id, status, message } => match recodex::outcome(&status, &message) {
                Some(outcome) => self.done(peer, (&id, &status), outcome, ledger, out),
                None => self.complain(peer, &format!("says that a job is done, with the status {status:?}")),
            },
            WorkerSays::Nothing => self.complain(peer, "says something that is no command"),
        }
    }

    fn registers(
        &mut self,
        peer: &PeerId,
        headers: Headers,
        description: String,
        current_job: Option<String>,
        ledger: &Ledger,
        out: &mut Outbox,
    ) {
        if let Some(id) = self.peers.get(peer) {
            return self.registers_again(*id, headers, out);
        }
        if !self.connected.contains_key(peer) {
            // Its connection ended before this was read.
            return;
        }
        self.late.remove(peer);
        self.last += 1;
        let guest = GuestId(self.last);
        let name = shown(peer, &description);
        let work = current_job.as_ref().map_or(String::new(), |id| format!(", at work at {id:?}"));
        let job = current_job.as_ref().and_then(|id| ledger.evaluation(id));
        self.lines.say(job, &format!("worker {name} is registered: {}{work}", listed(&headers)));
        let (said, at_work) = (vec![headers.clone()], current_job.clone());
        out.inputs.push(Input::Welcome { guest, headers, at_work });
        let holds = current_job.map(|id| Held { id, attempt: None, saying: Saying::default() });
        self.peers.insert(peer.clone(), guest);
        self.guests.insert(guest, Guest { peer: peer.clone(), is_connected: true, description, said, holds });
    }

    /// A known one registers once more. What it said before it can do still.
    fn registers_again(&mut self, id: GuestId, headers: Headers, out: &mut Outbox) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if guest.said.contains(&headers) {
            return;
        }
        let name = shown(&guest.peer, &guest.description);
        let all = guest.said.iter().chain([&headers]).flatten();
        let pairs: BTreeSet<(&String, &String)> =
            all.flat_map(|(header, values)| values.iter().map(move |value| (header, value))).collect();
        let bytes: usize = pairs.iter().map(|(header, value)| header.len() + value.len()).sum();
        if guest.said.len() >= REGISTRATIONS || pairs.len() > RECODEX_HEADERS || bytes > HEADERS_BYTES {
            let peer = guest.peer.clone();
            self.complain(&peer, "registers in too many different ways: what it says last does not count");
            return;
        }
        let line = format!("worker {name} registers again, with other headers: {}", listed(&headers));
        self.lines.warn(None, &line);
        guest.said.push(headers.clone());
        out.inputs.push(Input::Welcome { guest: id, headers, at_work: None });
        if self.notify {
            let text = format!("Received two different INIT messages from the same worker ({name})");
            out.orders.push(Order::Cluster(ClusterOrder::Notify { text: cut(&text) }));
        }
    }

    fn done(
        &mut self,
        peer: &PeerId,
        (id, status): (&str, &str),
        outcome: Outcome,
        ledger: &Ledger,
        out: &mut Outbox,
    ) {
        if self.late.get(peer).is_some_and(|(_, late)| late == id)
            && let Some((attempt, _)) = self.late.remove(peer)
        {
            let line = format!("worker {} brings {id:?} after it was given up: {status}", shown(peer, ""));
            self.lines.say(Some(attempt.job), &line);
            out.inputs.push(Input::LateDone { attempt, outcome });
            return;
        }
        let Some(guest) = self.peers.get(peer).copied() else {
            return self.complain(peer, "is not registered, and says that a job is done");
        };
        let Some(one) = self.guests.get_mut(&guest) else { return };
        let Some(held) = one.holds.take_if(|held| held.id == id) else {
            return self.complain(peer, &format!("says that {id:?} is done, which it does not have"));
        };
        let line = format!("worker {} is done with {id:?}: {status}", shown(peer, &one.description));
        self.lines.say(held.job(ledger), &line);
        out.inputs.push(Input::GuestDone { guest, outcome });
        if !one.is_connected {
            out.inputs.push(Input::GuestLeft { guest });
            drop(self.forget(guest));
        }
    }

    fn progresses(&mut self, peer: &PeerId, id: &str, states: Vec<Bytes>, out: &mut Outbox) {
        let Some(guest) = self.peers.get(peer) else { return };
        let held = self.guests.get_mut(guest).and_then(|guest| guest.holds.as_mut());
        let Some(held) = held.filter(|held| held.id == id) else { return };
        let bytes: usize = states.iter().map(Bytes::len).sum();
        if states.len() > STATES || bytes > STATE_BYTES {
            return self.complain(peer, "says too much of its progress at once");
        }
        held.saying.heard(&states);
        let id = Bytes::copy_from_slice(id.as_bytes());
        out.monitored.push(std::iter::once(id).chain(states).collect());
    }

    /// Gives it an evaluation.
    pub(super) fn hand(&mut self, guest: GuestId, dispatch: &Dispatch) -> Option<Letter> {
        let asked = dispatch.spec.more.recodex.as_ref()?;
        let one = self.guests.get_mut(&guest)?;
        let name = shown(&one.peer, &one.description);
        self.lines.say(Some(dispatch.attempt.job), &format!("worker {name} gets {:?}", asked.id));
        let attempt = Some(dispatch.attempt);
        one.holds = Some(Held { id: asked.id.clone(), attempt, saying: Saying::default() });
        let frames = wire::eval_for(&asked.id, asked.frames_of(&dispatch.spec.payload));
        Some(letter(&one.peer, frames))
    }

    /// It was silent for too long, or another connection says that it is at work at the same: it has to register again. What it
    /// had it may still bring, once.
    pub(super) fn gone(&mut self, guest: GuestId, attempt: Option<AttemptRef>) {
        let Some(one) = self.forget(guest) else { return };
        let name = shown(&one.peer, &one.description);
        let with = one.holds.as_ref().map_or(String::new(), |held| format!(", with {:?} in hand", held.id));
        let job = attempt.map(|attempt| attempt.job);
        let same = |other: &Held| one.holds.as_ref().is_some_and(|held| held.id == other.id);
        if self.guests.values().filter_map(|other| other.holds.as_ref()).any(same) {
            self.lines.say(job, &format!("worker {name} is here by another connection{with}"));
        } else {
            self.lines.warn(job, &format!("worker {name} is lost: it was silent for too long{with}"));
        }
        if let (Some(attempt), Some(held), true) = (attempt, one.holds, one.is_connected) {
            self.late.insert(one.peer, (attempt, held.id));
            if self.late.len() > LATE {
                self.late.pop_first();
            }
        }
    }

    /// One more than may be here, or with headers that make too many kinds.
    pub(super) fn too_many(&mut self, guest: GuestId) {
        let Some(one) = self.guests.get(&guest) else { return };
        let peer = one.peer.clone();
        if one.said.len() > 1 {
            return self
                .complain(&peer, "cannot have other headers as well: there are too many kinds of workers");
        }
        self.complain(&peer, "gets no jobs: there are too many workers here, or too many kinds of them");
        drop(self.forget(guest));
    }

    /// How far those say they are that have something in hand and say so.
    pub(super) fn progress<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = Progress> + 'a {
        let held = self.guests.values().filter_map(|guest| guest.holds.as_ref());
        held.filter_map(|held| held.progress(ledger))
    }

    fn forget(&mut self, id: GuestId) -> Option<Guest> {
        let guest = self.guests.remove(&id)?;
        self.peers.remove(&guest.peer);
        Some(guest)
    }

    fn complain(&mut self, peer: &PeerId, what: &str) {
        if let Some(complained @ false) = self.connected.get_mut(peer) {
            *complained = true;
            let guest = self.peers.get(peer).and_then(|id| self.guests.get(id));
            let name = shown(peer, guest.map_or("", |guest| &guest.description));
            self.lines.warn(None, &format!("worker {name} {what}"));
        }
    }
}

fn letter(to: &PeerId, frames: Vec<Bytes>) -> Letter {
    Letter { side: Side::Workers, to: to.clone(), frames }
}

/// Headers as people read them.
fn listed(headers: &Headers) -> String {
    let pairs = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let text: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    cut(&text.join("; "))
}
