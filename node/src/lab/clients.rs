//! Clients of the lab wire and their open requests. One reply a request, to the connection that asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::limits::{CLASS_BYTES, OPEN_FORWARDS, PAYLOAD_BYTES, SUBMITTER_BYTES};
use protocol::{Answer, Dispatch, Job, JobId, JobSpec, JobState, LAB_HEADER, Refusal, Request, cbw, submit};

use super::Lines;
use crate::ask::Told;
use crate::ports::{Letter, PeerId, Side};

/// Label of a job that came through bridges: their ids, joined by points.
const VIA: &str = "via";
/// Bridges in such a label, at most; each has eight digits.
const HOPS: usize = 16;

/// A client's request, as the port read it.
#[derive(Clone, Debug)]
pub(crate) struct Asks {
    pub(crate) peer: PeerId,
    /// The id it gets as a job.
    pub(crate) job: JobId,
    pub(crate) ask: cbw::Ask,
}

/// Who waits for a job's end.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    envelope: Vec<Bytes>,
    spec: Arc<JobSpec>,
}

/// All clients of one node.
#[derive(Debug)]
pub(super) struct Clients {
    lines: Lines,
    allow: BTreeSet<String>,
    /// Who is connected, by the name it gave itself.
    identities: BTreeMap<PeerId, Bytes>,
    open: BTreeMap<JobId, Open>,
    tickets: BTreeMap<u64, JobId>,
    undecided: BTreeSet<JobId>,
    complained: BTreeSet<PeerId>,
}

impl Clients {
    pub(super) fn new(lines: Lines, allow: BTreeSet<String>) -> Self {
        Self {
            lines,
            allow,
            identities: BTreeMap::new(),
            open: BTreeMap::new(),
            tickets: BTreeMap::new(),
            undecided: BTreeSet::new(),
            complained: BTreeSet::new(),
        }
    }

    /// Jobs whose end somebody waits for.
    pub(super) fn open_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.open.keys().copied()
    }

    pub(super) fn opened(&mut self, peer: PeerId, identity: Bytes) {
        self.identities.insert(peer, identity);
    }

    /// It is gone: its jobs go on, and nobody hears of their end.
    pub(super) fn closed(&mut self, peer: &PeerId) {
        self.identities.remove(peer);
        self.complained.remove(peer);
        self.open.retain(|_, open| open.peer != *peer);
    }

    pub(super) fn unreadable(&mut self, peer: &PeerId) {
        if self.complained.insert(peer.clone()) {
            let name = shown_name(self.identities.get(peer));
            self.lines
                .warn(&format!("dropped frames of client {name}: there is no empty one before the request"));
        }
    }

    /// A request becomes a job, or is refused at once.
    pub(super) fn asks(&mut self, asks: Asks, closed: &BTreeSet<String>) -> Result<Request, Letter> {
        let Asks { peer, job, ask } = asks;
        let refuse = |peer: PeerId, envelope: Vec<Bytes>, why: &str| letter(peer, envelope, error(why));
        let identity = self.identities.get(&peer).cloned().unwrap_or_default();
        let class = match std::str::from_utf8(&ask.class) {
            Ok(class) if class.len() <= CLASS_BYTES => class.to_owned(),
            Ok(_) => return Err(refuse(peer, ask.envelope, "class is longer than 200 bytes")),
            Err(_) => return Err(refuse(peer, ask.envelope, "class is not UTF-8")),
        };
        if closed.contains(&class) && !self.allow.contains(&class) {
            return Err(refuse(peer, ask.envelope, "forbidden class"));
        }
        if ask.text.len() > PAYLOAD_BYTES {
            return Err(refuse(peer, ask.envelope, "too-large"));
        }
        if self.open.len() >= OPEN_FORWARDS {
            return Err(refuse(peer, ask.envelope, "full"));
        }
        self.lines.say(Some(job), "FROM Client", &identity, &class);
        let spec = Arc::new(spec_of(&class, &ask.text, &identity));
        self.open.insert(job, Open { peer, envelope: ask.envelope, spec: Arc::clone(&spec) });
        Ok(Request::Submit { job, spec, key: None, fingerprint: [0; 32] })
    }

    /// The request about this job left under this ticket.
    pub(super) fn asked(&mut self, ticket: u64, job: JobId) {
        self.tickets.insert(ticket, job);
    }

    /// What became of a request: nothing to say when it is accepted (its end is the reply) or when nobody decided it (it is asked
    /// again, for as long as its client is there). First: whether the ticket was one of these.
    pub(super) fn answered(&mut self, ticket: u64, told: &Told) -> (bool, Option<Letter>) {
        let Some(job) = self.tickets.remove(&ticket) else { return (false, None) };
        let why = match told {
            Told::Answer(Answer::Accepted { .. } | Answer::AllAccepted { .. } | Answer::Done) => {
                return (true, None);
            }
            Told::Answer(Answer::Refused(Refusal::Full)) | Told::Busy => "full".to_owned(),
            Told::Answer(Answer::Refused(Refusal::Impossible(why))) => why.clone(),
            Told::Answer(Answer::Refused(_)) | Told::NoQuorum { .. } => {
                if self.open.contains_key(&job) {
                    self.undecided.insert(job);
                }
                return (true, None);
            }
        };
        (true, self.open.remove(&job).map(|open| letter(open.peer, open.envelope, error(&why))))
    }

    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Requests to ask again. They keep their jobs' ids, so that none is done twice.
    pub(super) fn take_undecided(&mut self) -> Vec<(JobId, Request)> {
        let jobs = std::mem::take(&mut self.undecided);
        let request = |job: JobId| {
            let spec = Arc::clone(&self.open.get(&job)?.spec);
            Some((job, Request::Submit { job, spec, key: None, fingerprint: [0; 32] }))
        };
        jobs.into_iter().filter_map(request).collect()
    }

    /// The reply, when the job has ended. One that waits for a worker gets a line.
    pub(super) fn changed(&mut self, job: &Job) -> Option<Letter> {
        if job.state == JobState::Queued
            && let Some(open) = self.open.get(&job.id)
        {
            let identity = self.identities.get(&open.peer).cloned().unwrap_or_default();
            self.lines.say(Some(job.id), "QUEUEING Client", &identity, &job.spec.class);
        }
        if !job.state.is_terminal() {
            return None;
        }
        let open = self.open.remove(&job.id)?;
        let identity = self.identities.get(&open.peer).cloned().unwrap_or_default();
        self.lines.say(Some(job.id), "TO Client", &identity, &job.spec.class);
        let text = match (job.state, &job.result) {
            (JobState::Succeeded, Some(result)) => result.output.clone(),
            (JobState::Cancelled, _) => error("cancelled"),
            _ => error(job.reason.map_or("failed", |reason| reason.word())),
        };
        Some(letter(open.peer, open.envelope, text))
    }

    /// Whom a lab worker is told to work for: the client where it is connected here, else the job, with the bridges it came by.
    pub(super) fn name_for(&self, dispatch: &Dispatch) -> Bytes {
        let here = self.open.get(&dispatch.attempt.job).and_then(|open| self.identities.get(&open.peer));
        match here.filter(|identity| !identity.is_empty()) {
            Some(identity) => identity.clone(),
            None => {
                let job = dispatch.attempt.job;
                let via = dispatch.spec.labels.get(VIA).map_or(String::new(), |trail| format!("~{trail}"));
                Bytes::from(format!("{job}{via}"))
            }
        }
    }
}

fn letter(to: PeerId, envelope: Vec<Bytes>, text: Bytes) -> Letter {
    Letter { side: Side::Clients, to, frames: cbw::reply(envelope, text) }
}

/// The reply to a client that gets nothing else.
pub(super) fn error(why: &str) -> Bytes {
    Bytes::from(format!("ERROR {why}"))
}

/// The job of a stranger: nobody runs it who did not open its class to strangers.
fn spec_of(class: &str, text: &[u8], identity: &Bytes) -> JobSpec {
    // Copied: it may be a little of a large buffer.
    let payload = Bytes::copy_from_slice(text);
    let mut spec = JobSpec { payload, ..submit::defaults(class) };
    spec.requires.insert(LAB_HEADER.to_owned(), class.to_owned());
    let name = shown_name(Some(identity));
    spec.submitter = name
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= SUBMITTER_BYTES).then_some(c)
        })
        .collect();
    if let Some(trail) = trail(&name) {
        spec.labels.insert(VIA.to_owned(), trail.to_owned());
    }
    spec
}

/// The bridges a request came by, from its client's name: `…~ID.ID`, eight hexadecimal digits each.
fn trail(name: &str) -> Option<&str> {
    let (_, trail) = name.rsplit_once('~')?;
    let is_id = |id: &str| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let ids = || trail.split('.');
    (ids().all(is_id) && ids().count() <= HOPS).then_some(trail)
}

/// An identity as people read it.
pub(super) fn shown_name(identity: Option<&Bytes>) -> String {
    let identity = identity.map_or(&[][..], |identity| identity);
    match std::str::from_utf8(identity) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => identity.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
