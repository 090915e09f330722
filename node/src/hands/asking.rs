//! What is asked of this node, over HTTP and at the lab's ports, on its way to the minds.

use std::sync::Arc;

use cast::{Cast, Input};
use protocol::Request;

use super::Hands;
use crate::ask::Ask;
use crate::clock::wall_ms;
use crate::lab::{self, LabTold};

impl Hands {
    /// Somebody asks over HTTP.
    pub(crate) fn asked(&mut self, ask: Ask, cast: &Cast, inputs: &mut Vec<Input>) {
        let ticket = self.nobodys_ticket();
        match ask {
            Ask::Request { request, reply } => {
                match &request {
                    Request::Submit { job, .. } => self.shows.created(*job),
                    Request::SubmitAll(batch) => self.shows.created_all(batch),
                    _ => {}
                }
                self.replies.asked(ticket, reply);
                inputs.push(Input::Ask { ticket, request });
            }
            Ask::Digest { index, reply } => self.replies.compares(index, reply),
            Ask::Ended { job, reply } => self.replies.awaits(job, reply, cast.ledger(), self.shows.members()),
            Ask::View { linearizable, reply } => {
                self.replies.reads(ticket, reply);
                if linearizable {
                    inputs.push(Input::Read { ticket });
                } else {
                    self.shows.want_view(ticket);
                }
            }
        }
    }

    /// How many requests of this node were decided since this was asked last.
    pub(crate) fn answered(&mut self) -> usize {
        self.replies.answered()
    }

    /// Programs at the lab's ports said something.
    pub(crate) fn lab_told(&mut self, batch: Vec<LabTold>, cast: &Cast, inputs: &mut Vec<Input>) {
        if self.closed_classes.is_empty() {
            self.closed_classes = lab::closed_classes(cast);
        }
        let closed = Arc::clone(&self.closed_classes);
        for told in batch {
            let last_ticket = &mut self.last_ticket;
            let ticket = || {
                *last_ticket += 1;
                *last_ticket
            };
            if let Some(job) = self.lab.told(told, &closed, ticket, inputs) {
                self.shows.created(job);
            }
        }
    }

    /// What is looked at each second: who waits in vain, and requests from the lab's ports that nobody could decide, which are
    /// asked again.
    pub(crate) fn ask_again(&mut self, cast: &mut Cast, wall_ms: u64) {
        if !self.again.is_time() {
            return;
        }
        self.replies.sweep();
        let asks_already = self.joining.as_ref().is_some_and(|joining| !joining.is_finished());
        if cast.may_be_forgotten() && !asks_already {
            self.join_cluster(cast);
        }
        self.order_again(cast);
        if self.lab.has_undecided() && self.again.wants_read() {
            let ticket = self.nobodys_ticket();
            self.again.reads(ticket);
            cast.handle(Input::Read { ticket }, wall_ms);
        }
    }

    pub(super) fn ask_undecided(&mut self, cast: &mut Cast) {
        if !self.again.take_due() {
            return;
        }
        let last_ticket = &mut self.last_ticket;
        let again = self.lab.ask_again(|| {
            *last_ticket += 1;
            *last_ticket
        });
        for (ticket, request) in again {
            cast.handle(Input::Ask { ticket, request }, wall_ms());
        }
    }
}
