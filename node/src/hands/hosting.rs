//! What happens at ReCodEx's ports, where they are open, between them and the minds.

use std::time::Instant;

use cast::{Cast, Input, Output};
use master::Ledger;
use protocol::{Fact, Progress};
use tokio::runtime::Handle;

use super::Hands;
use crate::ask::Told;
use crate::clock::wall_ms;
use crate::error::StageError;
use crate::inbox::Slots;
use crate::recodex::{Recodex, RecodexTold, Seen};
use crate::stage::Stage;

/// Opens the ports, where there are settings for them.
pub(super) fn open(stage: &Stage, handle: &Handle, slots: &Slots) -> Result<Option<Recodex>, StageError> {
    let Some(settings) = &stage.settings.recodex else { return Ok(None) };
    let (data, inbox) = (&stage.settings.data, slots.recodex.clone());
    Ok(Some(Recodex::open(handle, settings, data, &stage.log, inbox)?))
}

impl Hands {
    /// Programs at ReCodEx's ports said something.
    pub(crate) fn recodex_told(&mut self, batch: Vec<RecodexTold>, cast: &Cast, inputs: &mut Vec<Input>) {
        let Some(recodex) = &mut self.recodex else { return };
        let seen = Seen { ledger: cast.ledger(), roster: cast.roster() };
        for told in batch {
            let mut ticket = next(&mut self.last_ticket);
            if let Some(job) = recodex.told(told, seen, &mut ticket, inputs) {
                self.shows.created(job);
            }
        }
    }

    /// When a front end there has waited long enough for its verdict.
    pub(crate) fn verdict_due(&self) -> Option<Instant> {
        self.recodex.as_ref().and_then(Recodex::deadline)
    }

    /// Whoever has waited so long is rejected, and what he asked is taken back.
    pub(crate) fn give_verdicts(&mut self, inputs: &mut Vec<Input>) {
        if let Some(recodex) = &mut self.recodex {
            recodex.overdue(Instant::now(), &mut next(&mut self.last_ticket), inputs);
        }
    }

    /// How far workers there say they are.
    pub(crate) fn guests_progress<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = Progress> + 'a {
        self.recodex.iter().flat_map(|recodex| recodex.progress(ledger))
    }

    /// The ledger recorded something: the monitor hears of it from the node that leads.
    pub(super) fn tell_monitor(&self, fact: &Fact, cast: &Cast) {
        if let Some(recodex) = self.recodex.as_ref().filter(|_| cast.is_master()) {
            recodex.heard(&fact.what, cast.ledger());
        }
    }

    /// What nobody could decide for them is asked again. For once a second.
    pub(super) fn order_again(&mut self, cast: &mut Cast) {
        let Some(recodex) = &mut self.recodex else { return };
        for input in recodex.order_again(&mut next(&mut self.last_ticket)) {
            cast.handle(input, wall_ms());
        }
    }

    /// Whether this was asked there; then it is told there.
    pub(super) fn told_guests(&mut self, ticket: u64, told: &Told) -> bool {
        self.recodex.as_mut().is_some_and(|recodex| recodex.answered(ticket, told))
    }

    /// What the worker's mind wants with its guests.
    pub(super) fn with_guest(&mut self, output: Output) {
        let Some(recodex) = &mut self.recodex else { return };
        match output {
            Output::HandGuest { guest, dispatch } => {
                self.shows.started(dispatch.attempt.job);
                recodex.hand(guest, &dispatch);
            }
            Output::GuestGone { guest, attempt } => recodex.gone(guest, attempt),
            Output::TooManyGuests { guest } => recodex.too_many(guest),
            _ => {}
        }
    }
}

/// Gives tickets.
fn next(last_ticket: &mut u64) -> impl FnMut() -> u64 + '_ {
    || {
        *last_ticket += 1;
        *last_ticket
    }
}
