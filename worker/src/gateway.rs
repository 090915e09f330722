//! Users' requests on their way to whoever leads. The user sees a delay, not an error, while the lead changes.
//!
//! A request keeps its number until it is answered; it is sent again under the same number to the next leader, and to
//! the same one when that said `not leader` or nothing at all. The ledger recognises repeats by that number.
//!
//! One request is not for the next leader: to hand the lead over to anybody is asked of whoever leads, and done once another does.
//! Sent on, it would take the lead from the heir again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use protocol::limits::{
    OPEN_FORWARD_BYTES, OPEN_FORWARDS, RECODEX_MESSAGE_BYTES, RESEND_MS, WRITE_PATIENCE_MS,
};
use protocol::recodex::Order;
use protocol::{Answer, Forward, JobId, NodeId, Refusal, Request, ToMaster};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The leader decided it.
    Answer(Answer),
    /// No leader answered in time. `handed_over`: a leader may have it, so it may still become true.
    NoQuorum {
        /// Whether it ever left for a leader.
        handed_over: bool,
    },
    /// Too much waits at this gateway already; nothing of it remains.
    Busy,
}

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("taking a request: {OPEN_FORWARDS} requests or {OPEN_FORWARD_BYTES} bytes are open already")]
pub struct Busy;

/// What the gateway wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to the leader.
    Send(ToMaster),
    /// Tell the asker.
    Tell {
        /// Whom.
        ticket: u64,
        /// What.
        told: Told,
    },
}

#[derive(Clone, Debug)]
struct Open {
    ticket: u64,
    request: Request,
    bytes: usize,
    waited_ms: u64,
    /// Time until it is sent again; none: it waits for a leader.
    resend_in_ms: Option<u64>,
    handed_over: bool,
    /// The leader it was sent to last, unless that said it leads no longer.
    sent_to: Option<NodeId>,
}

impl Open {
    /// Whether it is done by `leader` leading.
    fn is_done_under(&self, leader: NodeId) -> bool {
        let was_with_another = self.sent_to.is_some_and(|before| before != leader);
        was_with_another && matches!(self.request, Request::Transfer { to: None })
    }
}

/// The gateway's mind.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    open: BTreeMap<u64, Open>,
    open_bytes: usize,
    last_number: u64,
    following: Option<NodeId>,
    outputs: Vec<Output>,
    #[cfg(feature = "mutants")]
    floor_too_high: bool,
}

impl Gateway {
    /// A gateway with nothing open, as after every start: numbers begin anew with each boot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A gateway with a broken rule: it names a number as its lowest open one while lower ones are open.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_floor_too_high(self, floor_too_high: bool) -> Self {
        Self { floor_too_high, ..self }
    }

    /// Takes a request and sends it when there is a leader. `ticket` comes back with what became of it.
    ///
    /// # Errors
    /// [`Busy`] when the bounds of this gateway are reached: nothing of the request remains.
    pub fn ask(&mut self, ticket: u64, request: Request) -> Result<(), Busy> {
        let bytes = weight_bytes(&request);
        if self.open.len() >= OPEN_FORWARDS || self.open_bytes + bytes > OPEN_FORWARD_BYTES {
            return Err(Busy);
        }
        self.last_number += 1;
        self.open_bytes += bytes;
        let open = Open {
            ticket,
            request,
            bytes,
            waited_ms: 0,
            resend_in_ms: None,
            handed_over: false,
            sent_to: None,
        };
        self.open.insert(self.last_number, open);
        self.send(self.last_number);
        Ok(())
    }

    /// The submission with ticket `of` shall never be: it is sent no more, whoever asked for it hears nothing more, and the log
    /// is asked to see to it. `ticket` comes back when that is so.
    ///
    /// # Errors
    /// [`Busy`]: everything stays as it was.
    pub fn withdraw(&mut self, ticket: u64, of: u64, job: JobId) -> Result<(), Busy> {
        let number = self.open.iter().find(|(_, open)| open.ticket == of).map(|(number, _)| *number);
        self.ask(ticket, Request::Recodex(Order::Withdraw { number: number.unwrap_or(0), job }))?;
        if let Some(open) = number.and_then(|number| self.open.remove(&number)) {
            self.open_bytes -= open.bytes;
        }
        Ok(())
    }

    /// There is a new session with a leader (everything open is sent to it), or none.
    pub fn follow(&mut self, leader: Option<NodeId>) {
        self.following = leader;
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        for number in numbers {
            self.send(number);
        }
    }

    /// The leader answered, or this node's own ledger applied the decision: whichever comes first counts.
    pub fn answered(&mut self, number: u64, answer: Answer) {
        let Some(open) = self.open.get_mut(&number) else { return };
        if answer == Answer::Refused(Refusal::NotLeader) {
            // The term's leader is not seated yet, or no longer: the next tick asks again.
            open.resend_in_ms = Some(0);
            open.sent_to = None;
            return;
        }
        self.close(number, Told::Answer(answer));
    }

    /// This many milliseconds passed.
    pub fn tick(&mut self, elapsed_ms: u64) {
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for (number, open) in &mut self.open {
            open.waited_ms = open.waited_ms.saturating_add(elapsed_ms);
            if open.waited_ms >= WRITE_PATIENCE_MS {
                over.push(*number);
            } else if let Some(left_ms) = &mut open.resend_in_ms {
                *left_ms = left_ms.saturating_sub(elapsed_ms);
                if *left_ms == 0 {
                    again.push(*number);
                }
            }
        }
        for number in again {
            self.send(number);
        }
        for number in over {
            let handed_over = self.open.get(&number).is_some_and(|open| open.handed_over);
            self.close(number, Told::NoQuorum { handed_over });
        }
    }

    /// Whether somebody still waits for an answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes what is to be done, in order.
    pub fn drain(&mut self) -> Vec<Output> {
        core::mem::take(&mut self.outputs)
    }

    fn close(&mut self, number: u64, told: Told) {
        if let Some(open) = self.open.remove(&number) {
            self.open_bytes -= open.bytes;
            self.outputs.push(Output::Tell { ticket: open.ticket, told });
        }
    }

    fn send(&mut self, number: u64) {
        let floor = self.open.keys().next().copied().unwrap_or(number);
        #[cfg(feature = "mutants")]
        let floor = if self.floor_too_high { self.last_number } else { floor };
        let following = self.following;
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(leader) = following else {
            open.resend_in_ms = None;
            return;
        };
        if open.is_done_under(leader) {
            self.close(number, Told::Answer(Answer::Done));
            return;
        }
        open.resend_in_ms = Some(RESEND_MS);
        open.handed_over = true;
        open.sent_to = Some(leader);
        let forward = Forward { number, floor, request: open.request.clone() };
        self.outputs.push(Output::Send(ToMaster::Forward(forward)));
    }
}

fn weight_bytes(request: &Request) -> usize {
    match request {
        Request::Submit { spec, key, .. } => {
            usize::try_from(spec.weight_bytes()).unwrap_or(usize::MAX) + key.as_ref().map_or(0, |k| k.len())
        }
        Request::SubmitAll(batch) => usize::try_from(batch.weight_bytes()).unwrap_or(usize::MAX),
        Request::Cancel { .. }
        | Request::Join(_)
        | Request::Transfer { .. }
        | Request::Drain { .. }
        | Request::Recodex(_) => 256 + RECODEX_MESSAGE_BYTES,
    }
}
