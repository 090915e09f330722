//! What a ReCodEx front end is owed: compared with the ledger after each turn of the node that leads, and reported as an order
//! through the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use master::Ledger;
use protocol::Request;
use protocol::recodex::Order;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ask::{Ask, Asks};
use crate::notifier::{Caller, Delivered};
use crate::settings::Settings;

/// With more calls owed than this, the list is not handed over each turn,
const MANY: usize = 1_000;
/// but so often.
const OFTEN: Duration = Duration::from_millis(100);

/// Of a list: how many, the first number, and the newest there ever was. Numbers only grow, so another list has another outline.
type Outline = (usize, Option<u64>, u64);

/// Hands the ledger's list to the notifier, when it has changed.
#[derive(Debug)]
pub(super) struct Owing {
    caller: Option<Caller>,
    named: Outline,
    named_at: Instant,
}

impl Owing {
    /// Of this start. That a call was delivered is asked for like anything that is asked over HTTP.
    pub(super) fn open(handle: &Handle, settings: &Settings, log: &logdb::Log, asks: Asks) -> Self {
        let front_end = settings.recodex.as_ref().and_then(|recodex| recodex.notifier.as_ref());
        let delivered = || -> Delivered { Box::new(move |number| report(&asks, number)) };
        let caller = front_end.and_then(|front_end| {
            let caller = Caller::start(handle, front_end, log.clone(), delivered());
            let failed = |why| {
                let line = format!("no front end is told how jobs end: {why}");
                log.record(logdb::Level::Error, "notifier", None, &line);
            };
            caller.map_err(failed).ok()
        });
        Self { caller, named: (0, None, 0), named_at: Instant::now() }
    }

    /// A turn is over. A node that does not lead owes nothing.
    pub(super) fn turned(&mut self, ledger: &Ledger, leads: bool) {
        let Some(caller) = &self.caller else { return };
        let outline = if leads { outline(ledger) } else { (0, None, 0) };
        let must_wait = outline.0 > MANY && self.named.0 > 0 && self.named_at.elapsed() < OFTEN;
        if outline == self.named || must_wait {
            return;
        }
        (self.named, self.named_at) = (outline, Instant::now());
        if leads { caller.owe(ledger.calls().map(Arc::clone).collect()) } else { caller.clear() }
    }
}

fn outline(ledger: &Ledger) -> Outline {
    let first = ledger.calls().next().map(|call| call.number);
    (ledger.calls().len(), first, ledger.last_call())
}

fn report(asks: &Asks, number: u64) {
    // Nobody waits for the answer: a call that stays owed is reported again, and so is one for which there is no room now.
    let (reply, _) = oneshot::channel();
    let request = Request::Recodex(Order::Delivered { number });
    let _ = asks.try_send(Ask::Request { request, reply });
}
