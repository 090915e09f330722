//! What users ask of this node, and what this node asks for itself.

use protocol::{Answer, JobId, Refusal, Request};
use worker::{GatewayOutput, Output as WorkerOutput, Told};

use crate::Output;
use crate::cast::Cast;
use crate::mutant::Mutant;

/// The ticket of this node's own join; users' tickets start at 1.
const JOIN_TICKET: u64 = 0;

impl Cast {
    pub(crate) fn ask(&mut self, ticket: u64, request: Request) {
        if self.gateway.ask(ticket, request).is_err() {
            self.outputs.push(Output::Tell { ticket, told: Told::Busy });
        }
    }

    pub(crate) fn withdraw(&mut self, ticket: u64, of: u64, job: JobId) {
        if self.gateway.withdraw(ticket, of, job).is_err() {
            self.outputs.push(Output::Tell { ticket, told: Told::Busy });
        }
    }

    pub(crate) fn read(&mut self, ticket: u64) {
        if Mutant::reads_at_once(self.settings.mutant) {
            self.outputs.push(Output::ReadReady { ticket });
            return;
        }
        let context = self.reads.take(ticket);
        self.ask_consensus(context);
    }

    pub(crate) fn ask_consensus(&mut self, context: u64) {
        if self.consensus.read(context).is_err() {
            self.reads.refused(context);
        }
    }

    /// Every start makes itself known: its boot number and its addresses may be new. Repeated until the ledger has it.
    pub(crate) fn join(&mut self) {
        if self.joining || self.following.is_none() {
            return;
        }
        let mine = &self.settings.member;
        let known = self.ledger.member(mine.id).is_some_and(|m| {
            (m.boot, &m.name, &m.http, &m.link, &m.broker)
                == (mine.boot, &mine.name, &mine.http, &mine.link, &mine.broker)
        });
        if !known {
            self.ask_to_join();
        }
    }

    pub(crate) fn ask_to_join(&mut self) {
        self.joining = true;
        let request = Request::Join(self.settings.member.clone());
        self.ask(JOIN_TICKET, request);
    }

    /// Carries what worker, gateway and master want into the outputs, or to this node itself.
    pub(crate) fn drain_minds(&mut self) {
        for output in self.worker.drain() {
            match output {
                WorkerOutput::Send(body) => self.say_to_leader(body),
                WorkerOutput::Run(dispatch) => self.outputs.push(Output::Run(dispatch)),
                WorkerOutput::Kill(attempt) => self.outputs.push(Output::Kill(attempt)),
                WorkerOutput::Hand { worker, dispatch } => {
                    self.outputs.push(Output::Hand { worker, dispatch })
                }
                WorkerOutput::HandGuest { guest, dispatch } => {
                    self.outputs.push(Output::HandGuest { guest, dispatch })
                }
                WorkerOutput::GuestGone { guest, attempt } => {
                    self.guest_gone(guest);
                    self.outputs.push(Output::GuestGone { guest, attempt })
                }
                WorkerOutput::Late { worker, attempt } => self.outputs.push(Output::Late { worker, attempt }),
            }
        }
        for output in self.gateway.drain() {
            match output {
                GatewayOutput::Send(body) => self.say_to_leader(body),
                GatewayOutput::Tell { ticket: JOIN_TICKET, told } => self.joined(told),
                GatewayOutput::Tell { ticket, told } if self.told_of_adoption(ticket, &told) => {}
                GatewayOutput::Tell { ticket, told } => self.outputs.push(Output::Tell { ticket, told }),
            }
        }
        self.drain_master();
    }

    fn joined(&mut self, told: Told) {
        self.joining = false;
        if let Told::Answer(Answer::Refused(refusal @ (Refusal::NameTaken { .. } | Refusal::Impossible(_)))) =
            told
        {
            self.outputs.push(Output::NotAdmitted(refusal));
        }
    }
}
