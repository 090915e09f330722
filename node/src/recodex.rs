//! ReCodEx's ports: its front ends ask for evaluations at one, its workers register at the other, at any node, whoever leads. Its
//! monitor is called, and told how far evaluations are.
//!
//! ```text
//!   front end ══▶ eval ─▶ clients ─ Submit ──────▶ the leader … decided ─▶ accept | reject
//!                             └─ nothing in time ─ Withdraw ─▶           ─▶ reject, and it never is
//!   worker ══▶ init ───▶ workers ─ Welcome ──▶ worker's mind ─ HandGuest ─▶ eval
//!              done ───▶         ─ GuestDone ▶
//!              progress ▶        ──────────────────────────▶ monitor
//!   facts of the ledger ─ the node that leads ─────────────▶ monitor (ABORTED, FAILED)
//! ```
//! An evaluation is a job like any other: on a majority's disks before its front end hears `accept`. What is asked and who is
//! registered here ends with this start; what a worker is at work at, it says itself when it registers again.
//!
//! **Decides:** nothing about jobs; who is behind a routing id, which frames say what, when a front end has waited too long.

mod clients;
mod monitor;
mod orders;
mod wire;
mod workers;

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use cast::{GuestId, Input};
use master::Ledger;
use protocol::{AttemptRef, Dispatch, JobId, NodeLoad, Progress, What};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::clients::Clients;
use self::orders::{Order, Orders};
use self::wire::{RecodexSaid, RecodexWire, rules};
use self::workers::Workers;
use crate::ask;
use crate::ports::{self, Door, Letter, Opening, PortError, Ports, Side};
use crate::settings::RecodexSettings;

/// What came in at ReCodEx's ports.
pub(crate) type RecodexTold = ports::Told<RecodexSaid>;

/// Its lines.
#[derive(Clone, Debug)]
struct Lines(logdb::Log);

impl Lines {
    fn say(&self, job: Option<JobId>, text: &str) {
        self.0.record(logdb::Level::Info, "recodex", job, text);
    }

    fn warn(&self, job: Option<JobId>, text: &str) {
        self.0.record(logdb::Level::Warn, "recodex", job, text);
    }
}

/// What a look at the ports leaves to be done.
#[derive(Debug, Default)]
struct Outbox {
    letters: Vec<Letter>,
    /// For the monitor: the id of a job, and its news.
    monitored: Vec<Vec<Bytes>>,
    inputs: Vec<Input>,
    orders: Vec<Order>,
}

/// Both ports of one start. Dropping it closes them at once.
pub(crate) struct Recodex {
    ports: Ports,
    clients: Clients,
    workers: Workers,
    orders: Orders,
    has_monitor: bool,
}

/// What is asked beside this node's own minds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) roster: &'a [NodeLoad],
}

impl Recodex {
    /// Opens the ports. What comes in goes to `inbox`.
    pub(crate) fn open(
        handle: &Handle,
        settings: &RecodexSettings,
        data: &Path,
        log: &logdb::Log,
        inbox: mpsc::Sender<Vec<RecodexTold>>,
    ) -> Result<Self, PortError> {
        let door = |name: &'static str, (host, port): &(String, u16)| {
            let address = format!("{host}:{port}");
            Door { name, address }
        };
        let opening = Opening {
            data,
            clients: door("recodex-clients", &settings.clients),
            workers: door("recodex-workers", &settings.workers),
            rules,
            outward: settings.monitor.as_ref().map(|(host, port)| format!("tcp://{host}:{port}")),
        };
        let ports = Ports::open(handle, opening, RecodexWire, inbox)?;
        let lines = Lines(log.clone());
        let notify = settings.notifier.is_some();
        let clients = Clients::new(lines.clone(), notify, settings.max_request_failures);
        let workers = Workers::new(lines, notify);
        let has_monitor = settings.monitor.is_some();
        Ok(Self { ports, clients, workers, orders: Orders::default(), has_monitor })
    }

    /// Something came in. `ticket` gives a new ticket for each request. Brings the job that is asked for.
    pub(crate) fn told(
        &mut self,
        told: RecodexTold,
        seen: Seen<'_>,
        ticket: &mut dyn FnMut() -> u64,
        inputs: &mut Vec<Input>,
    ) -> Option<JobId> {
        let mut out = Outbox::default();
        let mut job = None;
        match told {
            RecodexTold::Opened { side: Side::Clients, peer, .. } => self.clients.opened(peer),
            RecodexTold::Opened { side: Side::Workers, peer, .. } => self.workers.opened(peer),
            RecodexTold::Closed { side: Side::Clients, peer } => self.clients.closed(&peer),
            RecodexTold::Closed { side: Side::Workers, peer } => self.workers.closed(&peer, &mut out),
            RecodexTold::Undelivered { side: Side::Workers, peer } => {
                self.workers.undelivered(&peer, &mut out)
            }
            RecodexTold::Undelivered { side: Side::Clients, .. } => {}
            RecodexTold::Said { peer, said: RecodexSaid::Asks { asked, at } } => {
                let room = self.orders.has_room();
                job = self.clients.asks(peer, asked, at, room, seen, ticket, &mut out);
            }
            RecodexTold::Said { peer, said: RecodexSaid::Says(says) } => {
                self.workers.says(&peer, says, seen.ledger, &mut out);
            }
        }
        self.leave(out, ticket, inputs);
        job
    }

    /// The leader decided something, or nobody did. True: the ticket was one of these.
    pub(crate) fn answered(&mut self, ticket: u64, told: &ask::Told) -> bool {
        let mut out = Outbox::default();
        let is_mine = self.clients.answered(ticket, told, &mut out) || self.orders.answered(ticket, told);
        out.orders.drain(..).for_each(|order| self.orders.put_off(order));
        self.post(out.letters, out.monitored);
        is_mine
    }

    /// When a front end has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.deadline()
    }

    /// Rejects what has no verdict by now, and takes it back.
    pub(crate) fn overdue(&mut self, now: Instant, ticket: &mut dyn FnMut() -> u64, inputs: &mut Vec<Input>) {
        let mut out = Outbox::default();
        self.clients.overdue(now, &mut out);
        self.leave(out, ticket, inputs);
    }

    /// Orders that nobody could decide are given again, each under a new ticket. For once a second.
    pub(crate) fn order_again(&mut self, ticket: &mut dyn FnMut() -> u64) -> Vec<Input> {
        self.orders.again(ticket)
    }

    /// The worker's mind gives an attempt to a worker.
    pub(crate) fn hand(&mut self, guest: GuestId, dispatch: &Dispatch) {
        let letter = self.workers.hand(guest, dispatch);
        letter.into_iter().for_each(|letter| self.ports.post(letter));
    }

    /// A worker is none any more.
    pub(crate) fn gone(&mut self, guest: GuestId, attempt: Option<AttemptRef>) {
        self.workers.gone(guest, attempt);
    }

    /// One worker more than may be here.
    pub(crate) fn too_many(&mut self, guest: GuestId) {
        self.workers.too_many(guest);
    }

    /// The ledger recorded something, and this node leads: the monitor hears what no worker tells it.
    pub(crate) fn heard(&self, what: &What, ledger: &Ledger) {
        if self.has_monitor
            && let Some(news) = monitor::of_fact(what, ledger)
        {
            self.ports.post_outward(monitor::addressed(news));
        }
    }

    /// How far workers say they are.
    pub(crate) fn progress<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = Progress> + 'a {
        self.workers.progress(ledger)
    }

    fn leave(&mut self, out: Outbox, ticket: &mut dyn FnMut() -> u64, inputs: &mut Vec<Input>) {
        let Outbox { letters, monitored, inputs: more, orders } = out;
        self.post(letters, monitored);
        inputs.extend(more);
        inputs.extend(orders.into_iter().filter_map(|order| self.orders.give(order, ticket())));
    }

    fn post(&self, letters: Vec<Letter>, monitored: Vec<Vec<Bytes>>) {
        letters.into_iter().for_each(|letter| self.ports.post(letter));
        if self.has_monitor {
            monitored.into_iter().for_each(|news| self.ports.post_outward(monitor::addressed(news)));
        }
    }
}

#[cfg(test)]
mod tests;
