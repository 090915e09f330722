//! What is asked of the cluster for ReCodEx beside jobs, until it is decided: an order that nobody could decide is given again.

use std::collections::BTreeMap;

use cast::Input;
use protocol::limits::OPEN_FORWARDS;
use protocol::{JobId, Request, recodex};

use crate::ask::Told;

/// Orders that are not decided. With so many, no more evaluations are taken that could become one; other orders are let go.
const OPEN: usize = OPEN_FORWARDS / 4;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Of the whole cluster.
    Cluster(recodex::Order),
    /// A submission is taken back.
    Withdraw {
        /// Its ticket.
        of: u64,
        /// The job it asked for.
        job: JobId,
    },
}

/// All of one start.
#[derive(Debug, Default)]
pub(super) struct Orders {
    open: BTreeMap<u64, Order>,
    undecided: Vec<Order>,
}

impl Orders {
    /// Whether one may be given that must not be let go.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() + self.undecided.len() < OPEN
    }

    /// Gives an order under this ticket.
    pub(super) fn give(&mut self, order: Order, ticket: u64) -> Option<Input> {
        let must_be = matches!(order, Order::Withdraw { .. });
        if !must_be && !self.has_room() {
            return None;
        }
        let input = match &order {
            Order::Cluster(order) => Input::Ask { ticket, request: Request::Recodex(order.clone()) },
            Order::Withdraw { of, job } => Input::Withdraw { ticket, of: *of, job: *job },
        };
        self.open.insert(ticket, order);
        Some(input)
    }

    /// Gives it later.
    pub(super) fn put_off(&mut self, order: Order) {
        self.undecided.push(order);
    }

    /// It is decided, or nobody did. True: the ticket was one of these.
    pub(super) fn answered(&mut self, ticket: u64, told: &Told) -> bool {
        let Some(order) = self.open.remove(&ticket) else { return false };
        if matches!(told, Told::NoQuorum { .. } | Told::Busy) {
            self.undecided.push(order);
        }
        true
    }

    /// Those that nobody could decide, each under a new ticket.
    pub(super) fn again(&mut self, ticket: &mut dyn FnMut() -> u64) -> Vec<Input> {
        let undecided = std::mem::take(&mut self.undecided);
        undecided.into_iter().filter_map(|order| self.give(order, ticket())).collect()
    }
}
