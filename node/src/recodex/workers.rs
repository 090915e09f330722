//! Workers registered at this node: who is behind which connection, and what each has in hand.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cast::{GuestId, Input};
use master::Ledger;
use protocol::limits::{HEADERS_BYTES, RECODEX_HEADERS};
use protocol::recodex::wire::{self, WorkerSays};
use protocol::recodex::{self, Headers, Order as ClusterOrder, cut};
use protocol::{AttemptRef, AttemptState, Dispatch, Job, JobId, Outcome, Progress};

use super::orders::Order;
use super::{Here, Lines, Outbox};
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
    here: Here,
    notify: bool,
    peers: BTreeMap<PeerId, Known>,
    guests: BTreeMap<GuestId, Guest>,
    last: u64,
    /// Who was given up with what, by connection. (A connection's name rises, so the first is the oldest.)
    late: BTreeMap<PeerId, Held>,
    /// Who is connected, and whether it was complained of.
    connected: BTreeMap<PeerId, bool>,
}

/// Who is behind a connection.
#[derive(Debug)]
enum Known {
    /// A worker that gets jobs.
    Guest(GuestId),
    /// One at work at a job that nobody here knows. It is welcomed, as a free one, once it is through with that, or registers
    /// without it: until then it could take nothing, and has nothing that counts.
    Elsewhere { headers: Headers, description: String },
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

#[derive(Clone, Debug)]
struct Held {
    attempt: AttemptRef,
    /// The front end's id of the job.
    id: String,
    saying: Saying,
}

impl Held {
    fn new(attempt: AttemptRef, id: String) -> Self {
        Self { attempt, id, saying: Saying::default() }
    }
}

/// An attempt that a worker says it is at work at.
struct Resumed {
    attempt: AttemptRef,
    /// It is not on record as this start's.
    adopt: bool,
}

impl Workers {
    pub(super) fn new(lines: Lines, here: Here, notify: bool) -> Self {
        Self {
            lines,
            here,
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
        let Some(Known::Guest(id)) = self.peers.get(peer) else {
            self.peers.remove(peer);
            return;
        };
        let id = *id;
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
        if let Some(Known::Guest(guest)) = self.peers.get(peer)
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
                Some(outcome) => self.done(peer, &id, &status, outcome, out),
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
        if let Some(Known::Guest(id)) = self.peers.get(peer) {
            return self.registers_again(*id, headers, out);
        }
        if !self.connected.contains_key(peer) {
            // Its connection ended before this was read.
            return;
        }
        let late = self.late.remove(peer);
        let resumed = current_job.as_ref().map(|id| (id, self.resumed(id, late.as_ref(), &headers, ledger)));
        match resumed {
            None => self.welcome(peer, headers, description, None, out),
            Some((id, Some(resumed))) => {
                let held = Held::new(resumed.attempt, id.clone());
                self.welcome(peer, headers, description, Some(held), out);
                if resumed.adopt {
                    let Here { node, boot } = self.here;
                    let adopt = ClusterOrder::Adopt { attempt: resumed.attempt, node, boot };
                    out.orders.push(Order::Cluster(adopt));
                }
            }
            Some((id, None)) => {
                let name = shown(peer, &description);
                let line = format!(
                    "worker {name} is at work at {id:?}, which is no open job: it gets others after that"
                );
                self.lines.say(None, &line);
                self.peers.insert(peer.clone(), Known::Elsewhere { headers, description });
            }
        }
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
        out.inputs.push(Input::Welcome { guest: id, headers, resumes: None });
        if self.notify {
            let text = format!("Received two different INIT messages from the same worker ({name})");
            out.orders.push(Order::Cluster(ClusterOrder::Notify { text: cut(&text) }));
        }
    }

    fn welcome(
        &mut self,
        peer: &PeerId,
        headers: Headers,
        description: String,
        holds: Option<Held>,
        out: &mut Outbox,
    ) {
        self.last += 1;
        let guest = GuestId(self.last);
        let name = shown(peer, &description);
        let work = holds.as_ref().map_or(String::new(), |held| format!(", at work at {:?}", held.id));
        let job = holds.as_ref().map(|held| held.attempt.job);
        self.lines.say(job, &format!("worker {name} is registered: {}{work}", listed(&headers)));
        let resumes = holds.as_ref().map(|held| held.attempt);
        if let Some(attempt) = resumes {
            // Whoever held it here is this same worker.
            let before = self.guests.iter().find(|(_, other)| other.has(attempt)).map(|(id, _)| *id);
            before.into_iter().for_each(|before| drop(self.forget(before)));
        }
        out.inputs.push(Input::Welcome { guest, headers: headers.clone(), resumes });
        self.peers.insert(peer.clone(), Known::Guest(guest));
        let said = vec![headers];
        self.guests.insert(guest, Guest { peer: peer.clone(), is_connected: true, description, said, holds });
    }

    /// What a worker is at work at that says so with this id. Its own connection may have had it; or a connection that is gone;
    /// or it comes from elsewhere, with what was given up as lost; or its last connection here is not known to be gone yet.
    fn resumed(&self, id: &str, late: Option<&Held>, headers: &Headers, ledger: &Ledger) -> Option<Resumed> {
        if let Some(late) = late.filter(|late| late.id == id) {
            return Some(Resumed { attempt: late.attempt, adopt: true });
        }
        let holds = |guest: &&Guest| guest.holds.as_ref().is_some_and(|held| held.id == id);
        let here = |guest: &Guest| guest.holds.as_ref().map(|held| held.attempt);
        let job = ledger.evaluation(id).and_then(|job| ledger.job(job));
        let gone = self.guests.values().filter(holds).find(|guest| !guest.is_connected);
        let same = || self.guests.values().filter(holds).find(|guest| guest.said.contains(headers));
        if let Some(attempt) = gone.and_then(here) {
            return Some(self.on_record(attempt, job.as_deref()));
        }
        let lost = job.as_ref().and_then(|job| newest(job, AttemptState::Lost));
        if let Some(attempt) = lost {
            return Some(Resumed { attempt, adopt: true });
        }
        let current = || job.as_ref().and_then(|job| newest(job, AttemptState::Running));
        let attempt = same().and_then(here).or_else(current)?;
        Some(self.on_record(attempt, job.as_deref()))
    }

    /// Whether the ledger has this attempt as one of this start.
    fn on_record(&self, attempt: AttemptRef, job: Option<&Job>) -> Resumed {
        let attempts = job.filter(|job| job.id == attempt.job).map_or(&[][..], |job| &job.attempts);
        let known = attempts.iter().find(|one| one.number == attempt.attempt);
        let adopt = known.is_some_and(|one| {
            one.state == AttemptState::Lost || one.node != self.here.node || one.boot != self.here.boot
        });
        Resumed { attempt, adopt }
    }

    fn done(&mut self, peer: &PeerId, id: &str, status: &str, outcome: Outcome, out: &mut Outbox) {
        if let Some(late) = self.late.get(peer).filter(|late| late.id == id) {
            let attempt = late.attempt;
            self.late.remove(peer);
            let line = format!("worker {} brings {id:?} after it was given up: {status}", shown(peer, ""));
            self.lines.say(Some(attempt.job), &line);
            out.inputs.push(Input::LateDone { attempt, outcome });
            return;
        }
        let guest = match self.peers.get(peer) {
            Some(Known::Guest(guest)) => *guest,
            Some(Known::Elsewhere { .. }) => {
                if let Some(Known::Elsewhere { headers, description }) = self.peers.remove(peer) {
                    self.welcome(peer, headers, description, None, out);
                }
                return;
            }
            None => return self.complain(peer, "is not registered, and says that a job is done"),
        };
        let Some(one) = self.guests.get_mut(&guest) else { return };
        let Some(held) = one.holds.take_if(|held| held.id == id) else {
            return self.complain(peer, &format!("says that {id:?} is done, which it does not have"));
        };
        let line = format!("worker {} is done with {id:?}: {status}", shown(peer, &one.description));
        self.lines.say(Some(held.attempt.job), &line);
        out.inputs.push(Input::GuestDone { guest, outcome });
        if !one.is_connected {
            out.inputs.push(Input::GuestLeft { guest });
            drop(self.forget(guest));
        }
    }

    fn progresses(&mut self, peer: &PeerId, id: &str, states: Vec<Bytes>, out: &mut Outbox) {
        let Some(Known::Guest(guest)) = self.peers.get(peer) else { return };
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
        one.holds = Some(Held::new(dispatch.attempt, asked.id.clone()));
        let frames = wire::eval_for(&asked.id, asked.frames_of(&dispatch.spec.payload));
        Some(letter(&one.peer, frames))
    }

    /// It was silent for too long: it has to register again. What it had it may still bring, once.
    pub(super) fn gone(&mut self, guest: GuestId, attempt: Option<AttemptRef>) {
        let Some(one) = self.forget(guest) else { return };
        let name = shown(&one.peer, &one.description);
        let had = one.holds.filter(|held| attempt.is_none_or(|attempt| attempt == held.attempt));
        let (job, with) = match &had {
            Some(held) => (Some(held.attempt.job), format!(", with {:?} in hand", held.id)),
            None => (None, String::new()),
        };
        self.lines.warn(job, &format!("worker {name} is lost: it was silent for too long{with}"));
        if let Some(held) = had.filter(|_| one.is_connected) {
            self.late.insert(one.peer, held);
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
    pub(super) fn progress(&self) -> impl Iterator<Item = Progress> + '_ {
        let held = self.guests.values().filter_map(|guest| guest.holds.as_ref());
        held.filter_map(|held| held.saying.progress(held.attempt))
    }

    fn forget(&mut self, id: GuestId) -> Option<Guest> {
        let guest = self.guests.remove(&id)?;
        self.peers.remove(&guest.peer);
        Some(guest)
    }

    fn complain(&mut self, peer: &PeerId, what: &str) {
        if let Some(complained @ false) = self.connected.get_mut(peer) {
            *complained = true;
            let guest = match self.peers.get(peer) {
                Some(Known::Guest(id)) => self.guests.get(id),
                _ => None,
            };
            let name = shown(peer, guest.map_or("", |guest| &guest.description));
            self.lines.warn(None, &format!("worker {name} {what}"));
        }
    }
}

impl Guest {
    fn has(&self, attempt: AttemptRef) -> bool {
        self.holds.as_ref().is_some_and(|held| held.attempt == attempt)
    }
}

fn newest(job: &Job, state: AttemptState) -> Option<AttemptRef> {
    let mut attempts = job.attempts.iter().rev();
    let found = match state {
        // Only the last one is current.
        AttemptState::Running => attempts.next().filter(|one| one.state == state),
        _ => attempts.find(|one| one.state == state),
    };
    found.map(|one| reference(job.id, one.number))
}

fn reference(job: JobId, attempt: u32) -> AttemptRef {
    AttemptRef { job, attempt }
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
