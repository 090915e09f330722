//! Front ends and what they asked: each evaluation has one verdict, within a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use master::Ledger;
use protocol::limits::OPEN_FORWARDS;
use protocol::recodex::wire::{self, BadEval, ClientSays, Eval, Stats};
use protocol::recodex::{self, cut};
use protocol::{Answer, JobId, NodeLoad, Refusal, Request};

use super::orders::Order;
use super::{Lines, Outbox, Seen, monitor};
use crate::ask::Told;
use crate::mint::Mint;
use crate::ports::{Letter, PeerId, Side};
use cast::Input;

/// A front end waits a second for its verdict; what has none by now is taken back, and rejected.
const VERDICT: Duration = Duration::from_millis(900);
/// Evaluations without a verdict.
const OPEN: usize = OPEN_FORWARDS / 4;

/// An evaluation without a verdict.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    /// The front end's id.
    id: String,
    headers: Vec<(String, String)>,
    job: JobId,
    until: Instant,
}

/// All front ends of one node.
#[derive(Debug)]
pub(super) struct Clients {
    lines: Lines,
    mint: Mint,
    notify: bool,
    max_failures: u32,
    /// By ticket, which is by age.
    open: BTreeMap<u64, Open>,
    freezing: BTreeMap<u64, PeerId>,
    /// Who is connected, and whether it was complained of.
    connected: BTreeMap<PeerId, bool>,
}

impl Clients {
    pub(super) fn new(lines: Lines, notify: bool, max_failures: u32) -> Self {
        Self {
            lines,
            mint: Mint::default(),
            notify,
            max_failures,
            open: BTreeMap::new(),
            freezing: BTreeMap::new(),
            connected: BTreeMap::new(),
        }
    }

    pub(super) fn opened(&mut self, peer: PeerId) {
        self.connected.insert(peer, false);
    }

    /// It is gone. What it asked is decided all the same: it may ask for the same again.
    pub(super) fn closed(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
    }

    /// A front end says something. Brings the job that it asks for.
    #[expect(clippy::too_many_arguments, reason = "one call, and each is another thing")]
    pub(super) fn asks(
        &mut self,
        peer: PeerId,
        asked: ClientSays,
        at: Instant,
        has_room: bool,
        seen: Seen<'_>,
        ticket: &mut dyn FnMut() -> u64,
        out: &mut Outbox,
    ) -> Option<JobId> {
        match asked {
            ClientSays::Eval(eval) => {
                let refused = if !has_room || self.open.len() >= OPEN || self.freezing.len() >= OPEN {
                    Some("too many evaluations wait for their verdict".to_owned())
                } else {
                    at.elapsed().ge(&VERDICT).then(|| NO_MAJORITY.to_owned())
                };
                let job =
                    match refused.map_or_else(|| self.mint.job().map_err(|error| error.to_string()), Err) {
                        Ok(job) => job,
                        Err(why) => {
                            self.reject(peer, &eval.id, &why, true, out);
                            return None;
                        }
                    };
                self.submit(peer, eval, job, at + VERDICT, ticket(), out);
                return Some(job);
            }
            ClientSays::BadEval(BadEval::Incomplete) => {
                self.complain(
                    &peer,
                    "an evaluation was dropped: it has no id, or no empty frame behind its headers",
                );
            }
            ClientSays::BadEval(BadEval::TooMuch(why)) => {
                self.complain(&peer, &format!("an evaluation is rejected: {why}"));
                out.letters.push(letter(peer, wire::reject(&why)));
            }
            ClientSays::Stats => out.letters.push(letter(peer, stats(seen.ledger, seen.roster).frames())),
            ClientSays::Freeze(frozen) if self.freezing.len() < OPEN => {
                let ticket = ticket();
                self.freezing.insert(ticket, peer);
                let request = Request::Recodex(recodex::Order::Freeze { frozen });
                out.inputs.push(Input::Ask { ticket, request });
            }
            ClientSays::Freeze(_) => {}
            ClientSays::Nothing => self.complain(&peer, "a front end says something that is no command"),
        }
        None
    }

    fn submit(
        &mut self,
        peer: PeerId,
        eval: Eval,
        job: JobId,
        until: Instant,
        ticket: u64,
        out: &mut Outbox,
    ) {
        let Eval { id, headers, frames } = eval;
        let spec = recodex::job(id.clone(), headers.clone(), &frames, self.notify, self.max_failures);
        self.open.insert(ticket, Open { peer, id, headers, job, until });
        let request = Request::Submit { job, spec: Arc::new(spec), key: None, fingerprint: [0; 32] };
        out.inputs.push(Input::Ask { ticket, request });
    }

    /// What became of a request. True: the ticket was one of these.
    pub(super) fn answered(&mut self, ticket: u64, told: &Told, out: &mut Outbox) -> bool {
        if let Some(peer) = self.freezing.remove(&ticket) {
            if matches!(told, Told::Answer(Answer::Done)) {
                out.letters.push(letter(peer, wire::word("ack")));
            }
            return true;
        }
        let Some(Open { peer, id, headers, job, .. }) = self.open.remove(&ticket) else { return false };
        match told {
            Told::Answer(Answer::Accepted { job: taken, replayed }) => {
                let same = if *replayed || *taken != job { ": it is open already" } else { "" };
                self.lines.say(Some(*taken), &format!("evaluation {id:?} is accepted{same}"));
                out.letters.push(letter(peer, wire::word("accept")));
            }
            Told::Answer(Answer::Refused(Refusal::Frozen)) => {
                self.reject(peer, &id, wire::FROZEN, false, out);
            }
            Told::Answer(Answer::Refused(Refusal::NoWorker)) => {
                self.reject(peer, &id, &wire::no_worker(&headers), true, out);
            }
            other => {
                // Nobody knows whether it came to be: it must not.
                if matches!(other, Told::NoQuorum { .. }) {
                    out.orders.push(Order::Withdraw { of: ticket, job });
                }
                self.reject(peer, &id, &why(other), true, out);
            }
        }
        true
    }

    /// When the oldest one has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.values().next().map(|open| open.until)
    }

    /// Rejects what has waited long enough: it is taken back, and whatever becomes of that, nobody hears `accept` any more.
    pub(super) fn overdue(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(oldest) = self.open.first_entry()
            && oldest.get().until <= now
        {
            let (of, Open { peer, id, job, .. }) = oldest.remove_entry();
            out.orders.push(Order::Withdraw { of, job });
            self.reject(peer, &id, NO_MAJORITY, true, out);
        }
    }

    fn reject(&self, peer: PeerId, id: &str, why: &str, monitored: bool, out: &mut Outbox) {
        self.lines.say(None, &format!("evaluation {id:?} is rejected: {}", why.trim_end_matches([';', ' '])));
        out.letters.push(letter(peer, wire::reject(&cut(why))));
        if monitored {
            out.monitored.push(monitor::news(id, monitor::FAILED));
        }
    }

    fn complain(&mut self, peer: &PeerId, text: &str) {
        if let Some(complained @ false) = self.connected.get_mut(peer) {
            *complained = true;
            self.lines.warn(None, text);
        }
    }
}

/// Why something is rejected that nobody decided in time.
const NO_MAJORITY: &str = "The job cannot be taken now: no majority answered in time.";

fn letter(to: PeerId, frames: Vec<Bytes>) -> Letter {
    Letter { side: Side::Clients, to, frames }
}

/// Why a job is rejected, for people.
fn why(told: &Told) -> String {
    match told {
        Told::NoQuorum { .. } => NO_MAJORITY.to_owned(),
        Told::Busy | Told::Answer(Answer::Refused(Refusal::Full)) => "Too many jobs wait already.".to_owned(),
        Told::Answer(Answer::Refused(
            Refusal::Impossible(why) | Refusal::Short(why) | Refusal::NotNow(why),
        )) => format!("The job cannot be taken: {why}"),
        Told::Answer(Answer::Refused(Refusal::Starting)) => {
            "The job cannot be taken yet: the cluster is starting.".to_owned()
        }
        Told::Answer(_) => "The job cannot be taken now.".to_owned(),
    }
}

/// What the cluster counts, as this node knows it.
fn stats(ledger: &Ledger, roster: &[NodeLoad]) -> Stats {
    let counts = ledger.recodex();
    let alive = roster.iter().filter(|node| node.alive);
    let workers = alive.flat_map(|node| node.offer.pools.values()).map(|pool| u64::from(pool.workers)).sum();
    Stats {
        evaluated: counts.evaluated,
        failed: counts.failed,
        idle: u64::saturating_sub(workers, counts.running),
        in_progress: counts.running,
        queued: counts.queued,
        workers,
        frozen: ledger.is_frozen(),
    }
}
